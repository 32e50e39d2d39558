//! What each home takes of the relay, whatever the number of its names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cloudless_splice::Pipes;

use crate::home_key::HomeKey;
use crate::limits::Total;

/// The shares of the homes that have visitors.
#[derive(Debug)]
pub(crate) struct HomeShares {
    /// Each removes itself when its last visitor has gone.
    open: Mutex<HashMap<HomeKey, Weak<HomeShare>>>,
    pipes: Pipes,
    pipes_per_home: usize,
}

impl HomeShares {
    /// Each home gets at most so many of the pipes.
    pub(crate) fn new(pipes: Pipes, pipes_per_home: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            pipes,
            pipes_per_home,
        })
    }

    /// The share of the home with this key, for as long as it is held. Never call this with a key
    /// that a peer made up.
    pub(crate) fn of(self: &Arc<Self>, key: HomeKey) -> Arc<HomeShare> {
        let mut open = self.lock();
        if let Some(share) = open.get(&key).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(HomeShare {
            shares: Arc::clone(self),
            key,
            legs: Arc::default(),
            pipes: self.pipes.part(self.pipes_per_home),
        });
        open.insert(key, Arc::downgrade(&share));
        share
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HomeKey, Weak<HomeShare>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the visitors of one home take together.
#[derive(Debug)]
pub(crate) struct HomeShare {
    shares: Arc<HomeShares>,
    key: HomeKey,
    pub(crate) legs: Arc<Total>,
    /// What its visitors' bytes are spliced through.
    pub(crate) pipes: Pipes,
}

impl Drop for HomeShare {
    fn drop(&mut self) {
        let mut open = self.shares.lock();
        // The next visitor may have come meanwhile, and begun another one.
        if open.get(&self.key).is_some_and(|it| it.strong_count() == 0) {
            open.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use cloudless_proto::PublicKey;

    use super::*;

    /// Of an Ed25519 key in DER (RFC 8410).
    const PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

    #[test]
    fn a_share_is_the_same_while_somebody_has_it_and_leaves_nothing_behind() {
        let shares = HomeShares::new(Pipes::new(8), 2);
        let key =
            |byte| HomeKey::Tunnel(PublicKey::from_spki(&[PREFIX, &[byte; 32]].concat()).unwrap());
        let (one, other) = (shares.of(key(1)), shares.of(key(1)));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &shares.of(key(2))));
        drop((one, other));
        assert!(shares.lock().is_empty());
    }
}
