//! How many requests one server behind home gets at a time, and how many of them are one visitor's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::stay::Stay;

/// Requests and WebSockets at one time; each has at most one connection. Further ones wait.
const ALL_MAX: usize = 256;
/// Those of one address: a visitor that begins much and ends nothing leaves room for others.
const ADDRESS_MAX: usize = ALL_MAX / 2;
/// Between two looks of one that waits at who could make room.
const LOOK: Duration = Duration::from_millis(250);

/// The places of one server.
#[derive(Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Only addresses that have some.
    shares: Arc<Mutex<Shares>>,
    taken: Arc<Mutex<Taken>>,
    /// Whose visitor is behind by more makes room for others.
    patience: Duration,
    /// Had by who looks for one: however many wait, one looks at a time.
    look: Arc<tokio::sync::Mutex<()>>,
}

/// By address; one counter for visitors of whom the relay says nothing.
type Shares = HashMap<Option<IpAddr>, usize>;

#[derive(Default)]
struct Taken {
    places: HashMap<u64, Held>,
    last: u64,
}

/// A place that somebody has.
struct Held {
    stay: Arc<Stay>,
    share: Share,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            free: Arc::new(Semaphore::new(ALL_MAX)),
            shares: Arc::default(),
            taken: Arc::default(),
            patience,
            look: Arc::default(),
        }
    }

    /// A place, for which it waits so long; `None` if there is none, or the visitor has its share.
    pub(super) async fn take(&self, visitor: Option<SocketAddr>, limit: Duration) -> Option<Place> {
        let address = visitor.map(|visitor| source(visitor.ip()));
        let share = match Share::take(&self.shares, address) {
            Some(share) => share,
            // Visitors of one address, or of none that is known, need not be the same.
            None if self.make_room(|held| held.share.address == address) => {
                Share::take(&self.shares, address)?
            }
            None => return None,
        };
        let permit = timeout(limit, self.permit()).await.ok()??;
        let stay = Arc::new(Stay::new());
        let mut taken = lock(&self.taken);
        taken.last += 1;
        let number = taken.last;
        let held = Held {
            stay: stay.clone(),
            share,
            _permit: permit,
        };
        taken.places.insert(number, held);
        Some(Place {
            number,
            stay,
            taken: self.taken.clone(),
            share: Mutex::default(),
        })
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let mut next = std::pin::pin!(self.free.clone().acquire_owned());
        loop {
            tokio::select! {
                biased;
                // The semaphore is never closed.
                permit = next.as_mut() => return permit.ok(),
                // Whom this makes room for is who has waited longest.
                () = self.room() => {}
            }
        }
    }

    /// Makes room, or waits a while for somebody to be behind.
    async fn room(&self) {
        let _look = self.look.lock().await;
        if !self.make_room(|_| true) {
            sleep(LOOK.min(self.patience)).await;
        }
    }

    /// Cuts the one whose visitor is furthest behind, if that is too far; says whether it did.
    fn make_room(&self, is_eligible: impl Fn(&Held) -> bool) -> bool {
        let mut taken = lock(&self.taken);
        let eligible = taken.places.iter().filter(|(_, held)| is_eligible(held));
        let behind = eligible.filter_map(|(number, held)| Some((held.stay.lag()?, *number)));
        let last = behind.max().filter(|(lag, _)| *lag > self.patience);
        let cut = last.and_then(|(_, number)| taken.places.remove(&number));
        drop(taken);
        // The server is rid of it before another one gets the place.
        cut.inspect(|held| held.stay.cut()).is_some()
    }

    /// Places that are taken.
    pub(super) fn count(&self) -> usize {
        ALL_MAX - self.free.available_permits()
    }
}

/// One request's, until it is dropped, left or cut.
pub(super) struct Place {
    number: u64,
    stay: Arc<Stay>,
    taken: Arc<Mutex<Taken>>,
    /// Kept when it is left, until it is dropped: what the visitor has yet to take of an answer is in
    /// home's memory.
    share: Mutex<Option<Share>>,
}

impl Place {
    pub(super) fn stay(&self) -> &Arc<Stay> {
        &self.stay
    }

    /// Lets somebody else have it: the server has said all.
    pub(super) fn leave(&self) {
        self.stay.end();
        let held = lock(&self.taken).places.remove(&self.number);
        if let Some(held) = held {
            *lock(&self.share) = Some(held.share);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

struct Share {
    shares: Arc<Mutex<Shares>>,
    address: Option<IpAddr>,
}

impl Share {
    fn take(shares: &Arc<Mutex<Shares>>, address: Option<IpAddr>) -> Option<Self> {
        let mut counts = lock(shares);
        let count = counts.entry(address).or_default();
        if *count == ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Self {
            shares: shares.clone(),
            address,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = lock(&self.shares);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network that one visitor has for itself: an IPv6 address stands for its /64.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);
    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn one_address_leaves_room_for_the_others() {
        let places = Places::new(PATIENCE);
        let address = |text: &str| Some(text.parse().unwrap());
        let mut kept = Vec::new();
        for number in 0..ADDRESS_MAX {
            // Other addresses of the same network, and other ports, are the same visitor.
            let visitor = address(&format!("[2001:db8::{number:x}]:{}", number + 1));
            kept.push(places.take(visitor, LIMIT).await.unwrap());
        }
        let same = address("[2001:db8::ffff]:1");
        assert!(places.take(same, LIMIT).await.is_none());
        let other = places.take(address("192.0.2.1:1"), LIMIT).await;
        assert!(other.is_some());
        assert_eq!(places.count(), ADDRESS_MAX + 1);
        kept.pop();
        assert!(places.take(same, LIMIT).await.is_some());
        drop((kept, other));
        assert_eq!(places.count(), 0);
        assert!(lock(&places.shares).is_empty());
    }

    #[tokio::test]
    async fn who_finds_no_place_in_time_gives_its_share_back() {
        let places = Places::new(PATIENCE);
        let mut kept = Vec::new();
        for number in 0..ALL_MAX {
            let visitor = format!("192.0.2.{}:1", number % 4).parse().unwrap();
            kept.push(places.take(Some(visitor), LIMIT).await.unwrap());
        }
        assert!(places.take(None, LIMIT).await.is_none());
        assert_eq!(lock(&places.shares).len(), 4);
        kept.pop();
        assert!(places.take(None, LIMIT).await.is_some());
    }

    async fn fill(places: &Places) -> Vec<Place> {
        let mut kept = Vec::new();
        for number in 0..ALL_MAX {
            let visitor = format!("192.0.2.{}:1", number % 2).parse().unwrap();
            kept.push(places.take(Some(visitor), LIMIT).await.unwrap());
        }
        kept
    }

    #[tokio::test(start_paused = true)]
    async fn whose_visitor_is_furthest_behind_makes_room() {
        let places = Places::new(PATIENCE);
        let kept = fill(&places).await;
        let is_cut = |number: usize| kept[number].stay.token().is_cancelled();
        kept[7].stay.wait_for_request();
        advance(PATIENCE / 2).await;
        kept[8].stay.wait_for_request();
        assert!(places.take(None, LIMIT).await.is_none());
        assert!(!is_cut(7), "nobody is behind by too much");
        // One who waits does not wait longer than it takes.
        let first = places.take(None, PATIENCE).await.unwrap();
        assert!(is_cut(7) && !is_cut(8));
        assert_eq!(places.count(), ALL_MAX);
        let second = places.take(None, PATIENCE).await.unwrap();
        assert!(is_cut(8));
        // All others wait for their servers, for as long as that may be.
        advance(100 * PATIENCE).await;
        assert!(places.take(None, PATIENCE).await.is_none());
        let cut = (0..ALL_MAX).filter(|number| is_cut(*number));
        assert_eq!(cut.count(), 2);
        drop((kept, first, second));
        assert_eq!(places.count(), 0);
        assert!(lock(&places.shares).is_empty());
    }

    #[tokio::test]
    async fn what_is_left_is_free_for_others_and_counts_for_its_address_until_it_is_dropped() {
        let places = Places::new(PATIENCE);
        let visitor = Some("192.0.2.1:1".parse().unwrap());
        let mut left = Vec::new();
        for _ in 0..ADDRESS_MAX {
            let place = places.take(visitor, LIMIT).await.unwrap();
            place.leave();
            left.push(place);
        }
        assert_eq!(places.count(), 0);
        assert!(places.take(visitor, LIMIT).await.is_none());
        left.pop();
        assert!(places.take(visitor, LIMIT).await.is_some());
        drop(left);
        assert!(lock(&places.shares).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_its_share_makes_room_for_itself_alone() {
        let places = Places::new(PATIENCE);
        let kept = fill(&places).await;
        kept[0].stay.wait_for_request();
        kept[1].stay.wait_for_request();
        advance(2 * PATIENCE).await;
        let second = Some("192.0.2.1:9".parse().unwrap());
        let place = places.take(second, LIMIT).await;
        assert!(place.is_some());
        assert!(!kept[0].stay.token().is_cancelled());
        assert!(kept[1].stay.token().is_cancelled());
        assert!(places.take(second, LIMIT).await.is_none());
    }
}
