//! The sources that a home knows, since somebody there has talked to it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sources that each home knows. A phone has a few: Wi-Fi at home, at work, its provider's.
const KNOWN_MAX: usize = 128;
/// Those of them that are not forgotten for others.
const REGULAR_MAX: usize = KNOWN_MAX / 4 * 3;
/// Visitors of one source that begin, be it known or not. Further ones of a known source are strangers,
/// lest whoever has the address of a friend need not wait with the others.
pub(super) const BEGINNING_MAX: usize = 16;
/// Who talks again after so long comes regularly, and is not forgotten for those who do not.
const REGULAR_AFTER: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Default)]
pub(super) struct Known {
    n_talks: u64,
    sources: HashMap<IpAddr, Acquaintance>,
}

#[derive(Debug)]
struct Acquaintance {
    since: Instant,
    is_regular: bool,
    /// The number of its last talk.
    last_talk: u64,
    /// When those came that are in no talk yet.
    beginnings: VecDeque<Instant>,
}

impl Known {
    /// Counts a visitor of a known source that begins, for so long at most; says whether that is what
    /// it is.
    pub(super) fn begins(&mut self, source: IpAddr, now: Instant, patience: Duration) -> bool {
        let Some(known) = self.sources.get_mut(&source) else {
            return false;
        };
        let beginnings = &mut known.beginnings;
        while beginnings.front().is_some_and(|it| *it + patience <= now) {
            beginnings.pop_front();
        }
        let is_one = beginnings.len() < BEGINNING_MAX;
        if is_one {
            beginnings.push_back(now);
        }
        is_one
    }

    /// One that was counted then is in a talk.
    pub(super) fn has_begun(&mut self, source: IpAddr, then: Instant) {
        if let Some(known) = self.sources.get_mut(&source)
            && let Some(place) = known.beginnings.iter().position(|it| *it == then)
        {
            known.beginnings.remove(place);
        }
    }

    /// Somebody of this source is in a talk. Whose last one was long ago is forgotten for it: of those
    /// who do not come regularly, unless the others have more than their part.
    pub(super) fn talks(&mut self, source: IpAddr, now: Instant) {
        self.n_talks += 1;
        if self.sources.len() >= KNOWN_MAX && !self.sources.contains_key(&source) {
            let n_regular = self.sources.values().filter(|it| it.is_regular).count();
            let are_many = n_regular > REGULAR_MAX;
            let others = self.sources.iter();
            let first = others.min_by_key(|(_, it)| (it.is_regular != are_many, it.last_talk));
            if let Some(first) = first.map(|(source, _)| *source) {
                self.sources.remove(&first);
            }
        }
        let n_talks = self.n_talks;
        let known = self.sources.entry(source).or_insert_with(|| Acquaintance {
            since: now,
            is_regular: false,
            last_talk: n_talks,
            beginnings: VecDeque::new(),
        });
        known.last_talk = n_talks;
        known.is_regular |= now.duration_since(known.since) >= REGULAR_AFTER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn source(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([192, 0, high, low])
    }

    #[test]
    fn few_of_a_known_source_begin_at_a_time() {
        let now = Instant::now();
        let mut known = Known::default();
        assert!(!known.begins(source(1), now, PATIENCE));
        known.talks(source(1), now);
        let begins = |known: &mut Known, now| known.begins(source(1), now, PATIENCE);
        assert!((0..BEGINNING_MAX).all(|_| begins(&mut known, now)));
        assert!(!begins(&mut known, now));
        known.has_begun(source(1), now);
        assert!(begins(&mut known, now) && !begins(&mut known, now));
        // Who stays and says nothing holds nobody up for long.
        let later = now + PATIENCE;
        assert!((0..BEGINNING_MAX).all(|_| begins(&mut known, later)));
        assert!(!begins(&mut known, later));
        // Nor does one that talks after that give back what is another's.
        known.has_begun(source(1), now);
        assert!(!begins(&mut known, later));
        assert!(!known.begins(source(2), later, PATIENCE));
    }

    #[test]
    fn who_comes_regularly_is_not_forgotten_for_a_crowd_that_comes_once() {
        let start = Instant::now();
        let mut known = Known::default();
        known.talks(source(0), start);
        known.talks(source(0), start + REGULAR_AFTER);
        let now = start + REGULAR_AFTER;
        for n in 1..=10 * KNOWN_MAX as u16 {
            known.talks(source(n), now);
        }
        assert_eq!(known.sources.len(), KNOWN_MAX);
        assert!(known.begins(source(0), now, PATIENCE));
        assert!(known.begins(source(10 * KNOWN_MAX as u16), now, PATIENCE));
        assert!(!known.begins(source(1), now, PATIENCE));
        // Where all come regularly, whose last talk was long ago is forgotten, and others have room.
        for n in 1..=KNOWN_MAX as u16 {
            known.talks(source(n), now);
            known.talks(source(n), now + REGULAR_AFTER);
        }
        assert!(!known.begins(source(0), now, PATIENCE));
        let (one, other) = (source(20_000), source(20_001));
        known.talks(one, now);
        known.talks(other, now);
        assert!(known.begins(one, now, PATIENCE) && known.begins(other, now, PATIENCE));
    }
}
