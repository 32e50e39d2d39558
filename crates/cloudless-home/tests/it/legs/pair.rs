//! A relay and a home in one process, and a server beside home that gets a name's bytes raw.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloudless_home::{Passthrough, Relay};
use cloudless_proto::join_code::JoinSecret;
use cloudless_relay::admin::{self, Command, Reply};
use cloudless_relay::{HomeStatus, InviteTerms, Listeners, Registry, RunError, Status};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::gate::{Fate, Gate};
use crate::family;
use crate::fixture::{Home, PATIENCE};
use crate::relay::{SERVER_NAME, new_key, public_key};

pub(crate) const NAS: &str = "nas.example.org";

pub(crate) struct Pair {
    /// An IPv4 and an IPv6 address.
    pub(crate) relay: [SocketAddr; 2],
    family: usize,
    pub(crate) home: Home,
    pub(crate) gate: Gate,
    server: TcpListener,
    socket: PathBuf,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), RunError>>,
    _directory: TempDir,
}

/// What a test changes of a pair.
pub(crate) struct Terms {
    pub(crate) fate: Fate,
    /// The index of the relay's address that home dials; through the gate if `None`.
    pub(crate) dial: Option<usize>,
    pub(crate) home_legs: bool,
    /// That are bound to home. Only [`NAS`] has its server beside home.
    pub(crate) names: &'static [&'static str],
    pub(crate) relay: fn(&mut cloudless_relay::Config),
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            fate: Fate::Pass,
            dial: None,
            home_legs: true,
            names: &[NAS],
            relay: |_| {},
        }
    }
}

impl Pair {
    pub(crate) async fn start(terms: Terms) -> Self {
        let directory = TempDir::new().unwrap();
        let registry = Registry::open(directory.path()).unwrap();
        let identity = new_key();
        let key = public_key(&identity);
        let mut config = cloudless_relay::Config::new(
            SERVER_NAME.parse().unwrap(),
            identity,
            vec!["relay.example.org:443".to_owned()],
        );
        (terms.relay)(&mut config);
        let https = vec![
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
            TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap(),
        ];
        let addresses = [0, 1].map(|index: usize| https[index].local_addr().unwrap());
        let family = family::index();
        let gate = Gate::to(addresses[family], terms.fate).await;
        let dialed = terms.dial.map_or(gate.address, |index| addresses[index]);
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let beside = server.local_addr().unwrap();
        let relay = Relay {
            addresses: vec![dialed.to_string()],
            server_name: SERVER_NAME.parse().unwrap(),
            key,
        };
        let home = Home::start_with(vec![relay], |home| {
            for name in terms.names {
                enroll(&registry, &config, public_key(&home.identity), name);
            }
            home.legs = terms.home_legs;
            home.hostnames.push(NAS.parse().unwrap());
            let passthrough = Passthrough {
                tls: Some(beside.into()),
                ..Passthrough::default()
            };
            home.passthrough.insert(NAS.parse().unwrap(), passthrough);
        })
        .await;
        let socket = directory.path().join("relay.sock");
        let listeners = Listeners {
            https,
            http: Vec::new(),
            ssh: Vec::new(),
            admin: Some(admin::bind(&socket).unwrap()),
        };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(cloudless_relay::run(
            config,
            registry,
            listeners,
            shutdown.clone(),
        ));
        home.connected().await;
        Self {
            relay: addresses,
            family,
            home,
            gate,
            server,
            socket,
            shutdown,
            running,
            _directory: directory,
        }
    }

    /// Where visitors connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.relay[self.family]
    }

    /// A visitor and the server's end of its connection. The ClientHello has gone through.
    pub(crate) async fn visit(&self, address: SocketAddr) -> (TcpStream, TcpStream) {
        let mut visitor = TcpStream::connect(address).await.unwrap();
        visitor.set_nodelay(true).unwrap();
        let hello = client_hello();
        visitor.write_all(&hello).await.unwrap();
        let (mut server, _) = soon(self.server.accept()).await.unwrap();
        server.set_nodelay(true).unwrap();
        let mut heard = vec![0; hello.len()];
        soon(server.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, hello);
        (visitor, server)
    }

    /// A visitor that has gone over to a leg both ways.
    pub(crate) async fn visit_on_leg(&self) -> (TcpStream, TcpStream) {
        let (mut visitor, mut server) = self.visit(self.relay[0]).await;
        let before = self.row().await;
        let (mut up, mut down) = (0, 0);
        let both = async {
            loop {
                exchange(&mut visitor, &mut server, &[1; 32 * 1024]).await;
                exchange(&mut server, &mut visitor, &[2; 32 * 1024]).await;
                let row = self.row().await;
                (up, down) = (
                    row.leg_bytes_up - before.leg_bytes_up,
                    row.leg_bytes_down - before.leg_bytes_down,
                );
                if up > 0 && down > 0 {
                    return;
                }
            }
        };
        soon(both).await;
        (visitor, server)
    }

    pub(crate) async fn command(&self, command: &Command) -> Reply {
        let mut stream = BufReader::new(UnixStream::connect(&self.socket).await.unwrap());
        let mut line = serde_json::to_vec(command).unwrap();
        line.push(b'\n');
        stream.write_all(&line).await.unwrap();
        let mut reply = String::new();
        stream.read_line(&mut reply).await.unwrap();
        serde_json::from_str(&reply).unwrap()
    }

    pub(crate) async fn status(&self) -> Status {
        match self.command(&Command::Status).await {
            Reply::Status(status) => status,
            reply => panic!("{reply:?}"),
        }
    }

    /// The relay's row of the name.
    pub(crate) async fn row(&self) -> HomeStatus {
        let status = self.status().await;
        let is_nas = |row: &HomeStatus| row.hostname.as_str() == NAS;
        status.homes.into_iter().find(is_nas).unwrap()
    }

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

    pub(crate) async fn until_outcome(&self, class: &str, count: u64) {
        self.until(|status| status.outcomes.get(class).copied().unwrap_or(0) >= count)
            .await;
    }
}

/// Sends bytes over a connection, and receives exactly those.
pub(crate) async fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    let (sent, got) =
        soon(async { tokio::join!(from.write_all(bytes), to.read_exact(&mut received)) }).await;
    sent.unwrap();
    got.unwrap();
    assert!(received == bytes, "other bytes than were sent");
}

/// Waits for what must happen soon.
pub(crate) async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(PATIENCE, event).await.expect("this takes too long")
}

fn enroll(
    registry: &Registry,
    config: &cloudless_relay::Config,
    key: cloudless_proto::PublicKey,
    name: &str,
) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let terms = InviteTerms {
        hostname: name.parse().unwrap(),
        ttl: Duration::from_secs(600),
        replace: false,
    };
    let secret = JoinSecret::new([7; 16]);
    let relay_key = cloudless_relay::public_key(&config.identity).unwrap();
    let code = registry
        .invite(config, relay_key, terms, secret, now)
        .unwrap();
    registry
        .redeem(key, &code.hostname, &code.secret, &config.routes, now)
        .unwrap();
}

fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = NAS.to_owned().try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}
