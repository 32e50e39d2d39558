//! The places of visitors that compete for the same room.

use std::net::IpAddr;

use crate::crowd::ranks::{Order, Ranks, Standing};

/// Strangers have one in so many of all places in peace.
const STRANGERS_PART: usize = 8;

/// Visitors by what is known of them.
///
/// As long as strangers are more than their part, they make room for one another: a botnet has an
/// address for each connection, so that whoever is at home has more of them than any other source. When
/// they are fewer, one of those that have settled goes, of the source with most: whoever has
/// settled in all places cannot keep the others out.
#[derive(Debug)]
pub(crate) struct Places<T> {
    strangers: Ranks<T>,
    settled: Ranks<T>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            strangers: Ranks::default(),
            settled: Ranks::default(),
        }
    }
}

impl<T> Places<T> {
    pub(crate) fn count(&self) -> usize {
        self.strangers.count() + self.settled.count()
    }

    pub(crate) fn count_of(&self, source: IpAddr) -> usize {
        self.strangers.count_of(source) + self.settled.count_of(source)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.strangers.is_empty() && self.settled.is_empty()
    }

    pub(crate) fn insert(&mut self, source: IpAddr, order: Order, visitor: T) {
        self.those_like(order).insert(source, order, visitor);
    }

    pub(crate) fn remove(&mut self, source: IpAddr, order: Order) -> Option<T> {
        self.those_like(order).remove(source, order)
    }

    /// Removes who has to make room where there is room for `max`.
    pub(crate) fn remove_first(&mut self, max: usize) -> Option<((IpAddr, Order), T)> {
        let Self { strangers, settled } = self;
        let are_many = strangers.count() * STRANGERS_PART > max;
        let (first, second) = if are_many {
            (strangers, settled)
        } else {
            (settled, strangers)
        };
        first.remove_first().or_else(|| second.remove_first())
    }

    /// Removes who has to make room, of one source.
    pub(crate) fn remove_first_of(&mut self, source: IpAddr) -> Option<((IpAddr, Order), T)> {
        let first = self.strangers.remove_first_of(source);
        first.or_else(|| self.settled.remove_first_of(source))
    }

    fn those_like(&mut self, (standing, _): Order) -> &mut Ranks<T> {
        match standing {
            Standing::Waiting | Standing::Stranger => &mut self.strangers,
            Standing::Settled => &mut self.settled,
        }
    }
}
