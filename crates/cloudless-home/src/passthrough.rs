//! Hands a hostname's connections, TLS and all, to a server beside home.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudless_proto::proxy_protocol::{self, Addresses, Version};
use cloudless_proto::{Hostname, UpstreamAddress};
use cloudless_splice::{Pipes, Socket};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::Passthrough;
use crate::reach::Reach;
use crate::status::PassthroughStatus;
use crate::validation::{self, VALIDATION};
use crate::visitor::{HTTPS_PORT, Refusals, Stream, VisitorRefusal};

/// A server on this machine or in its network has accepted long before.
const CONNECT: Duration = Duration::from_secs(5);
/// Directions of visitors on legs that are spliced at the same moment; each takes two file
/// descriptors and up to 256 KiB of the system's memory. More are copied.
const PIPES_MAX: usize = 128;
const VALIDATION_LEN_MAX: u64 = 64 * 1024;

/// The hostnames whose connections home does not end itself.
pub(crate) struct Passthroughs {
    tls: HashMap<Hostname, Arc<Server>>,
    http: HashMap<Hostname, Arc<Server>>,
}

/// A server that gets one hostname's connections, and how it was reached last.
pub(crate) struct Server {
    address: UpstreamAddress,
    proxy_protocol: Option<Version>,
    pipes: Arc<Pipes>,
    reach: Mutex<Reach>,
    refusals: Refusals,
}

impl Passthroughs {
    pub(crate) fn new(configured: HashMap<Hostname, Passthrough>, refusals: &Refusals) -> Self {
        let (mut tls, mut http) = (HashMap::new(), HashMap::new());
        let pipes = Arc::new(Pipes::new(PIPES_MAX));
        for (hostname, passthrough) in configured {
            let server = |address, proxy_protocol| {
                Arc::new(Server {
                    address,
                    proxy_protocol,
                    pipes: pipes.clone(),
                    reach: Mutex::default(),
                    refusals: refusals.clone(),
                })
            };
            if let Some(address) = passthrough.tls {
                tls.insert(
                    hostname.clone(),
                    server(address, passthrough.proxy_protocol),
                );
            }
            if let Some(address) = passthrough.http {
                http.insert(hostname, server(address, None));
            }
        }
        Self { tls, http }
    }

    /// The server that gets this name's TLS connections; `None` when home ends them itself.
    pub(crate) fn tls(&self, hostname: &Hostname) -> Option<Arc<Server>> {
        self.tls.get(hostname).cloned()
    }

    /// The server that gets what certificate authorities ask for over plain HTTP, if there is one.
    pub(crate) fn http(&self, hostname: &Hostname) -> Option<Arc<Server>> {
        self.http.get(hostname).cloned()
    }

    pub(crate) fn status(&self) -> Vec<PassthroughStatus> {
        let row = |(hostname, server): (&Hostname, &Arc<Server>)| PassthroughStatus {
            hostname: hostname.clone(),
            address: server.address.clone(),
            error: server.reach().error().map(str::to_owned),
        };
        let mut rows: Vec<_> = self.tls.iter().chain(&self.http).map(row).collect();
        rows.sort_by(|one, other| one.hostname.cmp(&other.hostname));
        rows
    }
}

impl Server {
    /// Joins a visitor, whose address the relay has told, with the server until both have ended, or
    /// one cuts the other. A visitor is reset when the server is not reached.
    pub(crate) async fn serve(&self, visitor: Stream, address: Option<SocketAddr>) {
        let header = self.proxy_protocol.map(|version| {
            let addresses = address.map(|source| Addresses {
                source,
                // Where the visitor connected to is the relay's, and unknown here.
                destination: SocketAddr::new(unspecified(source), HTTPS_PORT),
            });
            proxy_protocol::encode(version, addresses)
        });
        let header = header.unwrap_or_default();
        match self.connect(&header).await {
            Some(Connected::Tcp(server)) => self.join(visitor, Arc::new(server)).await,
            Some(Connected::Unix(server)) => self.join(visitor, Arc::new(server)).await,
            None => self.refusals.count(VisitorRefusal::PassthroughUnreachable),
        }
    }

    async fn join<S: Socket + Send + 'static>(&self, visitor: Stream, server: Arc<S>) {
        // Until both have said all, whatever ends this is a reset to the server too: the visitor's
        // reset, and the end of a tunnel that the visitor still needed.
        let linger = |linger| SockRef::from(&*server).set_linger(linger);
        let _ = linger(Some(Duration::ZERO));
        match visitor.join(&server, &self.pipes).await {
            Ok(()) => drop(linger(None)),
            Err(cut) => tracing::debug!(
                error = &cut as &dyn std::error::Error,
                "A passed-through connection was cut"
            ),
        }
    }

    /// Asks the server what a certificate authority asks, if that is what the visitor wants. A
    /// visitor that wants anything else is reset.
    pub(crate) async fn validate(&self, mut visitor: Stream, hostname: &Hostname) {
        let refused = VisitorRefusal::HttpRefused;
        let unreachable = VisitorRefusal::PassthroughUnreachable;
        let validation = async {
            let head = validation::read(&mut visitor, hostname).await;
            let request = head.and_then(|head| head.validation_request());
            let request = request.ok_or(refused)?;
            let answer = match self.connect(&request).await.ok_or(unreachable)? {
                Connected::Tcp(server) => read_answer(server).await,
                Connected::Unix(server) => read_answer(server).await,
            };
            let answer = answer.map_err(|_| unreachable)?;
            visitor.write_all(&answer).await.map_err(|_| refused)?;
            visitor.shutdown().await.map_err(|_| refused)
        };
        let validated = timeout(VALIDATION, validation).await;
        if let Err(refusal) = validated.unwrap_or(Err(refused)) {
            self.refusals.count(refusal);
        }
    }

    /// Connects and sends the first bytes; a failure goes into the status.
    async fn connect(&self, opening: &[u8]) -> Option<Connected> {
        let connect = async {
            match &self.address {
                UpstreamAddress::Tcp(address) => {
                    let mut server = TcpStream::connect(address).await?;
                    server.set_nodelay(true)?;
                    server.write_all(opening).await?;
                    Ok(Connected::Tcp(server))
                }
                UpstreamAddress::Unix(path) => {
                    let mut server = UnixStream::connect(path).await?;
                    server.write_all(opening).await?;
                    Ok(Connected::Unix(server))
                }
            }
        };
        let connected = timeout(CONNECT, connect).await;
        match connected.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(server) => {
                self.reached();
                Some(server)
            }
            Err(error) => {
                self.unreached(&error);
                None
            }
        }
    }

    fn unreached(&self, error: &io::Error) {
        let message = format!("cannot reach the server at {}: {error}", self.address);
        tracing::debug!(
            error = message,
            "A server behind `passthrough` is not reached"
        );
        if self.reach().note(Some(message)) {
            tracing::warn!("A server behind `passthrough` is out of reach; see the status");
        }
    }

    fn reached(&self) {
        if self.reach().note(None) {
            tracing::info!("A server behind `passthrough` is reached again");
        }
    }

    fn reach(&self) -> MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

fn unspecified(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// All that the server says; it was asked to close.
async fn read_answer(server: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut server = server.take(VALIDATION_LEN_MAX);
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}
