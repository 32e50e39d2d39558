//! Visitors that wait for their homes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;

use crate::home_key::HomeKey;

/// Those who wait, by the keys of their homes: when all homes come back at once, each of them wakes
/// its own visitors and not those of all.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Only of keys that somebody waits for.
    by_key: Mutex<HashMap<HomeKey, watch::Sender<()>>>,
}

impl Waits {
    /// Waits for what is said of `key` from now on.
    pub(super) fn subscribe(&self, key: HomeKey) -> Wait<'_> {
        Wait {
            changed: self.lock().entry(key).or_default().subscribe(),
            place: Place { waits: self, key },
        }
    }

    /// Wakes those who wait for `key`.
    pub(super) fn wake(&self, key: &HomeKey) {
        // Those who are woken want the lock.
        let waiting = self.lock().get(key).cloned();
        if let Some(waiting) = waiting {
            waiting.send_replace(());
        }
    }

    /// Wakes all who wait.
    pub(super) fn wake_all(&self) {
        let waiting: Vec<_> = self.lock().values().cloned().collect();
        for waiting in waiting {
            waiting.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HomeKey, watch::Sender<()>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    // Dropped first: the place is given up by the last one.
    changed: watch::Receiver<()>,
    place: Place<'a>,
}

impl Wait<'_> {
    pub(super) fn key(&self) -> HomeKey {
        self.place.key
    }

    pub(super) async fn woken(&mut self) -> Result<(), RecvError> {
        self.changed.changed().await
    }
}

/// The place of those who wait for one key.
#[derive(Debug)]
struct Place<'a> {
    waits: &'a Waits,
    key: HomeKey,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut by_key = self.waits.lock();
        let waiting = by_key.get(&self.key);
        if waiting.is_some_and(|waiting| waiting.receiver_count() == 0) {
            by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use cloudless_proto::PublicKey;

    use super::*;

    #[test]
    fn only_keys_that_somebody_waits_for_are_kept() {
        let waits = Waits::default();
        let [key, other] = [1, 2].map(|n| HomeKey::from(PublicKey([n; 32])));
        let n_keys = || waits.lock().len();
        waits.wake(&key);
        waits.wake_all();
        assert_eq!(n_keys(), 0);
        let [first, second] = [(); 2].map(|()| waits.subscribe(key));
        let third = waits.subscribe(other);
        assert_eq!(n_keys(), 2);
        drop(first);
        waits.wake(&key);
        assert!(second.changed.has_changed().unwrap());
        drop(second);
        assert_eq!(n_keys(), 1);
        assert!(!third.changed.has_changed().unwrap());
        drop(third);
        assert_eq!(n_keys(), 0);
    }
}
