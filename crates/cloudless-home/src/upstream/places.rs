//! How many requests one server behind home gets at a time, and how many of them are one visitor's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Requests and WebSockets at one time; each has at most one connection. Further ones wait.
const ALL_MAX: usize = 256;
/// Those of one address: a visitor that begins much and ends nothing leaves room for others.
const ADDRESS_MAX: usize = ALL_MAX / 2;

/// The places of one server.
#[derive(Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// Only addresses that have some.
    taken: Arc<Mutex<Taken>>,
}

/// By address; one counter for visitors of whom the relay says nothing.
type Taken = HashMap<Option<IpAddr>, usize>;

impl Places {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(ALL_MAX)),
            taken: Arc::default(),
        }
    }

    /// A place, for which it waits so long; `None` if there is none, or the visitor has its share.
    pub(super) async fn take(&self, visitor: Option<SocketAddr>, limit: Duration) -> Option<Place> {
        let address = visitor.map(|visitor| source(visitor.ip()));
        let share = Share::take(&self.taken, address)?;
        // The semaphore is never closed.
        let permit = timeout(limit, self.all.clone().acquire_owned()).await;
        Some(Place {
            _permit: permit.ok()?.ok()?,
            _share: share,
        })
    }

    /// Places that are taken.
    pub(super) fn count(&self) -> usize {
        ALL_MAX - self.all.available_permits()
    }
}

/// One request's, until it is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

struct Share {
    taken: Arc<Mutex<Taken>>,
    address: Option<IpAddr>,
}

impl Share {
    fn take(taken: &Arc<Mutex<Taken>>, address: Option<IpAddr>) -> Option<Self> {
        let mut counts = lock(taken);
        let count = counts.entry(address).or_default();
        if *count == ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Self {
            taken: taken.clone(),
            address,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = lock(&self.taken);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
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
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn one_address_leaves_room_for_the_others() {
        let places = Places::new();
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
        assert!(lock(&places.taken).is_empty());
    }

    #[tokio::test]
    async fn who_finds_no_place_in_time_gives_its_share_back() {
        let places = Places::new();
        let mut kept = Vec::new();
        for number in 0..ALL_MAX {
            let visitor = format!("192.0.2.{}:1", number % 4).parse().unwrap();
            kept.push(places.take(Some(visitor), LIMIT).await.unwrap());
        }
        assert!(places.take(None, LIMIT).await.is_none());
        assert_eq!(lock(&places.taken).len(), 4);
        kept.pop();
        assert!(places.take(None, LIMIT).await.is_some());
    }
}
