//! Visitors, of which there are so many at once: of one home, for no home, from one source, in all.

mod places;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::crowd::ranks::{Order, Standing};
use crate::crowd::{Room, Shed, source_of};
use crate::exchange::Exchange;
use crate::home_key::HomeKey;
use crate::outcome::Outcome;
use places::Places;

/// Who has been sent so many bytes is no stranger any more that says hello and waits, whoever spoke
/// when: more than a TLS handshake takes.
const SETTLED_LEN: u64 = 16 * 1024;

/// All visitors. A newcomer gets in, as into a [`Crowd`](crate::crowd::Crowd); whoever makes room
/// for it gives up all of its places at once.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    n_admitted: u64,
    all: Places<(Shed, Goal)>,
    /// Invariant: none is empty, and each of their visitors is among all.
    by_goal: HashMap<Goal, Places<()>>,
}

/// Where a visitor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Goal {
    /// To the home with this key, by whichever of its names.
    Home(HomeKey),
    /// To a server beside the relay.
    Server,
}

impl Goal {
    /// What becomes of a visitor for which there are too many.
    fn too_many(self) -> Outcome {
        match self {
            Self::Home(_) => Outcome::HomeLimit,
            Self::Server => Outcome::VisitorLimit,
        }
    }
}

impl Visitors {
    /// Counts a visitor until the seat is dropped, and sheds others so that there is room among those
    /// that go where it goes, and among all. `shed` is told when this one has to go.
    pub(crate) fn admit(
        self: &Arc<Self>,
        shed: &Shed,
        address: IpAddr,
        (goal, goal_max): (Goal, usize),
        room: Room,
        standing: Standing,
    ) -> Seat {
        let source = source_of(address);
        let mut open = self.lock();
        while open.count_of(goal) >= goal_max.max(1)
            && let Some(of_goal) = open.by_goal.get_mut(&goal)
            && let Some(first) = of_goal.remove_first(goal_max)
        {
            let ((source, order), ()) = first;
            if let Some((shed, _)) = open.all.remove(source, order) {
                shed.tell(goal.too_many());
            }
        }
        while open.all.count_of(source) >= room.per_source.max(1)
            && let Some(first) = open.all.remove_first_of(source)
        {
            open.shed(first, Outcome::SourceLimit);
        }
        while open.all.count() >= room.all.max(1)
            && let Some(first) = open.all.remove_first(room.all)
        {
            open.shed(first, Outcome::VisitorLimit);
        }
        let number = open.n_admitted;
        open.n_admitted += 1;
        open.insert(source, (standing, number), (shed.clone(), goal));
        Seat {
            visitors: Arc::clone(self),
            source,
            number,
            standing: Mutex::new(standing),
            exchange: Exchange::default(),
            n_taken: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn count_of(&self, goal: Goal) -> usize {
        self.by_goal.get(&goal).map_or(0, Places::count)
    }

    /// Tells a visitor that was removed from all, and removes it from those of its goal.
    fn shed(&mut self, first: ((IpAddr, Order), (Shed, Goal)), outcome: Outcome) {
        let ((source, order), (shed, goal)) = first;
        self.remove_from_goal(goal, source, order);
        shed.tell(outcome);
    }

    fn insert(&mut self, source: IpAddr, order: Order, visitor: (Shed, Goal)) {
        let of_goal = self.by_goal.entry(visitor.1).or_default();
        of_goal.insert(source, order, ());
        self.all.insert(source, order, visitor);
    }

    fn remove(&mut self, source: IpAddr, order: Order) -> Option<(Shed, Goal)> {
        let visitor = self.all.remove(source, order)?;
        self.remove_from_goal(visitor.1, source, order);
        Some(visitor)
    }

    fn remove_from_goal(&mut self, goal: Goal, source: IpAddr, order: Order) {
        if let Some(of_goal) = self.by_goal.get_mut(&goal) {
            of_goal.remove(source, order);
            if of_goal.is_empty() {
                self.by_goal.remove(&goal);
            }
        }
    }
}

/// One visitor's place.
#[derive(Debug)]
pub(crate) struct Seat {
    visitors: Arc<Visitors>,
    source: IpAddr,
    number: u64,
    standing: Mutex<Standing>,
    exchange: Exchange,
    n_taken: AtomicU64,
}

impl Seat {
    /// Counts bytes of the visitor that have reached their destination.
    pub(crate) fn moved_up(&self, n: u64) {
        if n > 0 {
            self.exchange.up();
        }
    }

    /// Counts bytes that the visitor has taken. Returns whether it is in a talk since these.
    pub(crate) fn moved_down(&self, n: u64) -> bool {
        let before = self.n_taken.fetch_add(n, Ordering::Relaxed);
        let is_much = before < SETTLED_LEN && before.saturating_add(n) >= SETTLED_LEN;
        let is_talk = self.exchange.down(n);
        if is_talk || is_much {
            self.stand(Standing::Settled);
        }
        is_talk
    }

    /// It waits no longer.
    pub(crate) fn begin(&self) {
        self.stand(Standing::Stranger);
    }

    /// More is known of it.
    fn stand(&self, now: Standing) {
        let mut open = self.visitors.lock();
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if now > *standing
            && let Some(visitor) = open.remove(self.source, (*standing, self.number))
        {
            open.insert(self.source, (now, self.number), visitor);
            *standing = now;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let standing = self.standing.get_mut();
        let order = (
            *standing.unwrap_or_else(PoisonError::into_inner),
            self.number,
        );
        self.visitors.lock().remove(self.source, order);
    }
}

#[cfg(test)]
mod tests {
    use cloudless_proto::PublicKey;

    use super::*;

    const ROOM: Room = Room {
        all: 4,
        per_source: 3,
    };
    const SERVER: (Goal, usize) = (Goal::Server, 2);

    struct Visitor {
        shed: Shed,
        seat: Seat,
    }

    fn home(number: u8) -> (Goal, usize) {
        // Of an Ed25519 key in DER (RFC 8410).
        let prefix = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
        let spki = [&prefix[..], &[number; 32]].concat();
        let key = PublicKey::from_spki(&spki).unwrap();
        (Goal::Home(key.into()), 3)
    }

    fn admit(visitors: &Arc<Visitors>, address: &str, goal: (Goal, usize)) -> Visitor {
        let shed = Shed::default();
        let address = address.parse().unwrap();
        let seat = visitors.admit(&shed, address, goal, ROOM, Standing::Stranger);
        Visitor { shed, seat }
    }

    #[test]
    fn a_home_a_server_a_source_and_all_make_room_for_their_own() {
        let visitors = Arc::new(Visitors::default());
        let first = admit(&visitors, "192.0.2.1", home(1));
        let second = admit(&visitors, "192.0.2.1", home(1));
        let third = admit(&visitors, "192.0.2.2", home(1));
        let fourth = admit(&visitors, "192.0.2.3", home(1));
        assert_eq!(first.shed.outcome(), Some(Outcome::HomeLimit));
        let fifth = admit(&visitors, "192.0.2.3", home(2));
        // Who went for its home left room among all.
        let outcomes = [&second, &third, &fourth, &fifth].map(|it| it.shed.outcome());
        assert_eq!(outcomes, [None; 4]);
        let sixth = admit(&visitors, "192.0.2.3", SERVER);
        assert_eq!(second.shed.outcome(), Some(Outcome::VisitorLimit));
        drop((second, third));
        let seventh = admit(&visitors, "192.0.2.3", home(1));
        let _eighth = admit(&visitors, "192.0.2.3", home(1));
        let outcomes = [&fourth, &fifth].map(|it| it.shed.outcome());
        assert_eq!(outcomes, [Some(Outcome::SourceLimit); 2]);
        assert_eq!(sixth.shed.outcome(), None);
        drop(seventh);
        let _ninth = admit(&visitors, "192.0.2.4", SERVER);
        let _tenth = admit(&visitors, "192.0.2.5", SERVER);
        assert_eq!(sixth.shed.outcome(), Some(Outcome::VisitorLimit));
    }

    #[test]
    fn who_moves_much_has_settled_and_who_says_hello_has_not() {
        let visitors = Arc::new(Visitors::default());
        let phone = admit(&visitors, "192.0.2.1", home(1));
        phone.seat.moved_down(10_000);
        phone.seat.moved_down(10_000);
        let addresses = ["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"];
        let strangers = addresses.map(|address| {
            let stranger = admit(&visitors, address, home(1));
            stranger.seat.moved_down(4_000);
            // The beginning of a record that never ends.
            stranger.seat.moved_up(20_000);
            stranger
        });
        let is_shed = strangers.each_ref().map(|it| it.shed.outcome().is_some());
        assert_eq!(is_shed, [true, true, false, false]);
        assert_eq!(phone.shed.outcome(), None);
    }

    #[test]
    fn visitors_leave_nothing_behind() {
        let visitors = Arc::new(Visitors::default());
        let mut all = Vec::new();
        for n in 0..20 {
            let goal = if n % 3 == 0 { SERVER } else { home(n % 3) };
            let visitor = admit(&visitors, &format!("192.0.2.{}", n % 5), goal);
            if n % 2 == 0 {
                visitor.seat.moved_down(SETTLED_LEN);
            }
            all.push(visitor);
        }
        drop(all);
        let open = visitors.lock();
        assert!(open.all.is_empty() && open.by_goal.is_empty());
    }
}
