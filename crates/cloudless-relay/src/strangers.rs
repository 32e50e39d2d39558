//! Visitors whose address has not talked to a home before, of whom few may begin at once.

use std::collections::HashMap;
use std::future::pending;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::crowd::source_of;
use crate::home_key::HomeKey;
use crate::run::Relay;
use crate::slots::{Slot, Slots};

/// Sources that each home knows. A phone has a few: Wi-Fi at home, at work, its provider's.
const KNOWN_MAX: usize = 128;
/// Visitors of a known source that are not in a talk yet. Further ones are strangers, lest whoever
/// has the address of a friend need not wait with the others.
const BEGINNING_MAX: usize = 16;

/// The strangers of all homes.
///
/// A ClientHello costs its sender nothing and the home's processor a signature. So a home gets those
/// of strangers a few at a time: each takes a place until it is in a [talk](crate::exchange), or for
/// some time after, whether it stays or goes. Who is in a talk is known from then on, by its source.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// As many as there are homes that ever had visitors.
    homes: Mutex<HashMap<HomeKey, Arc<OfHome>>>,
}

impl Strangers {
    /// Somebody comes from this address for the home with this key. Never call this with a key that
    /// a peer made up.
    pub(crate) fn arrive(&self, key: HomeKey, address: IpAddr) -> Arrival {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let home = Arc::clone(homes.entry(key).or_default());
        drop(homes);
        let source = source_of(address);
        let state = if home.known().begins(source) {
            State::Known
        } else {
            State::Stranger
        };
        Arrival {
            home,
            source,
            state: Mutex::new(state),
        }
    }
}

#[derive(Debug, Default)]
struct OfHome {
    places: Arc<Slots>,
    known: Mutex<Known>,
}

impl OfHome {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources that a home knows.
#[derive(Debug, Default)]
struct Known {
    n_talks: u64,
    sources: HashMap<IpAddr, Acquaintance>,
}

#[derive(Debug)]
struct Acquaintance {
    last_talk: u64,
    n_beginning: usize,
}

impl Known {
    /// Counts a visitor of a known source that begins; says whether that is what it is.
    fn begins(&mut self, source: IpAddr) -> bool {
        let Some(known) = self.sources.get_mut(&source) else {
            return false;
        };
        let is_one = known.n_beginning < BEGINNING_MAX;
        known.n_beginning += usize::from(is_one);
        is_one
    }

    /// One that was counted begins no more.
    fn has_begun(&mut self, source: IpAddr) {
        if let Some(known) = self.sources.get_mut(&source) {
            known.n_beginning = known.n_beginning.saturating_sub(1);
        }
    }

    /// Somebody of this source is in a talk. Whose last one was long ago is forgotten for it.
    fn talks(&mut self, source: IpAddr) {
        self.n_talks += 1;
        if self.sources.len() >= KNOWN_MAX && !self.sources.contains_key(&source) {
            let oldest = self.sources.iter().min_by_key(|(_, it)| it.last_talk);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.sources.remove(&oldest);
            }
        }
        let newcomer = Acquaintance {
            last_talk: 0,
            n_beginning: 0,
        };
        let known = self.sources.entry(source).or_insert(newcomer);
        known.last_talk = self.n_talks;
    }
}

/// Somebody who comes for a home.
#[derive(Debug)]
pub(crate) struct Arrival {
    home: Arc<OfHome>,
    source: IpAddr,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// One of those of a known source that are not in a talk yet.
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
        matches!(*self.state(), State::Known)
    }

    /// Waits for a place, if this is a stranger without one.
    pub(crate) async fn begin(&self, relay: &Relay) {
        if !matches!(*self.state(), State::Stranger) {
            return;
        }
        // Slots leave one out.
        let max = || relay.config().limits.strangers_per_home.saturating_add(1);
        let slot = self.home.places.acquire(max).await;
        let (talks, hears) = oneshot::channel();
        relay.connections.spawn(keep(
            slot,
            hears,
            sleep(relay.config().timings.stranger),
            relay.draining.clone().cancelled_owned(),
        ));
        *self.state() = State::Placed(talks);
    }

    /// It is in a talk.
    pub(crate) fn talks(&self) {
        let before = std::mem::replace(&mut *self.state(), State::Talks);
        let mut known = self.home.known();
        match before {
            State::Known => known.has_begun(self.source),
            // Its task may have ended before.
            State::Placed(talks) => drop(talks.send(())),
            State::Stranger => {}
            State::Talks => return,
        }
        known.talks(self.source);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if self.is_known() {
            self.home.known().has_begun(self.source);
        }
    }
}

/// Keeps a stranger's place until it is in a talk, or for as long as nobody knows; also if it has gone.
async fn keep(
    _place: Slot,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> HomeKey {
        "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            .parse()
            .unwrap()
    }

    fn address(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([192, 0, high, low])
    }

    #[test]
    fn who_has_talked_is_known_and_so_are_few_others_of_its_source_at_a_time() {
        let strangers = Strangers::default();
        let first = strangers.arrive(key(), address(1));
        assert!(!first.is_known());
        first.talks();
        let others = [(); BEGINNING_MAX].map(|()| strangers.arrive(key(), address(1)));
        assert!(others.iter().all(Arrival::is_known));
        let one_more = strangers.arrive(key(), address(1));
        assert!(!one_more.is_known());
        others[0].talks();
        let another = strangers.arrive(key(), address(1));
        assert!(another.is_known());
        drop((others, another));
        let others = [(); BEGINNING_MAX].map(|()| strangers.arrive(key(), address(1)));
        assert!(others.iter().all(Arrival::is_known));
        assert!(!strangers.arrive(key(), address(2)).is_known());
    }

    #[test]
    fn who_has_not_talked_for_long_is_forgotten_for_others() {
        let strangers = Strangers::default();
        let friend = strangers.arrive(key(), address(0));
        friend.talks();
        for n in 1..2 * KNOWN_MAX as u16 {
            strangers.arrive(key(), address(n)).talks();
            if n % 64 == 0 {
                strangers.arrive(key(), address(0)).talks();
            }
        }
        assert!(strangers.arrive(key(), address(0)).is_known());
        assert!(!strangers.arrive(key(), address(1)).is_known());
        let homes = strangers.homes.lock().unwrap();
        assert_eq!(homes[&key()].known().sources.len(), KNOWN_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_kept_until_there_is_a_talk_and_for_some_time_if_there_is_none() {
        use std::time::Duration;
        use tokio::time::Instant;

        let slots = Arc::new(Slots::default());
        let place = async || slots.acquire(|| 2).await;
        let patience = || sleep(Duration::from_secs(2));
        let start = Instant::now();

        let (talks, hears) = oneshot::channel();
        talks.send(()).unwrap();
        keep(place().await, hears, patience(), pending()).await;
        assert_eq!(start.elapsed(), Duration::ZERO);

        let (gone, hears) = oneshot::channel::<()>();
        drop(gone);
        let task = tokio::spawn(keep(place().await, hears, patience(), pending()));
        let _place = place().await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        task.await.unwrap();
    }
}
