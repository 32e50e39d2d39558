//! Connections that compete for a number of places.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::limits::source_of;

/// Connections by source: those of one listener that have not said yet what they want, or the
/// visitors of one home.
///
/// When there are too many, the oldest one of the source with most of them goes. A few sources with
/// many connections push themselves out, and a newcomer gets in, however large the crowd is.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    n_admitted: u64,
    count: usize,
    /// Invariant: no source is empty. The numbers are in the order of arrival.
    sources: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
    /// Invariant: the rank of each source. The last one has to make room, which floods ask for
    /// thousands of times in a second.
    ranks: BTreeSet<Rank>,
}

/// How many connections a source has, the number of its oldest one, and which it is.
type Rank = (usize, Reverse<u64>, IpAddr);

fn rank(source: IpAddr, connections: &BTreeMap<u64, CancellationToken>) -> Option<Rank> {
    let (oldest, _) = connections.first_key_value()?;
    Some((connections.len(), Reverse(*oldest), source))
}

impl Crowd {
    /// Counts a connection until the permit is dropped, and cancels others' so that there are at
    /// most `max`, which is at least one.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, max: usize) -> Place {
        let source = source_of(address);
        let shed = CancellationToken::new();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while open.count >= max.max(1) {
            open.shed_one();
        }
        let number = open.add(source, shed.clone());
        Place {
            crowd: Arc::clone(self),
            source,
            number,
            shed,
        }
    }
}

impl Open {
    fn add(&mut self, source: IpAddr, shed: CancellationToken) -> u64 {
        let number = self.n_admitted;
        self.n_admitted += 1;
        self.count += 1;
        let connections = self.sources.entry(source).or_default();
        if let Some(before) = rank(source, connections) {
            self.ranks.remove(&before);
        }
        connections.insert(number, shed);
        self.ranks.extend(rank(source, connections));
        number
    }

    fn shed_one(&mut self) {
        if let Some((_, Reverse(oldest), source)) = self.ranks.last().copied()
            && let Some(shed) = self.remove(source, oldest)
        {
            shed.cancel();
        }
    }

    fn remove(&mut self, source: IpAddr, number: u64) -> Option<CancellationToken> {
        let connections = self.sources.get_mut(&source)?;
        let before = rank(source, connections)?;
        let removed = connections.remove(&number)?;
        self.count -= 1;
        self.ranks.remove(&before);
        match rank(source, connections) {
            Some(now) => {
                self.ranks.insert(now);
            }
            None => {
                self.sources.remove(&source);
            }
        }
        Some(removed)
    }
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    source: IpAddr,
    number: u64,
    shed: CancellationToken,
}

impl Place {
    /// Cancelled when the connection has to go.
    pub(crate) fn shed(&self) -> CancellationToken {
        self.shed.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.crowd.open;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(self.source, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(crowd: &Arc<Crowd>, address: &str, max: usize) -> Place {
        crowd.admit(address.parse().unwrap(), max)
    }

    fn is_shed(permit: &Place) -> bool {
        permit.shed.is_cancelled()
    }

    #[test]
    fn the_largest_crowd_loses_its_oldest() {
        let crowd = Arc::new(Crowd::default());
        let alone = admit(&crowd, "192.0.2.1", 4);
        let many = [(); 3].map(|()| admit(&crowd, "192.0.2.2", 4));
        let newcomer = admit(&crowd, "192.0.2.3", 4);
        assert_eq!(many.each_ref().map(is_shed), [true, false, false]);
        assert!(!is_shed(&alone) && !is_shed(&newcomer));
    }

    #[test]
    fn among_equals_the_oldest_goes() {
        let crowd = Arc::new(Crowd::default());
        let old = admit(&crowd, "192.0.2.1", 2);
        let young = admit(&crowd, "192.0.2.2", 2);
        let newcomer = admit(&crowd, "192.0.2.3", 2);
        assert_eq!([&old, &young, &newcomer].map(is_shed), [true, false, false]);
    }

    #[test]
    fn who_has_decided_makes_room_and_leaves_nothing_behind() {
        let crowd = Arc::new(Crowd::default());
        drop(admit(&crowd, "192.0.2.1", 1));
        let second = admit(&crowd, "192.0.2.2", 1);
        let third = admit(&crowd, "192.0.2.3", 1);
        assert!(is_shed(&second) && !is_shed(&third));
        drop((second, third));
        let open = crowd.open.lock().unwrap();
        assert!(open.sources.is_empty() && open.ranks.is_empty());
        assert_eq!(open.count, 0);
    }
}
