use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::join_code::JoinCode;
use cloudless_relay::admin::{self, Command, Reply};
use cloudless_relay::{Config, HostKey, Listeners, Registry, RunError, Ssh, Status};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{HomeKey, Tunnel, soon};

pub(crate) const RELAY_NAME: &str = "relay.example.test";

thread_local! {
    /// Which of a relay's addresses the test on this thread is about.
    static FAMILY: Cell<usize> = const { Cell::new(0) };
}

/// Runs a test whose relays are reached over IPv6.
pub(crate) fn over_ipv6(test: fn()) {
    FAMILY.set(1);
    test();
    FAMILY.set(0);
}

pub(crate) struct TestRelay {
    /// An IPv4 and an IPv6 address.
    pub(crate) https: [SocketAddr; 2],
    pub(crate) http: [SocketAddr; 2],
    /// Where homes that are SSH clients connect.
    pub(crate) ssh: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), RunError>>,
    directory: TempDir,
    family: usize,
}

impl TestRelay {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(TempDir::new().unwrap(), adjust).await
    }

    /// Starts on the files that another relay has left.
    pub(crate) async fn start_on(directory: TempDir, adjust: impl FnOnce(&mut Config)) -> Self {
        let registry = Registry::open(directory.path()).unwrap();
        let socket = directory.path().join("relay.sock");
        let (https, https_addresses) = listen().await;
        let (http, http_addresses) = listen().await;
        let family = FAMILY.get();
        let (mut ssh, ssh_addresses) = listen().await;
        let ssh = ssh.swap_remove(family);
        let ssh_address = ssh_addresses[family];
        let mut config = test_config();
        config.ssh = Some(Ssh {
            host_key: HostKey::open(directory.path()).unwrap(),
            port: ssh_address.port(),
        });
        adjust(&mut config);
        let admin = Some(admin::bind(&socket).unwrap());
        let shutdown = CancellationToken::new();
        let listeners = Listeners {
            https,
            http,
            ssh: vec![ssh],
            admin,
        };
        let running = tokio::spawn(cloudless_relay::run(
            config,
            registry,
            listeners,
            shutdown.clone(),
        ));
        Self {
            https: https_addresses,
            http: http_addresses,
            ssh: ssh_address,
            socket,
            shutdown,
            running,
            directory,
            family,
        }
    }

    /// Stops the relay and leaves its files.
    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        soon(self.running).await.unwrap().unwrap();
        self.directory
    }

    /// Where visitors and homes connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.https[self.family]
    }

    /// The same for plain HTTP.
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http[self.family]
    }

    /// One of the relay's own files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) async fn command(&self, command: &Command) -> Reply {
        let line = serde_json::to_string(command).unwrap();
        serde_json::from_str(&self.line(&line).await).unwrap()
    }

    /// Sends one line to the admin socket and returns the answer.
    pub(crate) async fn line(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        let mut reply = String::new();
        soon(BufReader::new(stream).read_line(&mut reply))
            .await
            .unwrap();
        reply
    }

    pub(crate) async fn status(&self) -> Status {
        match self.command(&Command::Status).await {
            Reply::Status(status) => status,
            reply => panic!("{reply:?}"),
        }
    }

    /// Asks until the status is as it should be.
    pub(crate) async fn until(&self, expected: impl Fn(&Status) -> bool) -> Status {
        let poll = async {
            loop {
                let status = self.status().await;
                if expected(&status) {
                    return status;
                }
            }
        };
        soon(poll).await
    }

    /// How many connections ended up in this class so far.
    pub(crate) async fn outcome(&self, class: &str) -> u64 {
        self.status()
            .await
            .outcomes
            .get(class)
            .copied()
            .unwrap_or(0)
    }

    pub(crate) async fn until_outcome(&self, class: &str, count: u64) {
        self.until(|status| status.outcomes.get(class).copied().unwrap_or(0) >= count)
            .await;
    }

    pub(crate) async fn invite(&self, hostname: &str) -> JoinCode {
        self.invite_with(hostname, 600, false).await
    }

    pub(crate) async fn invite_with(&self, hostname: &str, ttl_s: u64, replace: bool) -> JoinCode {
        let hostname: Hostname = hostname.parse().unwrap();
        match self
            .command(&Command::Invite {
                hostname,
                ttl_s,
                replace,
            })
            .await
        {
            Reply::Invited { code, .. } => code.parse().unwrap(),
            reply => panic!("{reply:?}"),
        }
    }

    /// Binds `hostname` to `key`, the way homes do it.
    pub(crate) async fn enroll(&self, key: HomeKey, hostname: &str) {
        let code = self.invite(hostname).await;
        let mut tunnel = Tunnel::dial(self.address(), key).await;
        tunnel.join(&code);
        tunnel.hear_joined().await;
    }

    /// An enrolled home that is online.
    pub(crate) async fn home(&self, key: HomeKey, hostname: &str) -> Tunnel {
        self.enroll(key, hostname).await;
        Tunnel::online(self.address(), key, 1).await
    }
}

pub(crate) fn test_config() -> Config {
    let mut config = Config::new(
        RELAY_NAME.parse().unwrap(),
        relay_key(),
        vec![format!("{RELAY_NAME}:443")],
    );
    config.hold = Duration::from_secs(10);
    // Most web servers here do not expect such a visit.
    config.timings.certificates = None;
    // A probe would be one more visitor.
    config.timings.ssh_probe = None;
    config
}

fn relay_key() -> PrivatePkcs8KeyDer<'static> {
    HomeKey(200).identity()
}

async fn listen() -> (Vec<TcpListener>, [SocketAddr; 2]) {
    let mut listeners = vec![TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()];
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await {
        Ok(listener) => listeners.push(listener),
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("MISSING: this machine has no IPv6 loopback ({error}): testing IPv4 only");
            listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        }
        Err(error) => panic!("this machine has no IPv6 loopback: {error}"),
    }
    // The system's default may be what the relay chooses for some sockets; accepted ones inherit.
    #[cfg(target_os = "linux")]
    for listener in &listeners {
        let socket = socket2::SockRef::from(listener);
        socket.set_tcp_congestion(b"reno").unwrap();
    }
    let addresses = [0, 1].map(|index: usize| listeners[index].local_addr().unwrap());
    (listeners, addresses)
}
