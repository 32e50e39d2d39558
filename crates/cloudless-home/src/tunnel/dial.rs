//! A connection to a relay, by whichever of its addresses answers first.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::{PublicKey, control};
use cloudless_tls::Stream;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, PeerIncompatible};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::identity::OtherKey;
use super::inspection::{Found, inspect};
use super::lookup::{Candidate, Known, Lookup};
use super::path::Path;
use super::portal::Portals;
use super::ssh::HandshakeError;
use crate::config::Relay;
use crate::proxy::{Proxy, ProxyError};
use crate::status::chain;

/// Sent bytes that stay unacknowledged for this long close the connection.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(45);
/// Keeps a ping from waiting behind megabytes of unsent data in the kernel.
#[cfg(target_os = "linux")]
const NOT_SENT_LOW_WATER: u32 = 128 * 1024;

/// A connection to a relay that has proven its key.
pub(crate) struct Dialed {
    pub(crate) stream: Stream<TcpStream>,
    pub(crate) relay_key: PublicKey,
    /// Whence and where to; `None` when the connection has ended already.
    pub(crate) path: Option<Path>,
}

/// Why a dial failed. Ordered: of several addresses' failures the greatest is reported.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address at all.
    #[error("the relay {relay} has no address; write one to home.toml or join again")]
    NoAddress {
        /// The relay's name.
        relay: String,
    },
    /// The name of an address could not be resolved.
    #[error("cannot find the address of {address}; is this machine online?")]
    Resolve {
        /// `host:port` as configured.
        address: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {address}; is the relay running, and is this machine online?")]
    Connect {
        /// The address tried.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The proxy was not reached, or did not help.
    #[error("cannot reach the relay through the proxy at {address}")]
    Proxy {
        /// The proxy's address.
        address: SocketAddr,
        /// What it did.
        #[source]
        source: ProxyError,
    },
    /// An SSH server in the relay's place is of no use.
    #[error("the SSH server at {address} is of no use yet")]
    Ssh {
        /// The address tried.
        address: SocketAddr,
        /// Why, and what to do.
        #[source]
        source: Box<HandshakeError>,
    },
    /// TLS failed for a reason other than the key.
    #[error("what answers at {address} does not answer as a cloudless relay")]
    Tls {
        /// The address tried.
        address: SocketAddr,
        /// What TLS said.
        #[source]
        source: io::Error,
    },
    /// Somebody proved another key, or showed a certificate.
    #[error(
        "this network (or somebody) answers for the relay {relay} at {address} with another key{}; \
         nothing was sent: try another network. If `cloudless relay status` on the relay shows that \
         key, it was rotated or the relay set up anew while this home was away: there run `cloudless \
         relay invite --replace HOST`, here `cloudless home join CODE`",
        .presented.map(|key| format!(", {key}")).unwrap_or_default()
    )]
    WrongKey {
        /// The relay's name.
        relay: String,
        /// The address tried.
        address: SocketAddr,
        /// The other key; `None` where something else was shown.
        presented: Option<PublicKey>,
    },
    /// Plain HTTP where TLS belongs.
    #[error(
        "a captive portal answers for the relay at {address}{}: open any page in a browser and do \
         what it asks; home goes on dialing",
        .location.as_ref().map(|place| format!(" and sends browsers to {place}")).unwrap_or_default()
    )]
    Portal {
        /// The address tried.
        address: SocketAddr,
        /// Where it sends browsers.
        location: Option<String>,
    },
    /// Somebody shows a certificate in the relay's place.
    #[error(
        "this network intercepts TLS, or another server is in the relay's place: at {address} a \
         certificate of \"{issuer}\" is shown for the relay {relay}; nothing was sent: try another \
         network, or ask for an exception"
    )]
    Intercepted {
        /// The relay's name.
        relay: String,
        /// The address tried.
        address: SocketAddr,
        /// Who issued the certificate, in its own words.
        issuer: String,
    },
}

impl DialError {
    fn rank(&self) -> u8 {
        match self {
            Self::NoAddress { .. } => 0,
            Self::Resolve { .. } => 1,
            // This machine may have no IPv6 at all.
            Self::Connect { source, .. }
            | Self::Proxy {
                source: ProxyError::Connect(source),
                ..
            } if source.kind() == io::ErrorKind::NetworkUnreachable => 2,
            Self::Connect { .. }
            | Self::Proxy {
                source: ProxyError::Connect(_),
                ..
            } => 3,
            Self::Intercepted { .. }
            | Self::Proxy {
                source: ProxyError::Intercepts { .. },
                ..
            } => 8,
            Self::Proxy { .. } => 4,
            Self::Ssh { .. } | Self::Tls { .. } => 5,
            Self::WrongKey { .. } => 6,
            Self::Portal { .. } => 7,
        }
    }
}

/// Where a dial leads, and through what.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    /// The relay's name in messages.
    pub(crate) name: &'a str,
    /// `host:port`, each resolved anew.
    pub(crate) addresses: &'a [String],
    /// Used for those of the relay's addresses that it [is for](Proxy::is_for).
    pub(crate) proxy: Option<&'a Proxy>,
    /// Between the addresses.
    pub(crate) stagger: Duration,
    /// Before the others are tried beside one that is slow: a relay that is busy with thousands of
    /// homes serves who waits.
    pub(crate) handshake: Duration,
    /// Where the relay was before.
    pub(crate) known: &'a Known,
    /// Told when something answers, before it is clear whether that is the relay.
    pub(crate) answered: &'a Notify,
}

/// What a TCP connection has reached.
pub(crate) struct Reached {
    pub(crate) address: SocketAddr,
    /// Where the address is a proxy's: that, and the address behind it.
    through: Option<(Proxy, String)>,
}

impl Reached {
    /// Another connection to the same.
    pub(super) async fn again(&self) -> Result<TcpStream, DialError> {
        reach(self.address, self.through.as_ref()).await
    }
}

/// A TLS connection to a relay that proves a pinned key. Sets no overall deadline.
pub(crate) async fn dial_tls(
    way: Way<'_>,
    relay: &Relay,
    tls: Arc<ClientConfig>,
    portals: &Portals,
) -> Result<Dialed, DialError> {
    let relay = Arc::new(relay.clone());
    let connected = CancellationToken::new();
    let shake = |reached, tcp| {
        connected.cancel();
        let (tls, relay) = (Arc::clone(&tls), Arc::clone(&relay));
        async move { greet(tls, &relay, reached, tcp).await }
    };
    tokio::select! {
        biased;
        dialed = dial(way, shake) => match dialed {
            Err(error) => Err(portals.explained(error, way).await),
            dialed => dialed,
        },
        portal = portals.behind_silence(way, &connected) => Err(portal),
    }
}

/// Resolves every address of the relay anew, tries them all, each `stagger` after the one before
/// or as soon as that one failed (RFC 8305), and returns what the first handshake comes to that
/// `shake` is content with. Sets no overall deadline: drop the future to give up.
pub(crate) async fn dial<T, F>(
    way: Way<'_>,
    shake: impl Fn(Reached, TcpStream) -> F,
) -> Result<T, DialError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, DialError>> + Send + 'static,
{
    let mut lookup = Lookup::start(way.addresses, way.proxy, way.known);
    let mut is_looked_up = false;
    let mut queue: VecDeque<Candidate> = VecDeque::new();
    let mut connects = JoinSet::new();
    let mut connected: VecDeque<(Candidate, TcpStream)> = VecDeque::new();
    let mut handshakes = JoinSet::new();
    // Of an address, or of a handshake with one that is connected.
    let mut next_start = Instant::now();
    let mut worst = DialError::NoAddress {
        relay: way.name.to_owned(),
    };
    let mut fail = |error: DialError| {
        tracing::debug!(error = %chain(&error), "Dial failed");
        if error.rank() >= worst.rank() {
            worst = error;
        }
    };
    loop {
        let is_due = Instant::now() >= next_start;
        if (is_due || handshakes.is_empty())
            && let Some((candidate, tcp)) = connected.pop_front()
        {
            way.answered.notify_one();
            let reached = Reached {
                address: candidate.address,
                through: candidate.through.clone(),
            };
            let shaken = shake(reached, tcp);
            handshakes.spawn(async move { (candidate, shaken.await) });
            next_start = Instant::now() + way.handshake;
        } else if (is_due || connects.is_empty() && handshakes.is_empty())
            && let Some(candidate) = queue.pop_front()
        {
            connects.spawn(async move {
                let connected = reach(candidate.address, candidate.through.as_ref()).await;
                (candidate, connected)
            });
            next_start = Instant::now() + way.stagger;
        }
        let is_waiting = !queue.is_empty() || !connected.is_empty();
        tokio::select! {
            found = lookup.next(), if !is_looked_up => match found {
                Some(found) => {
                    queue.extend(found.candidates);
                    if let Some((address, source)) = found.error {
                        fail(DialError::Resolve { address, source });
                    }
                }
                None => is_looked_up = true,
            },
            Some(Ok((candidate, reached))) = connects.join_next() => match reached {
                Ok(tcp) => connected.push_back((candidate, tcp)),
                Err(error) => {
                    if handshakes.is_empty() {
                        next_start = Instant::now();
                    }
                    fail(error);
                }
            },
            Some(Ok((candidate, shaken))) = handshakes.join_next() => match shaken {
                Ok(stream) => {
                    lookup.reached(&candidate);
                    return Ok(stream);
                }
                Err(error) => {
                    next_start = Instant::now();
                    fail(error);
                }
            },
            () = sleep_until(next_start), if is_waiting => {}
            else => return Err(worst),
        }
    }
}

/// The handshake with what answers at an address, or what is found out about it.
async fn greet(
    tls: Arc<ClientConfig>,
    relay: &Relay,
    reached: Reached,
    tcp: TcpStream,
) -> Result<Dialed, DialError> {
    match handshake(tls, relay, reached.address, tcp).await {
        Err(error) => Err(explained(error, relay, &reached).await),
        shaken => shaken,
    }
}

/// A connection to the relay at `address`, or one that the proxy there makes to it.
async fn reach(
    address: SocketAddr,
    through: Option<&(Proxy, String)>,
) -> Result<TcpStream, DialError> {
    let by_proxy = |source| DialError::Proxy { address, source };
    let connected = connect(address).await;
    let mut tcp = connected.map_err(|source| match through {
        None => DialError::Connect { address, source },
        Some(_) => by_proxy(ProxyError::Connect(source)),
    })?;
    prefer_bbr(&tcp);
    if let Some((proxy, relay)) = through {
        proxy.connect(&mut tcp, relay).await.map_err(by_proxy)?;
    }
    Ok(tcp)
}

/// The same error, or what is found out about who answered there in the relay's place.
async fn explained(error: DialError, relay: &Relay, reached: &Reached) -> DialError {
    if !matches!(error, DialError::WrongKey { .. } | DialError::Tls { .. }) {
        return error;
    }
    let address = reached.address;
    let found = inspect(reached, relay.server_name.as_str()).await;
    match (found, &reached.through) {
        (Some(Found::Interceptor { issuer }), None) => DialError::Intercepted {
            relay: relay.server_name.to_string(),
            address,
            issuer,
        },
        (Some(Found::Interceptor { issuer }), Some(_)) => DialError::Proxy {
            address,
            source: ProxyError::Intercepts { issuer },
        },
        (Some(Found::Portal { location }), None) => DialError::Portal { address, location },
        // No portal is asked for a connection first.
        (Some(Found::Portal { .. }), Some(_)) | (None, _) => error,
    }
}

/// A TCP connection with all the options that a tunnel or a leg needs.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    configure(&stream)?;
    Ok(stream)
}

fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(5))
            .with_retries(3),
    )?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
    }
    Ok(())
}

/// Sends by BBR, where the system lets this process choose it. Most systems' default takes every lost
/// packet for a full path, and this machine may be behind Wi-Fi.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "other systems have no such option")
)]
pub(super) fn prefer_bbr(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_congestion(b"bbr") {
        tracing::debug!(%error, "The system's default congestion control stays: no BBR");
    }
}

async fn handshake(
    tls: Arc<ClientConfig>,
    relay: &Relay,
    address: SocketAddr,
    tcp: TcpStream,
) -> Result<Dialed, DialError> {
    let tls_error = |source| DialError::Tls { address, source };
    let name = ServerName::try_from(relay.server_name.as_str().to_owned())
        .map_err(|error| tls_error(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let path = path(&tcp);
    let connected = cloudless_tls::connect(tls, name, tcp).await;
    let (stream, proven) = connected.map_err(|source| {
        if is_wrong_key(&source) {
            DialError::WrongKey {
                relay: relay.server_name.to_string(),
                address,
                presented: presented(&source),
            }
        } else {
            tls_error(source)
        }
    })?;
    let key = proven.certificates.first();
    let key = key.and_then(|key| PublicKey::from_spki(key));
    let key = key.filter(|_| proven.alpn.as_deref() == Some(control::ALPN));
    let Some(relay_key) = key else {
        let message = "the server speaks TLS but not the tunnel protocol";
        return Err(tls_error(io::Error::new(
            io::ErrorKind::InvalidData,
            message,
        )));
    };
    Ok(Dialed {
        stream,
        relay_key,
        path,
    })
}

fn path(tcp: &TcpStream) -> Option<Path> {
    let (local, remote) = (tcp.local_addr().ok()?, tcp.peer_addr().ok()?);
    Some(Path { local, remote })
}

/// The key that was proven in place of a pinned one.
fn presented(error: &io::Error) -> Option<PublicKey> {
    let cause = error.get_ref()?.downcast_ref::<Error>()?;
    let Error::InvalidCertificate(CertificateError::Other(other)) = cause else {
        return None;
    };
    let OtherKey(key) = other.0.downcast_ref::<OtherKey>()?;
    Some(*key)
}

/// A key that is not a pinned one, a certificate where a raw key was asked for, or a server that
/// has no raw key to prove.
fn is_wrong_key(error: &io::Error) -> bool {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<Error>());
    matches!(
        cause,
        Some(
            Error::InvalidCertificate(_)
                | Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension)
                | Error::AlertReceived(
                    AlertDescription::HandshakeFailure | AlertDescription::UnsupportedCertificate
                )
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_is_told_before_that_it_is_not_there_at_another_address() {
        let address = ([192, 0, 2, 1], 3128).into();
        let by_proxy = |source| DialError::Proxy { address, source };
        let source = || io::ErrorKind::HostUnreachable.into();
        let absent = by_proxy(ProxyError::Connect(source()));
        assert!(by_proxy(ProxyError::Login).rank() > absent.rank());
        let direct = DialError::Connect {
            address,
            source: source(),
        };
        assert_eq!(absent.rank(), direct.rank());
        let source = io::ErrorKind::NetworkUnreachable.into();
        let without_ipv6 = DialError::Connect { address, source };
        assert!(without_ipv6.rank() < direct.rank());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_tunnel_sends_by_bbr_where_the_kernel_has_it() {
        use std::net::{Ipv4Addr, Ipv6Addr};
        use tokio::net::TcpListener;

        let loopbacks: [std::net::IpAddr; 2] =
            [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for loopback in loopbacks {
            let listener = TcpListener::bind((loopback, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            if SockRef::from(&stream).set_tcp_congestion(b"bbr").is_err() {
                eprintln!("NOT TESTED: BBR, because this machine lets nobody choose it");
                return;
            }
            let stream = reach(address, None).await.unwrap();
            let name = SockRef::from(&stream).tcp_congestion().unwrap();
            assert!(name.starts_with(b"bbr\0"), "{name:?}");
        }
    }
}
