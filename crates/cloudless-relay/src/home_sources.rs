//! The sources from which homes have come.

use std::collections::HashSet;
use std::mem;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::crowd::source_of;

/// At least so many are known, of those that came last: as many as homes may be online by default.
const KNOWN_MIN: usize = 16 * 1024;

/// Where a tunnel that begins may be a home's that comes back, for all that can be told before its
/// handshake. In memory alone: after a restart nobody is known.
#[derive(Debug, Default)]
pub(crate) struct HomeSources(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    young: HashSet<IpAddr>,
    /// Forgotten when the young are as many as fit.
    old: HashSet<IpAddr>,
}

impl HomeSources {
    /// A home has proven its key to the relay from there.
    pub(crate) fn came_from(&self, address: IpAddr) {
        let mut known = self.lock();
        known.young.insert(source_of(address));
        if known.young.len() >= KNOWN_MIN {
            known.old = mem::take(&mut known.young);
        }
    }

    /// Whether a home came from there before.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        let (source, known) = (source_of(address), self.lock());
        known.young.contains(&source) || known.old.contains(&source)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::from((n as u32).to_be_bytes())
    }

    #[test]
    fn the_last_ones_are_known_and_no_more_than_twice_as_many() {
        let sources = HomeSources::default();
        let n_all = 3 * KNOWN_MIN;
        assert!(!sources.knows(address(0)));
        for n in 0..n_all {
            sources.came_from(address(n));
            assert!(sources.knows(address(n)));
            assert!(sources.knows(address((n + 1).saturating_sub(KNOWN_MIN))));
        }
        let n_known = (0..n_all).filter(|n| sources.knows(address(*n))).count();
        assert!(n_known <= 2 * KNOWN_MIN, "{n_known} are known");
    }

    #[test]
    fn a_customer_of_a_provider_is_one_source() {
        let sources = HomeSources::default();
        sources.came_from("2001:db8:1:2::a".parse().unwrap());
        assert!(sources.knows("2001:db8:1:2:ffff::b".parse().unwrap()));
        assert!(!sources.knows("2001:db8:1:3::a".parse().unwrap()));
    }
}
