//! A captive portal that lets nobody connect to the relay, and answers only who asks for a page in
//! clear, as a browser does.

use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cloudless_proto::response_head;
use http::uri::Authority;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::{DialError, Way};
use super::inspection::{answer_in_clear, shortened};
use super::lookup::Lookup;

const HTTP: u16 = 80;
/// Relays that do not answer by then may be kept from it. The system has sent twice.
const SILENCE: Duration = Duration::from_secs(2);
/// For the whole question.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer holds for so long, for all dials to a relay.
const AGAIN: Duration = Duration::from_secs(10);

/// What was last found of a portal before one relay. Looking for it may delay the end of a dial that has
/// failed, and holds no other dial back.
#[derive(Debug, Default)]
pub(crate) struct Portals(Mutex<Option<Looked>>);

#[derive(Debug)]
struct Looked {
    at: Instant,
    found: Option<Portal>,
}

/// A portal at one of the relay's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Portal {
    address: SocketAddr,
    /// Where it sends browsers, if it says.
    location: Option<String>,
}

impl Portals {
    /// Why a dial has failed: the same, or the portal that turned it away.
    pub(super) async fn explained(&self, error: DialError, way: Way<'_>) -> DialError {
        match &error {
            DialError::Connect { source, .. } if is_turned_away(source) => {
                self.find(way).await.unwrap_or(error)
            }
            _ => error,
        }
    }

    /// Comes back with the portal that swallows a dial, if there is one and nothing has `connected`
    /// meanwhile.
    pub(super) async fn behind_silence(
        &self,
        way: Way<'_>,
        connected: &CancellationToken,
    ) -> DialError {
        let silence = async {
            sleep(SILENCE).await;
            self.find(way).await
        };
        match connected.run_until_cancelled(silence).await.flatten() {
            Some(portal) => portal,
            None => pending().await,
        }
    }

    /// Dials that come to nothing at once wait for one answer together.
    async fn find(&self, way: Way<'_>) -> Option<DialError> {
        let mut looked = self.0.lock().await;
        let fresh = looked.take().filter(|it| it.at.elapsed() < AGAIN);
        let now = match fresh {
            Some(fresh) => fresh,
            None => {
                let found = timeout(PATIENCE, look(way)).await.ok().flatten();
                let at = Instant::now();
                Looked { at, found }
            }
        };
        let Portal { address, location } = looked.insert(now).found.clone()?;
        Some(DialError::Portal { address, location })
    }
}

/// Somebody on the way says no, or nobody says anything. Who is offline hears it from this machine.
fn is_turned_away(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::TimedOut
    )
}

/// Asks at all of the relay's addresses that are dialed without a proxy.
async fn look(way: Way<'_>) -> Option<Portal> {
    let mut lookup = Lookup::start(way.addresses, way.proxy, way.known);
    let mut questions = JoinSet::new();
    loop {
        tokio::select! {
            Some(found) = lookup.next() => {
                for candidate in found.candidates {
                    let ip = candidate.address.ip();
                    // No portal is on the way to this very machine.
                    if candidate.through.is_none() && !ip.is_loopback() {
                        let (name, addresses) = (way.name.to_owned(), way.addresses.to_vec());
                        questions.spawn(async move { ask(ip, &name, &addresses).await });
                    }
                }
            }
            Some(Ok(found)) = questions.join_next() => {
                if found.is_some() {
                    return found;
                }
            }
            else => return None,
        }
    }
}

/// Asks for a page in clear.
async fn ask(ip: IpAddr, name: &str, addresses: &[String]) -> Option<Portal> {
    let address = SocketAddr::new(ip, HTTP);
    let tcp = TcpStream::connect(address).await.ok()?;
    let answer = answer_in_clear(tcp, name).await?;
    let hosts = addresses.iter().filter_map(|it| it.rsplit_once(':'));
    let ip = ip.to_string();
    let ours: Vec<&str> = hosts.map(|(host, _)| host).chain([name, &ip]).collect();
    let location = portal(&answer, &ours)?;
    Some(Portal { address, location })
}

/// Where an answer sends browsers that is a portal's, and not that of a web server of the relay's
/// machine, which is known by the hosts `ours`.
fn portal(answer: &[u8], ours: &[&str]) -> Option<Option<String>> {
    match response_head::status(answer)? {
        // It says what it is (RFC 6585 §6).
        511 => Some(None),
        // A permanent redirect is that of a web server with another name.
        302 | 303 | 307 => {
            let location = String::from_utf8_lossy(response_head::location(answer)?);
            let host = host(&location)?;
            let is_ours = ours.iter().any(|it| is_of_one_domain(bare(it), &host));
            (!is_ours).then(|| Some(shortened(&location)))
        }
        _ => None,
    }
}

/// The host of a URL, without the brackets of an IPv6 address; `None` where it names none, so that
/// the host is the one that was asked.
fn host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("//")?;
    if scheme.contains(['/', '?', '#']) {
        return None;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let authority: Authority = authority.parse().ok()?;
    Some(bare(authority.host()).to_ascii_lowercase())
}

fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']']).trim_end_matches('.')
}

/// Whether both are the same, or one is a name in the other's domain, as `www.example.org` is.
fn is_of_one_domain(a: &str, b: &str) -> bool {
    let is_in = |name: &str, domain: &str| {
        let rest = name.len().checked_sub(domain.len());
        let split = rest.and_then(|at| name.split_at_checked(at));
        split.is_some_and(|(before, end)| {
            end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with('.'))
        })
    };
    is_in(a, b) || is_in(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 4] = [
        "relay.cloudless.internal",
        "Relay.example.org.",
        "203.0.113.1",
        "[2001:db8::1]",
    ];

    fn redirect(status: &str, location: &str) -> Option<Option<String>> {
        let head = format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\n\r\n");
        portal(head.as_bytes(), &OURS)
    }

    #[test]
    fn whoever_sends_browsers_elsewhere_is_a_portal() {
        for location in [
            "http://portal.example/login?u=http://relay.example.org/",
            "https://user@10.0.0.1:8443",
            "//portal.example",
            "http://[2001:db8::2]/",
            "http://notrelay.example.org/",
            "HTTP://portal.example?relay.example.org",
        ] {
            for status in ["302", "303", "307"] {
                let found = redirect(status, location);
                assert_eq!(found, Some(Some(location.to_owned())), "{status}");
            }
        }
        assert_eq!(portal(b"HTTP/1.1 511 x\r\n\r\n", &OURS), Some(None));
        let long = redirect(
            "302",
            &format!("http://portal.example/{}", "a".repeat(1000)),
        );
        assert_eq!(long.flatten().unwrap().len(), 100);
    }

    #[test]
    fn the_relay_and_a_web_server_beside_it_are_no_portal() {
        for location in [
            "https://relay.cloudless.internal/",
            "https://RELAY.example.org/",
            "https://relay.example.org./a",
            "https://relay.example.org:8443?a//b",
            "https://www.relay.example.org/",
            "https://example.org/",
            "https://203.0.113.1/",
            "https://[2001:db8::1]:443/",
            "/login?next=http://portal.example/",
            "login",
            "",
        ] {
            assert_eq!(redirect("302", location), None, "{location}");
        }
        for status in ["301", "308", "200", "304", "400", "404"] {
            assert_eq!(redirect(status, "https://www.example.com/"), None);
        }
        assert_eq!(portal(b"SSH-2.0-x\r\n", &OURS), None);
    }

    #[test]
    fn a_machine_that_is_offline_asks_nobody() {
        for (kind, expected) in [
            (io::ErrorKind::ConnectionRefused, true),
            (io::ErrorKind::HostUnreachable, true),
            (io::ErrorKind::NetworkUnreachable, false),
            (io::ErrorKind::NetworkDown, false),
            (io::ErrorKind::AddrNotAvailable, false),
        ] {
            assert_eq!(is_turned_away(&kind.into()), expected, "{kind}");
        }
    }
}
