//! Connections that compete for a number of places.

pub(crate) mod ranks;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::SetOnce;

use crate::outcome::Outcome;
use ranks::{Ranks, Standing};

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

/// Connections by source that are not visitors yet, as those of one listener that have not said
/// what they want.
///
/// A newcomer gets in, however large the crowd is. When its source has too many, one of them goes;
/// when there are too many in all, one of the source with most of them, where a few are as good as one.
/// So a few sources with many connections push themselves out.
#[derive(Debug)]
pub(crate) struct Crowd {
    open: Mutex<Open>,
}

/// How many connections a crowd takes, of all and of one source. One is always taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) all: usize,
    pub(crate) per_source: usize,
}

impl Room {
    /// Room for so many, wherever they are from.
    pub(crate) fn for_all(all: usize) -> Self {
        Self {
            all,
            per_source: usize::MAX,
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    n_admitted: u64,
    ranks: Ranks<Shed>,
}

impl Crowd {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
        })
    }

    /// Counts a connection until the place is dropped, and sheds others so that there is room.
    /// `shed` is told when this one has to go.
    pub(crate) fn admit(self: &Arc<Self>, shed: &Shed, address: IpAddr, room: Room) -> Place {
        let source = source_of(address);
        let mut open = self.lock();
        while open.ranks.count_of(source) >= room.per_source.max(1)
            && let Some((_, shed)) = open.ranks.remove_first_of(source)
        {
            shed.tell(Outcome::SourceLimit);
        }
        while open.ranks.count() >= room.all.max(1)
            && let Some((_, shed)) = open.ranks.remove_first()
        {
            shed.tell(Outcome::HandshakeLimit);
        }
        let number = open.n_admitted;
        open.n_admitted += 1;
        open.ranks
            .insert(source, (Standing::Stranger, number), shed.clone());
        Place {
            crowd: Arc::clone(self),
            source,
            number,
            has_settled: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells one connection that it has to go, and why. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shed(Arc<SetOnce<Outcome>>);

impl Shed {
    /// Returns when the connection has to make room, with what becomes of it.
    pub(crate) async fn told(&self) -> Outcome {
        *self.0.wait().await
    }

    pub(crate) fn tell(&self, outcome: Outcome) {
        // It may have been told before.
        let _ = self.0.set(outcome);
    }

    #[cfg(test)]
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.0.get().copied()
    }
}

/// One connection's place in a crowd.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    source: IpAddr,
    number: u64,
    has_settled: AtomicBool,
}

impl Place {
    /// From here on it goes only after all those of its source that have not settled.
    pub(crate) fn settle(&self) {
        let mut open = self.crowd.lock();
        if !self.has_settled.swap(true, Ordering::Relaxed)
            && let Some(shed) = open
                .ranks
                .remove(self.source, (Standing::Stranger, self.number))
        {
            let order = (Standing::Settled, self.number);
            open.ranks.insert(self.source, order, shed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let standing = match *self.has_settled.get_mut() {
            true => Standing::Settled,
            false => Standing::Stranger,
        };
        let order = (standing, self.number);
        self.crowd.lock().ranks.remove(self.source, order);
    }
}

#[cfg(test)]
mod tests {
    use super::ranks::FEW;
    use super::*;

    /// A connection of a crowd that takes so many.
    struct Admitted {
        shed: Shed,
        place: Place,
    }

    impl Admitted {
        fn outcome(&self) -> Option<Outcome> {
            self.shed.outcome()
        }

        fn is_shed(&self) -> bool {
            self.outcome().is_some()
        }
    }

    fn crowd() -> Arc<Crowd> {
        Crowd::new()
    }

    fn admit_to(crowd: &Arc<Crowd>, address: &str, room: Room) -> Admitted {
        let shed = Shed::default();
        let place = crowd.admit(&shed, address.parse().unwrap(), room);
        Admitted { shed, place }
    }

    fn admit(crowd: &Arc<Crowd>, address: &str, max: usize) -> Admitted {
        admit_to(crowd, address, Room::for_all(max))
    }

    #[test]
    fn the_largest_crowd_loses_its_oldest() {
        let crowd = crowd();
        let max = FEW + 2;
        let alone = admit(&crowd, "192.0.2.1", max);
        let many = [(); FEW + 1].map(|()| admit(&crowd, "192.0.2.2", max));
        let newcomer = admit(&crowd, "192.0.2.3", max);
        assert_eq!(many[0].outcome(), Some(Outcome::HandshakeLimit));
        assert!(!many[1..].iter().any(Admitted::is_shed));
        assert!(!alone.is_shed() && !newcomer.is_shed());
    }

    #[test]
    fn a_botnet_does_not_make_a_crowd_of_a_browser() {
        let crowd = crowd();
        let max = FEW + 2;
        let bots = ["192.0.2.1", "192.0.2.2"].map(|bot| admit(&crowd, bot, max));
        let browser = [(); FEW].map(|()| admit(&crowd, "192.0.2.3", max));
        let bot = admit(&crowd, "192.0.2.4", max);
        assert!(bots[0].is_shed() && !bots[1].is_shed() && !bot.is_shed());
        assert!(!browser.iter().any(Admitted::is_shed));
    }

    #[test]
    fn among_equals_the_oldest_goes_that_has_not_settled() {
        let crowd = crowd();
        let settled = admit(&crowd, "192.0.2.1", 3);
        settled.place.settle();
        let old = admit(&crowd, "192.0.2.2", 3);
        let young = admit(&crowd, "192.0.2.3", 3);
        let newcomer = admit(&crowd, "192.0.2.4", 3);
        let all = [&settled, &old, &young, &newcomer];
        assert_eq!(
            all.map(Admitted::is_shed),
            [false, true, false, false],
            "who has settled stays"
        );
        young.place.settle();
        newcomer.place.settle();
        let last = admit(&crowd, "192.0.2.5", 3);
        assert!(
            settled.is_shed() && !last.is_shed(),
            "if all have, the oldest goes"
        );
    }

    #[test]
    fn a_source_makes_room_for_its_own() {
        let crowd = crowd();
        let room = Room {
            all: 100,
            per_source: 2,
        };
        let other = admit_to(&crowd, "2001:db8:1:3::a", room);
        // An IPv6 customer is one source.
        let first = admit_to(&crowd, "2001:db8:1:2::a", room);
        let second = admit_to(&crowd, "2001:db8:1:2:ffff::b", room);
        first.place.settle();
        let third = admit_to(&crowd, "2001:db8:1:2::c", room);
        assert_eq!(second.outcome(), Some(Outcome::SourceLimit));
        assert!(!first.is_shed() && !third.is_shed() && !other.is_shed());
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_source() {
        let crowd = crowd();
        let room = Room {
            all: 100,
            per_source: 1,
        };
        let first = admit_to(&crowd, "192.0.2.1", room);
        let _second = admit_to(&crowd, "::ffff:192.0.2.1", room);
        assert!(first.is_shed());
    }

    #[test]
    fn who_has_decided_makes_room_and_leaves_nothing_behind() {
        let crowd = crowd();
        drop(admit(&crowd, "192.0.2.1", 1));
        let second = admit(&crowd, "192.0.2.2", 1);
        second.place.settle();
        let third = admit(&crowd, "192.0.2.3", 1);
        third.place.settle();
        assert!(second.is_shed() && !third.is_shed());
        drop((second, third));
        assert!(crowd.lock().ranks.is_empty());
    }
}
