//! A running home with one user.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cloudless_home::admin::{Command, DeviceAdded, Facts, Reply, Status, execute};
use cloudless_home::status::{RelayState, RelayStatus};
use cloudless_home::{Config, Listeners, Relay, RunError, Timings, certificate, run};
use cloudless_proto::PublicKey;
use cloudless_proto::redial::Pace;
use cloudless_store::{Store, Timestamp};
use data_encoding::BASE64;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::relay::{new_key, public_key};

pub(crate) const HOST: &str = "home.example.org";

/// Nothing in the tests takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Timings under which a dial follows a dial in fractions of a second.
pub(crate) fn quick() -> Timings {
    Timings {
        dial: Duration::from_secs(5),
        redial: Pace {
            min: Duration::from_millis(20),
            max: Duration::from_millis(40),
            backoff_max: Duration::from_millis(80),
            ..Pace::default()
        },
        drain: Duration::from_secs(5),
        ..Timings::default()
    }
}

/// A silent session is doubted in fractions of a second.
pub(crate) fn doubtful(config: &mut Config) {
    config.timings.pings.idle = Duration::from_millis(100);
    config.timings.pings.doubt = Duration::from_millis(100);
}

/// A running home; it is stopped when dropped.
pub(crate) struct Home {
    pub(crate) directory: TempDir,
    pub(crate) local: SocketAddr,
    pub(crate) key: PublicKey,
    /// Of the user "me" and the device "phone".
    pub(crate) authorization: String,
    shutdown: CancellationToken,
    task: Option<JoinHandle<Result<(), RunError>>>,
}

impl Home {
    pub(crate) async fn start(relays: Vec<Relay>) -> Self {
        Self::start_with(relays, |_| {}).await
    }

    pub(crate) async fn start_with(relays: Vec<Relay>, adjust: impl FnOnce(&mut Config)) -> Self {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let added = add_device(&store, "me", "phone", 7);
        let identity = new_key();
        let key = public_key(&identity);
        let hostnames = vec![HOST.parse().unwrap()];
        let mut config = Config::new(relays, hostnames, identity, directory.path().to_owned());
        config.timings = quick();
        adjust(&mut config);
        certificate::prepare(directory.path(), &config.hostnames, (config.clock)()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let admin = UnixListener::bind(directory.path().join("home.sock")).unwrap();
        let listeners = Listeners {
            local: vec![listener],
            admin: Some(admin),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(config, store, listeners, shutdown.clone()));
        let credentials = format!("{}:{}", added.user, added.password.expose());
        Self {
            directory,
            local,
            key,
            authorization: format!("Basic {}", BASE64.encode(credentials.as_bytes())),
            shutdown,
            task: Some(task),
        }
    }

    /// A TLS client that trusts home's authorities.
    pub(crate) fn trust(&self) -> ClientConfig {
        let pem = std::fs::read(certificate::ca_file(self.directory.path())).unwrap();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("home.sock")
    }

    pub(crate) async fn ask(&self, command: &Command) -> Reply {
        let mut line = serde_json::to_vec(command).unwrap();
        line.push(b'\n');
        serde_json::from_str(&self.ask_bytes(&line).await).unwrap()
    }

    pub(crate) async fn ask_bytes(&self, line: &[u8]) -> String {
        let mut stream = BufReader::new(UnixStream::connect(self.socket()).await.unwrap());
        stream.write_all(line).await.unwrap();
        let mut reply = String::new();
        stream.read_line(&mut reply).await.unwrap();
        reply
    }

    pub(crate) async fn status(&self) -> Status {
        match self.ask(&Command::Status).await {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the first relay's row is as wanted.
    pub(crate) async fn relay_status(&self, wanted: impl Fn(&RelayStatus) -> bool) -> RelayStatus {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let status = self.status().await;
                if let Some(row) = status.relays.into_iter().next().filter(|row| wanted(row)) {
                    return row;
                }
            }
        });
        found
            .await
            .expect("the status never became what was waited for")
    }

    pub(crate) async fn connected(&self) {
        self.relay_status(|row| row.state == RelayState::Connected)
            .await;
    }

    /// Stops home and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        let task = self.task.take().expect("stopped once");
        tokio::time::timeout(PATIENCE, task)
            .await
            .expect("home stops")
            .unwrap()
            .unwrap();
    }

    pub(crate) fn begin_stop(&self) {
        self.shutdown.cancel();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub(crate) fn now() -> Timestamp {
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    Timestamp(i64::try_from(elapsed.as_millis()).unwrap())
}

pub(crate) fn add_device(store: &Store, user: &str, name: &str, random: u8) -> DeviceAdded {
    let (user, name) = (user.to_owned(), name.to_owned());
    let command = Command::DeviceAdd {
        user,
        name,
        create_user: true,
        client_certificate: false,
    };
    match execute(store, &Facts::default(), command, now(), [random; 16]) {
        Reply::DeviceAdded(added) => added,
        other => panic!("{other:?}"),
    }
}
