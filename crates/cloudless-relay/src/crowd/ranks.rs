//! Who has to make room first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It has said what it wants, and waits to be let in.
    Waiting,
    /// It may mean harm.
    Stranger,
    /// It has shown that it means what it said.
    Settled,
}

/// Who goes before whom of one source: those of whom less is known, and among equals the oldest, by
/// the number in the order of arrival.
pub(crate) type Order = (Standing, u64);

/// As many connections as one client opens at once are no crowd: a botnet has an address for each of its
/// own, and would push out everybody who comes with two.
pub(crate) const FEW: usize = 8;

/// How many connections a source has, the first of them to go, and which source it is.
type Rank = (usize, Reverse<Order>, IpAddr);

/// Connections by source, and in the order in which they make room: the first of the source with
/// most of them, if these are more than a few, and among equals the one that is first in order.
#[derive(Debug)]
pub(crate) struct Ranks<T> {
    count: usize,
    /// Invariant: no source is empty.
    sources: HashMap<IpAddr, BTreeMap<Order, T>>,
    /// Invariant: the rank of each source. The last one has to make room, which floods ask for
    /// thousands of times in a second.
    ranks: BTreeSet<Rank>,
}

impl<T> Default for Ranks<T> {
    fn default() -> Self {
        Self {
            count: 0,
            sources: HashMap::new(),
            ranks: BTreeSet::new(),
        }
    }
}

fn rank<T>(source: IpAddr, connections: &BTreeMap<Order, T>) -> Option<Rank> {
    let (first, _) = connections.first_key_value()?;
    Some((connections.len().max(FEW), Reverse(*first), source))
}

impl<T> Ranks<T> {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn count_of(&self, source: IpAddr) -> usize {
        self.sources.get(&source).map_or(0, BTreeMap::len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.ranks.is_empty() && self.count == 0
    }

    pub(crate) fn insert(&mut self, source: IpAddr, order: Order, connection: T) {
        self.count += 1;
        let connections = self.sources.entry(source).or_default();
        if let Some(before) = rank(source, connections) {
            self.ranks.remove(&before);
        }
        connections.insert(order, connection);
        self.ranks.extend(rank(source, connections));
    }

    pub(crate) fn remove(&mut self, source: IpAddr, order: Order) -> Option<T> {
        let connections = self.sources.get_mut(&source)?;
        let before = rank(source, connections)?;
        let removed = connections.remove(&order)?;
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

    /// Removes who has to make room, of all.
    pub(crate) fn remove_first(&mut self) -> Option<((IpAddr, Order), T)> {
        let (_, _, source) = self.ranks.last().copied()?;
        self.remove_first_of(source)
    }

    /// Removes who has to make room, of one source.
    pub(crate) fn remove_first_of(&mut self, source: IpAddr) -> Option<((IpAddr, Order), T)> {
        let (order, _) = self.sources.get(&source)?.first_key_value()?;
        let order = *order;
        Some(((source, order), self.remove(source, order)?))
    }
}
