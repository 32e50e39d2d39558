//! Admission: who may hold a connection, and how many at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
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
#[derive(Debug)]
pub(crate) struct Sources {
    per_source_max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Sources {
    pub(crate) fn new(per_source_max: usize) -> Arc<Self> {
        Arc::new(Self {
            per_source_max,
            open: Mutex::new(HashMap::new()),
        })
    }

    /// Counts a connection from `address` until the permit is dropped; `None` when the source has
    /// as many as it may.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<SourcePermit> {
        let source = source_of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&source).copied().unwrap_or(0);
        if count >= self.per_source_max {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let sources = Sources::new(1);
        let first = sources.admit("2001:db8:1:2::a".parse().unwrap());
        assert!(first.is_some());
        assert!(
            sources
                .admit("2001:db8:1:2:ffff::b".parse().unwrap())
                .is_none()
        );
        assert!(sources.admit("2001:db8:1:3::a".parse().unwrap()).is_some());
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_source() {
        let sources = Sources::new(1);
        let _first = sources.admit("192.0.2.1".parse().unwrap()).unwrap();
        assert!(sources.admit("::ffff:192.0.2.1".parse().unwrap()).is_none());
    }

    #[test]
    fn a_closed_connection_makes_room_and_leaves_nothing_behind() {
        let sources = Sources::new(1);
        let address = "192.0.2.1".parse().unwrap();
        drop(sources.admit(address).unwrap());
        assert!(sources.open.lock().unwrap().is_empty());
        assert!(sources.admit(address).is_some());
    }
}
