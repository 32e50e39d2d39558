//! A TLS connection to a relay, by whichever of its addresses answers first.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::control;
use cloudless_splice::ReadAhead;
use rustls::{AlertDescription, ClientConfig, Error, PeerIncompatible};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::inspection::{Found, inspect};
use crate::config::Relay;
use crate::proxy::{Proxy, ProxyError};
use crate::status::chain;

/// More addresses than this in one dial are left out.
const ADDRESSES_MAX: usize = 16;
/// One address's handshake; the other addresses are tried after it.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// Sent bytes that stay unacknowledged for this long close the connection.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(45);
/// Keeps a ping from waiting behind megabytes of unsent data in the kernel.
#[cfg(target_os = "linux")]
const NOT_SENT_LOW_WATER: u32 = 128 * 1024;

/// A connection to a relay whose key is proven.
pub(crate) type Tls = TlsStream<ReadAhead<TcpStream>>;

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
    /// The proxy was reached and did not help.
    #[error("cannot reach the relay through the proxy at {address}")]
    Proxy {
        /// The proxy's address.
        address: SocketAddr,
        /// What it did.
        #[source]
        source: ProxyError,
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
        "this network (or somebody) answers for the relay {relay} at {address} with another key; \
         nothing was sent: try another network, or join again if the relay was set up anew"
    )]
    WrongKey {
        /// The relay's name.
        relay: String,
        /// The address tried.
        address: SocketAddr,
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
            Self::Connect { .. } => 2,
            Self::Proxy { .. } => 3,
            Self::Tls { .. } => 4,
            Self::WrongKey { .. } => 5,
            Self::Portal { .. } => 6,
            Self::Intercepted { .. } => 7,
        }
    }
}

/// Where a dial leads, and through what.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) relay: &'a Relay,
    /// Used for those of the relay's addresses that it [is for](Proxy::is_for).
    pub(crate) proxy: Option<&'a Proxy>,
    /// Between the addresses.
    pub(crate) stagger: Duration,
}

/// Resolves every address of the relay anew, tries them all, each `stagger` after the one before
/// or as soon as that one failed (RFC 8305), and returns the first that proves the pinned key.
/// Sets no overall deadline: drop the future to give up.
pub(crate) async fn dial(way: Way<'_>, tls: Arc<ClientConfig>) -> Result<Tls, DialError> {
    let Way {
        relay,
        proxy,
        stagger,
    } = way;
    let connector = TlsConnector::from(tls);
    let mut lookups = JoinSet::new();
    for address in relay.addresses.iter().take(ADDRESSES_MAX).cloned() {
        let proxy = proxy.filter(|proxy| proxy.is_for(&address)).cloned();
        lookups.spawn(async move {
            let place = proxy.as_ref().map_or(address.as_str(), Proxy::address);
            let found = lookup_host(place).await.map(Vec::from_iter);
            let place = place.to_owned();
            (place, proxy.map(|proxy| (proxy, address)), found)
        });
    }
    let mut queue: VecDeque<(SocketAddr, Option<(Proxy, String)>)> = VecDeque::new();
    let mut connects = JoinSet::new();
    let mut next_start = Instant::now();
    let mut n_addresses = 0;
    let mut worst = DialError::NoAddress {
        relay: relay.server_name.to_string(),
    };
    let mut fail = |error: DialError| {
        tracing::debug!(error = %chain(&error), "Dial failed");
        if error.rank() >= worst.rank() {
            worst = error;
        }
    };
    loop {
        if (connects.is_empty() || Instant::now() >= next_start)
            && let Some((address, through)) = queue.pop_front()
        {
            connects.spawn(async move {
                let is_direct = through.is_none();
                (address, is_direct, reach(address, through).await)
            });
            next_start = Instant::now() + stagger;
        }
        tokio::select! {
            Some(Ok((place, through, found))) = lookups.join_next() => match found {
                Ok(found) => {
                    let room = ADDRESSES_MAX - n_addresses;
                    let found = alternate(found).into_iter().take(room);
                    n_addresses += found.len();
                    queue.extend(found.map(|address| (address, through.clone())));
                }
                Err(source) => fail(DialError::Resolve { address: place, source }),
            },
            Some(Ok((address, is_direct, connected))) = connects.join_next() => {
                next_start = Instant::now();
                let tcp = match connected {
                    Ok(tcp) => tcp,
                    Err(error) => {
                        fail(error);
                        continue;
                    }
                };
                match handshake(&connector, relay, address, tcp).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) if is_direct => fail(explained(error, relay).await),
                    Err(error) => fail(error),
                }
            }
            () = sleep_until(next_start), if !queue.is_empty() => {}
            else => return Err(worst),
        }
    }
}

/// A connection to the relay at `address`, or one that the proxy there makes to it.
async fn reach(
    address: SocketAddr,
    through: Option<(Proxy, String)>,
) -> Result<TcpStream, DialError> {
    let connected = connect(address).await;
    let mut tcp = connected.map_err(|source| DialError::Connect { address, source })?;
    if let Some((proxy, relay)) = through {
        let asked = proxy.connect(&mut tcp, &relay).await;
        asked.map_err(|source| DialError::Proxy { address, source })?;
    }
    Ok(tcp)
}

/// The same error, or what is found out about who answered there in the relay's place.
async fn explained(error: DialError, relay: &Relay) -> DialError {
    let address = match &error {
        DialError::WrongKey { address, .. } => *address,
        // Whoever says nothing now will not say more.
        DialError::Tls { address, source } if source.kind() != io::ErrorKind::TimedOut => *address,
        _ => return error,
    };
    match inspect(address, relay.server_name.as_str()).await {
        Some(Found::Interceptor { issuer }) => DialError::Intercepted {
            relay: relay.server_name.to_string(),
            address,
            issuer,
        },
        Some(Found::Portal { location }) => DialError::Portal { address, location },
        None => error,
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
        // Most systems' default takes every lost packet for a full path, and this machine may be
        // behind Wi-Fi.
        if let Err(error) = socket.set_tcp_congestion(b"bbr") {
            tracing::debug!(%error, "The system's default congestion control stays: no BBR");
        }
    }
    Ok(())
}

async fn handshake(
    connector: &TlsConnector,
    relay: &Relay,
    address: SocketAddr,
    tcp: TcpStream,
) -> Result<Tls, DialError> {
    let tls_error = |source| DialError::Tls { address, source };
    let name = ServerName::try_from(relay.server_name.as_str().to_owned())
        .map_err(|error| tls_error(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let stream = timeout(HANDSHAKE, connector.connect(name, ReadAhead::new(tcp)))
        .await
        .map_err(|_| tls_error(io::Error::from(io::ErrorKind::TimedOut)))?
        .map_err(|source| {
            if is_wrong_key(&source) {
                DialError::WrongKey {
                    relay: relay.server_name.to_string(),
                    address,
                }
            } else {
                tls_error(source)
            }
        })?;
    if stream.get_ref().1.alpn_protocol() != Some(control::ALPN) {
        let message = "the server speaks TLS but not the tunnel protocol";
        return Err(tls_error(io::Error::new(
            io::ErrorKind::InvalidData,
            message,
        )));
    }
    Ok(stream)
}

/// A key that is not the pinned one, a certificate where a raw key was asked for, or a server that
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

/// The addresses with the two families taking turns, in the resolver's order otherwise
/// (RFC 8305 §4).
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut alternated = Vec::new();
    for address in first {
        alternated.push(address);
        alternated.extend(second.next());
    }
    alternated.extend(second);
    alternated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_none_is_lost() {
        let parse = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let v6 = ["[::1]:1", "[::2]:1", "[::3]:1"].map(parse);
        let v4 = ["10.0.0.1:1", "10.0.0.2:1"].map(parse);
        assert_eq!(
            alternate([v6[0], v6[1], v6[2], v4[0], v4[1]].into()),
            [v6[0], v4[0], v6[1], v4[1], v6[2]]
        );
        assert_eq!(
            alternate([v4[0], v6[0], v6[1]].into()),
            [v4[0], v6[0], v6[1]]
        );
        assert_eq!(alternate(v4.into()), v4);
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
            let stream = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let socket = SockRef::from(&stream);
            if socket.set_tcp_congestion(b"bbr").is_err() {
                eprintln!("NOT TESTED: BBR, because this machine lets nobody choose it");
                return;
            }
            socket.set_tcp_congestion(b"reno").unwrap();
            configure(&stream).unwrap();
            let name = socket.tcp_congestion().unwrap();
            assert!(name.starts_with(b"bbr\0"), "{name:?}");
        }
    }
}
