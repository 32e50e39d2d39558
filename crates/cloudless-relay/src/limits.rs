//! Admission: who may hold a connection, and how many at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The part of a client's address that limits count by: an IPv4 address or an IPv6 /64, because a
/// /64 is what one customer of a provider gets.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
    }
}

/// Open connections by source.
///
/// Invariant: a source in the map has at least one connection, so the map is no larger than the
/// number of open connections.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Sources {
    /// Counts a connection from `address` until the permit is dropped; `None` when the source has
    /// `per_source_max` of them already.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        per_source_max: usize,
    ) -> Option<SourcePermit> {
        let source = source_of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&source).copied().unwrap_or(0);
        if count >= per_source_max {
            return None;
        }
        open.insert(source, count + 1);
        Some(SourcePermit {
            sources: Arc::clone(self),
            source,
        })
    }
}

/// One counted connection of a source.
#[derive(Debug)]
pub(crate) struct SourcePermit {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let mut open = self
            .sources
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

/// Connections of one kind, wherever they are from.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicUsize);

impl Total {
    /// Counts one until the permit is dropped; `None` when there are `max` already.
    pub(crate) fn admit(self: &Arc<Self>, max: usize) -> Option<TotalPermit> {
        let more = |now| (now < max).then_some(now + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(TotalPermit(Arc::clone(self)))
    }
}

/// One counted connection.
#[derive(Debug)]
pub(crate) struct TotalPermit(Arc<Total>);

impl Drop for TotalPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let sources = Arc::new(Sources::default());
        let first = sources.admit("2001:db8:1:2::a".parse().unwrap(), 1);
        assert!(first.is_some());
        assert!(
            sources
                .admit("2001:db8:1:2:ffff::b".parse().unwrap(), 1)
                .is_none()
        );
        assert!(
            sources
                .admit("2001:db8:1:3::a".parse().unwrap(), 1)
                .is_some()
        );
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_source() {
        let sources = Arc::new(Sources::default());
        let _first = sources.admit("192.0.2.1".parse().unwrap(), 1).unwrap();
        assert!(
            sources
                .admit("::ffff:192.0.2.1".parse().unwrap(), 1)
                .is_none()
        );
    }

    #[test]
    fn a_closed_connection_makes_room_and_leaves_nothing_behind() {
        let sources = Arc::new(Sources::default());
        let address = "192.0.2.1".parse().unwrap();
        drop(sources.admit(address, 1).unwrap());
        assert!(sources.open.lock().unwrap().is_empty());
        assert!(sources.admit(address, 1).is_some());
    }

    #[test]
    fn a_total_counts_who_is_there() {
        let total = Arc::new(Total::default());
        let first = total.admit(1).unwrap();
        assert!(total.admit(1).is_none());
        // A limit that was raised holds at once.
        assert!(total.admit(2).is_some());
        drop(first);
        assert!(total.admit(1).is_some());
    }
}
