//! The addresses of a relay's names: what DNS says now, or what it said when the relay was last
//! reached, where it says nothing.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::resolver::Resolver;
use crate::proxy::Proxy;

/// More addresses than this in one dial are left out.
const ADDRESSES_MAX: usize = 16;
/// DNS that has not answered by then may never do, and what it said before is tried beside it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The addresses that each of a relay's names had when the relay was last reached by one of them:
/// DNS fails more often than relays move. Kept as long as this process.
#[derive(Default)]
pub(crate) struct Known {
    addresses: Mutex<HashMap<String, Vec<SocketAddr>>>,
    /// Says what they are now.
    resolver: Arc<Resolver>,
}

impl Known {
    /// Of one relay; the resolver is that of all.
    pub(crate) fn new(resolver: Arc<Resolver>) -> Self {
        Self {
            addresses: Mutex::default(),
            resolver,
        }
    }

    fn of(&self, name: &str) -> Vec<SocketAddr> {
        let known = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned().unwrap_or_default()
    }

    fn keep(&self, name: &str, addresses: &[SocketAddr]) {
        let mut known = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), addresses.to_owned());
    }
}

/// The lookup of all names of one dial.
pub(super) struct Lookup<'a> {
    known: &'a Known,
    places: Vec<Place>,
    tasks: JoinSet<(usize, io::Result<Vec<SocketAddr>>)>,
    /// When the names that DNS has not answered for are remembered; `None` once they were.
    recall: Option<Instant>,
    n_found: usize,
}

/// A name that is looked up.
struct Place {
    /// `host:port`.
    name: String,
    /// Where it is a proxy: that, and the relay's address behind it.
    through: Option<(Proxy, String)>,
    /// What DNS said; `None` before it has answered.
    told: Option<Vec<SocketAddr>>,
    /// What of it was found so far.
    found: Vec<SocketAddr>,
}

/// An address to connect to.
pub(super) struct Candidate {
    place: usize,
    pub(super) address: SocketAddr,
    pub(super) through: Option<(Proxy, String)>,
}

/// What a lookup came to for some of its names.
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    /// The name that DNS had no address for, and what it said.
    pub(super) error: Option<(String, io::Error)>,
}

impl<'a> Lookup<'a> {
    /// Asks DNS for each of the relay's addresses, or for the proxy where one is for it: anew, or
    /// together with the dials just before.
    pub(super) fn start(addresses: &[String], proxy: Option<&Proxy>, known: &'a Known) -> Self {
        let mut tasks = JoinSet::new();
        let mut places = Vec::new();
        for address in addresses.iter().take(ADDRESSES_MAX) {
            let proxy = proxy.filter(|proxy| proxy.is_for(address));
            let name = proxy.map_or(address.as_str(), Proxy::address).to_owned();
            let number = places.len();
            places.push(Place {
                name: name.clone(),
                through: proxy.map(|proxy| (proxy.clone(), address.clone())),
                told: None,
                found: Vec::new(),
            });
            let answer = known.resolver.ask(&name, async |name| {
                lookup_host(name).await.map(Vec::from_iter)
            });
            tasks.spawn(async move { (number, answer.said().await) });
        }
        Self {
            known,
            places,
            tasks,
            recall: Some(Instant::now() + PATIENCE),
            n_found: 0,
        }
    }

    /// Waits for more addresses; `None` when there will be none. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Option<Found> {
        let recall = self.recall.filter(|_| !self.tasks.is_empty());
        tokio::select! {
            Some(Ok((number, answer))) = self.tasks.join_next() => Some(self.answered(number, answer)),
            () = sleep_until(recall.unwrap_or_else(Instant::now)), if recall.is_some() => {
                self.recall = None;
                let pending = (0..self.places.len()).filter(|it| self.places[*it].told.is_none());
                let pending: Vec<usize> = pending.collect();
                let recalled = pending.into_iter().flat_map(|number| self.recalled(number));
                Some(Found { candidates: recalled.collect(), error: None })
            }
            else => None,
        }
    }

    /// The candidate proved to be the relay: what DNS said of its name is worth keeping.
    pub(super) fn reached(&self, candidate: &Candidate) {
        let place = &self.places[candidate.place];
        if let Some(told) = &place.told
            && told.contains(&candidate.address)
        {
            self.known.keep(&place.name, told);
        }
    }

    fn answered(&mut self, number: usize, answer: io::Result<Vec<SocketAddr>>) -> Found {
        match answer {
            Ok(addresses) => {
                let addresses = alternate(addresses);
                self.places[number].told = Some(addresses.clone());
                Found {
                    candidates: self.candidates(number, addresses),
                    error: None,
                }
            }
            Err(error) => {
                let recalled = self.recalled(number);
                self.places[number].told = Some(Vec::new());
                Found {
                    candidates: recalled,
                    error: Some((self.places[number].name.clone(), error)),
                }
            }
        }
    }

    fn recalled(&mut self, number: usize) -> Vec<Candidate> {
        let addresses = self.known.of(&self.places[number].name);
        if !addresses.is_empty() {
            tracing::debug!("DNS has no answer: dialing where the relay was last");
        }
        self.candidates(number, addresses)
    }

    /// Those of the addresses that are new, as far as there is room.
    fn candidates(&mut self, number: usize, addresses: Vec<SocketAddr>) -> Vec<Candidate> {
        let place = &mut self.places[number];
        let mut candidates = Vec::new();
        for address in addresses {
            if self.n_found < ADDRESSES_MAX && !place.found.contains(&address) {
                self.n_found += 1;
                place.found.push(address);
                candidates.push(Candidate {
                    place: number,
                    address,
                    through: place.through.clone(),
                });
            }
        }
        candidates
    }
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
    use tokio::sync::oneshot;

    use super::*;

    fn parse(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_and_none_is_lost() {
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

    /// A lookup of one name that DNS is never asked for.
    fn lookup<'a>(known: &'a Known, name: &str) -> Lookup<'a> {
        Lookup {
            known,
            places: vec![Place {
                name: name.to_owned(),
                through: None,
                told: None,
                found: Vec::new(),
            }],
            tasks: JoinSet::new(),
            recall: None,
            n_found: 0,
        }
    }

    fn addresses(found: &Found) -> Vec<SocketAddr> {
        found.candidates.iter().map(|it| it.address).collect()
    }

    #[test]
    fn where_the_relay_was_reached_is_dialed_when_dns_fails_and_nothing_else_is() {
        let known = Known::default();
        let [portal, relay, other] =
            ["10.0.0.1:443", "192.0.2.1:443", "[2001:db8::1]:443"].map(parse);
        let failure = || io::Error::from(io::ErrorKind::NotFound);
        // Whoever answers for a name is not the relay before it has proved it.
        let mut first = lookup(&known, "relay.test:443");
        assert_eq!(addresses(&first.answered(0, Ok(vec![portal]))), [portal]);
        let found = lookup(&known, "relay.test:443").answered(0, Err(failure()));
        assert_eq!(addresses(&found), []);

        let mut second = lookup(&known, "relay.test:443");
        let found = second.answered(0, Ok(vec![relay, other]));
        second.reached(&found.candidates[0]);
        let found = lookup(&known, "relay.test:443").answered(0, Err(failure()));
        assert_eq!(addresses(&found), [relay, other]);
        assert_eq!(found.error.unwrap().0, "relay.test:443");
        let found = lookup(&known, "another.test:443").answered(0, Err(failure()));
        assert_eq!(addresses(&found), []);
    }

    #[test]
    fn what_was_remembered_and_is_told_again_is_tried_once() {
        let known = Known::default();
        let [old, new] = ["192.0.2.1:443", "192.0.2.2:443"].map(parse);
        known.keep("relay.test:443", &[old]);
        let mut lookup = lookup(&known, "relay.test:443");
        assert_eq!(lookup.recalled(0).len(), 1);
        assert_eq!(addresses(&lookup.answered(0, Ok(vec![old, new]))), [new]);
    }

    #[tokio::test]
    async fn a_dial_hears_what_the_resolver_was_asked_before() {
        let known = Known::default();
        let name = "relay.test:443";
        let (say, said) = oneshot::channel();
        let asked = async |_| Ok(said.await.unwrap());
        drop(known.resolver.ask(name, asked));
        let mut lookup = Lookup::start(&[name.to_owned()], None, &known);
        let address = parse("192.0.2.1:443");
        say.send(vec![address]).unwrap();
        assert_eq!(addresses(&lookup.next().await.unwrap()), [address]);
        assert!(lookup.next().await.is_none());
    }
}
