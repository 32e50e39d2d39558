//! Visitors whose address has not talked to a home before, of whom few may begin at once.

mod known;

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::crowd::source_of;
use crate::home_key::HomeKey;
use crate::run::Relay;
use crate::slots::{Slot, Slots};
use known::{BEGINNING_MAX, Known};

/// Sources of strangers are looked through for those that have gone when there are so many.
const SOURCES_MIN: usize = 64;

/// The strangers of all homes.
///
/// A ClientHello costs its sender nothing and the home's processor a signature. So a home gets those
/// of strangers a few at a time: each takes a place until it is in a [talk](crate::exchange), or for
/// some time after, whether it stays or goes. Few of one source have one, so that a few addresses do not
/// keep all others waiting. Who is in a talk is known from then on, by its source.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// As many as there are homes that ever had visitors.
    homes: Mutex<HashMap<HomeKey, Arc<OfHome>>>,
}

impl Strangers {
    /// Somebody comes from this address for the home with this key. Never call this with a key that
    /// a peer made up.
    pub(crate) fn arrive(&self, relay: &Relay, key: HomeKey, address: IpAddr) -> Arrival {
        let (now, patience) = (Instant::now(), relay.config().timings.stranger);
        let is_known = |known: &mut Known, source| known.begins(source, now, patience);
        self.arrive_at(now, key, address, is_known)
    }

    fn arrive_at(
        &self,
        now: Instant,
        key: HomeKey,
        address: IpAddr,
        is_known: impl FnOnce(&mut Known, IpAddr) -> bool,
    ) -> Arrival {
        let mut homes = lock(&self.homes);
        let home = Arc::clone(homes.entry(key).or_default());
        drop(homes);
        let source = source_of(address);
        let is_known = is_known(&mut lock(&home.known), source);
        let state = match is_known {
            true => State::Known,
            false => State::Stranger,
        };
        Arrival {
            home,
            source,
            since: now,
            state: Mutex::new(state),
        }
    }
}

#[derive(Debug, Default)]
struct OfHome {
    places: Arc<Slots>,
    /// A few times as many as there are strangers at most, since some have gone.
    sources: Mutex<HashMap<IpAddr, Weak<Slots>>>,
    known: Mutex<Known>,
}

impl OfHome {
    /// The places that are left to a source.
    fn places_of(&self, source: IpAddr) -> Arc<Slots> {
        let mut sources = lock(&self.sources);
        if let Some(places) = sources.get(&source).and_then(Weak::upgrade) {
            return places;
        }
        if sources.len() >= SOURCES_MIN && sources.len() == sources.capacity() {
            sources.retain(|_, places| places.strong_count() > 0);
            let n_left = sources.len();
            sources.shrink_to(2 * n_left + SOURCES_MIN);
            sources.reserve(n_left + SOURCES_MIN);
        }
        let places = Arc::default();
        sources.insert(source, Arc::downgrade(&places));
        places
    }
}

/// Somebody who comes for a home.
#[derive(Debug)]
pub(crate) struct Arrival {
    home: Arc<OfHome>,
    source: IpAddr,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// One of those of a known source that are not in a talk yet, whether they stay or go.
    Known,
    /// Has no place.
    Stranger,
    /// Has one; the task that keeps it hears when it is not needed any more.
    Placed(oneshot::Sender<()>),
    Talks,
}

impl Arrival {
    /// Whether the home knows its source, and not too many of that begin.
    pub(crate) fn is_known(&self) -> bool {
        matches!(*lock(&self.state), State::Known)
    }

    /// Waits for a place, if this is a stranger without one; returns whether it had to wait.
    pub(crate) async fn begin(&self, relay: &Relay) -> bool {
        match &*lock(&self.state) {
            State::Stranger => {}
            // It is tried once more, and its time may be over.
            State::Placed(talks) if talks.is_closed() => {}
            _ => return false,
        }
        let of_source = self.home.places_of(self.source);
        let mut places = pin!(async {
            // Slots leave one out.
            let of_source = of_source.acquire(|| BEGINNING_MAX + 1).await;
            let max = || relay.config().limits.strangers_per_home.saturating_add(1);
            (of_source, self.home.places.acquire(max).await)
        });
        let mut has_waited = false;
        let places = poll_fn(|cx| {
            let polled = places.as_mut().poll(cx);
            has_waited |= polled.is_pending();
            polled
        })
        .await;
        let (talks, hears) = oneshot::channel();
        relay.connections.spawn(keep(
            places,
            hears,
            sleep(relay.config().timings.stranger),
            relay.draining.clone().cancelled_owned(),
        ));
        *lock(&self.state) = State::Placed(talks);
        has_waited
    }

    /// It is in a talk.
    pub(crate) fn talks(&self) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Talks);
        let mut known = lock(&self.home.known);
        match before {
            State::Known => known.has_begun(self.source, self.since),
            State::Placed(talks) => over(talks),
            State::Stranger => {}
            State::Talks => return,
        }
        known.talks(self.source, Instant::now());
    }

    /// Others may have its place.
    pub(crate) fn gives_up(&self) {
        let mut state = lock(&self.state);
        if let State::Placed(_) = &*state
            && let State::Placed(talks) = std::mem::replace(&mut *state, State::Stranger)
        {
            over(talks);
        }
    }
}

/// Has a stranger's places given back, if its task has not done so before.
fn over(talks: oneshot::Sender<()>) {
    let _ = talks.send(());
}

/// Keeps a stranger's places until it is in a talk, or for as long as nobody knows; also if it has gone.
async fn keep(
    _places: (Slot, Slot),
    talks: oneshot::Receiver<()>,
    long_enough: impl Future<Output = ()>,
    draining: impl Future<Output = ()>,
) {
    let talks = async {
        if talks.await.is_err() {
            pending().await
        }
    };
    tokio::select! {
        () = talks => {}
        () = long_enough => {}
        () = draining => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl Arrival {
    /// A stranger of no relay.
    pub(crate) fn of_nobody(key: HomeKey, address: IpAddr) -> Self {
        Strangers::default().arrive_at(Instant::now(), key, address, |_, _| false)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn sources_that_have_gone_leave_nothing_behind() {
        let home = OfHome::default();
        let mut there = Vec::new();
        for n in 0..10_000_u32 {
            let places = home.places_of(IpAddr::from(n.to_be_bytes()));
            if n < 100 {
                there.push(places);
            }
        }
        assert!(lock(&home.sources).capacity() < 1_000);
        let again = home.places_of(IpAddr::from(99_u32.to_be_bytes()));
        assert!(Arc::ptr_eq(&again, &there[99]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_kept_until_there_is_a_talk_and_for_some_time_if_there_is_none() {
        let slots = Arc::new(Slots::default());
        let places = async || (slots.acquire(|| 3).await, slots.acquire(|| 3).await);
        let patience = || sleep(Duration::from_secs(2));
        let start = Instant::now();

        let (talks, hears) = oneshot::channel();
        talks.send(()).unwrap();
        keep(places().await, hears, patience(), pending()).await;
        assert_eq!(start.elapsed(), Duration::ZERO);

        let (gone, hears) = oneshot::channel::<()>();
        drop(gone);
        let task = tokio::spawn(keep(places().await, hears, patience(), pending()));
        let _places = places().await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        task.await.unwrap();
    }
}
