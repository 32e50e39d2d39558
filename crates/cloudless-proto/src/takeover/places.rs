//! Who has the place of each key, without I/O: the relay drives this, a model checks it.

use std::collections::BTreeMap;

use super::{Decision, SessionId, after_probe, decide};
use crate::control::Refusal;

/// How often a newcomer may find another session in place of the one that it asked about.
const PROBES_MAX: u8 = 3;

/// The places of all keys of type `K`: at most one live session has each.
///
/// A place remembers its last session when that is gone, so that a late Hello of an older epoch
/// does not win over it. Call [`forget`](Self::forget) for a key that has no names any more;
/// otherwise places are never fewer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Places<K> {
    places: BTreeMap<K, Place>,
    n_live: usize,
    last_number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    last: SessionId,
    live: Option<u64>,
}

/// A session that asks for the place of its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Newcomer<K> {
    /// Tells it from every other session of these places.
    pub number: u64,
    /// The key that its home has proven.
    pub key: K,
    /// What its Hello says.
    pub id: SessionId,
    n_probes: u8,
    /// The session that was probed last, and whether it answered.
    probed: Option<(u64, bool)>,
}

impl<K> Newcomer<K> {
    /// Notes whether the session with this number answered the ping that [`Ruling::Probe`] asked
    /// for. A session that has ended meanwhile has not answered.
    pub fn probed(&mut self, number: u64, answered: bool) {
        self.n_probes = self.n_probes.saturating_add(1);
        self.probed = Some((number, answered));
    }
}

/// What is to be done with a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Welcome it and call [`Places::enter`].
    Enter,
    /// As many sessions are live as may be: refuse it for now.
    Full,
    /// Ping the session with this number, tell the newcomer with [`Newcomer::probed`], and ask
    /// again.
    Probe(u64),
    /// Refuse it.
    Refuse(Refusal),
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self {
            places: BTreeMap::new(),
            n_live: 0,
            last_number: 0,
        }
    }
}

impl<K: Ord + Clone> Places<K> {
    /// A session that has said Hello, with a number of its own.
    pub fn newcomer(&mut self, key: K, id: SessionId) -> Newcomer<K> {
        self.last_number += 1;
        Newcomer {
            number: self.last_number,
            key,
            id,
            n_probes: 0,
            probed: None,
        }
    }

    /// What is to be done with a newcomer when at most `max` sessions may be live. The answer holds
    /// until anything changes: keep the lock from here to [`enter`](Self::enter).
    pub fn consider(&self, newcomer: &Newcomer<K>, max: usize) -> Ruling {
        let place = self.places.get(&newcomer.key);
        let Some(current) = place.and_then(|place| place.live) else {
            let last = place.map(|place| place.last);
            return match last {
                Some(last)
                    if last.instance == newcomer.id.instance && newcomer.id.epoch <= last.epoch =>
                {
                    Ruling::Refuse(Refusal::OldEpoch)
                }
                _ if self.n_live >= max => Ruling::Full,
                _ => Ruling::Enter,
            };
        };
        let decision = match newcomer.probed {
            Some((number, answered)) if number == current => after_probe(answered),
            _ => decide(place.map(|place| place.last), newcomer.id),
        };
        match decision {
            Decision::Accept | Decision::Replace => Ruling::Enter,
            Decision::Refuse(refusal) => Ruling::Refuse(refusal),
            Decision::Probe if newcomer.n_probes >= PROBES_MAX => {
                Ruling::Refuse(Refusal::OtherInstance)
            }
            Decision::Probe => Ruling::Probe(current),
        }
    }

    /// Gives a newcomer the place of its key. Returns the session that had it, which has to end now
    /// with all of its visitors.
    pub fn enter(&mut self, newcomer: &Newcomer<K>) -> Option<u64> {
        let place = Place {
            last: newcomer.id,
            live: Some(newcomer.number),
        };
        let replaced = self.places.insert(newcomer.key.clone(), place);
        let replaced = replaced.and_then(|place| place.live);
        if replaced.is_none() {
            self.n_live += 1;
        }
        replaced
    }

    /// A session has ended. A newer one in its place stays.
    pub fn leave(&mut self, key: &K, number: u64) {
        if let Some(place) = self.places.get_mut(key)
            && place.live == Some(number)
        {
            place.live = None;
            self.n_live -= 1;
        }
    }

    /// A key has no names any more, or not all that it had. Returns its session, which has to end
    /// now with all of its visitors.
    pub fn forget(&mut self, key: &K) -> Option<u64> {
        let live = self.places.remove(key)?.live;
        if live.is_some() {
            self.n_live -= 1;
        }
        live
    }

    /// The live session of a key.
    pub fn live(&self, key: &K) -> Option<u64> {
        self.places.get(key)?.live
    }

    /// How many sessions are live.
    pub fn n_live(&self) -> usize {
        self.n_live
    }
}
