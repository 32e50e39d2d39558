//! Which of a tunnel's sessions counts, and when another one is dialed beside it.

use std::time::{Duration, Instant};

use super::{Pace, Schedule};

/// Home's side of the hand-over between the sessions of one tunnel, which it numbers as it dials.
///
/// Sans-IO: the caller tells what sessions have to say, and dials, probes and retires them.
#[derive(Clone, Debug)]
pub struct Tunnel {
    schedule: Schedule,
    current: Option<Current>,
    /// The last dial that the relay has answered.
    answered: Option<u64>,
}

/// The newest welcomed session.
#[derive(Clone, Copy, Debug)]
struct Current {
    number: u64,
    epoch: u64,
}

impl Tunnel {
    /// Wants the first dial at once.
    pub fn new(pace: Pace, now: Instant) -> Self {
        Self {
            schedule: Schedule::new(pace, now),
            current: None,
            answered: None,
        }
    }

    /// When the next dial is due; `None` while a session does its work.
    pub fn next_dial(&self) -> Option<Instant> {
        self.schedule.next_dial()
    }

    /// The session that counts, if there is one.
    pub fn current(&self) -> Option<u64> {
        self.current.map(|current| current.number)
    }

    /// A dial has begun: plans the one after it.
    pub fn dialed(&mut self, now: Instant, random: f64) {
        self.schedule.dialed(now, random);
    }

    /// The relay has answered a dial, and does not welcome it yet.
    pub fn answered(&mut self, number: u64, now: Instant) {
        self.answered = Some(number);
        self.schedule.answered(now);
    }

    /// The relay has welcomed a session. Returns whether it counts from here on: all dials are to end
    /// then, and the session that counted before is to retire.
    pub fn welcomed(&mut self, number: u64, epoch: u64, now: Instant) -> bool {
        // News of two sessions may overtake each other; the relay keeps the higher epoch.
        if self.current.is_some_and(|current| current.epoch > epoch) {
            return false;
        }
        self.schedule.welcomed(now);
        self.current = Some(Current { number, epoch });
        true
    }

    /// A session is as good as there, but for what the relay holds back. As long as it goes on asking
    /// for that, no other dial would come to more. Returns the session that is to retire: what holds
    /// the new one back may be the one before, which was in doubt when it was begun.
    pub fn waits(&mut self, number: u64, now: Instant) -> Option<u64> {
        self.answered = Some(number);
        let doubted = self.current.take();
        if doubted.is_some() {
            self.schedule.lost(now);
        }
        self.schedule.answered(now);
        doubted.map(|doubted| doubted.number)
    }

    /// A session is in doubt: unless another one counts, a dial beside it is wanted. Returns whether
    /// it is the one that counts.
    pub fn doubted(&mut self, number: u64, now: Instant) -> bool {
        let counts = self.current() == Some(number);
        if counts {
            self.schedule.doubted(now);
        }
        counts
    }

    /// A session is in doubt no more. Returns whether it is the one that counts: all dials are to end
    /// then.
    pub fn trusted(&mut self, number: u64) -> bool {
        let counts = self.current() == Some(number);
        if counts {
            self.schedule.trusted();
        }
        counts
    }

    /// The relay is about to end a session, and may be dialed after `wait`.
    pub fn draining(&mut self, number: u64, wait: Duration, now: Instant, random: f64) {
        if self.current() == Some(number) {
            self.schedule.retry_after(now, wait, random);
            self.schedule.doubted(now);
        }
    }

    /// A session has ended, or a dial has come to nothing; `is_retired` if home itself wanted that.
    pub fn ended(&mut self, number: u64, is_retired: bool, now: Instant, random: f64) {
        if self.current() == Some(number) {
            self.current = None;
            self.schedule.lost(now);
        } else if !is_retired && self.answered.take_if(|dial| *dial == number).is_some() {
            self.schedule.failed(now, random);
        }
    }

    /// The relay asked not to be dialed for `wait`; see [`Schedule::retry_after`].
    pub fn retry_after(&mut self, wait: Duration, now: Instant, random: f64) {
        self.schedule.retry_after(now, wait, random);
    }

    /// The network has changed, or the machine has woken up. If the session that counts cannot have
    /// outlived it (`may_survive` is false), it is replaced at once; otherwise it is returned, and has
    /// to prove itself, and soon.
    pub fn shaken(&mut self, may_survive: bool, now: Instant) -> Option<u64> {
        let survivor = self.current().filter(|_| may_survive);
        if survivor.is_none() || self.schedule.is_dialing() {
            self.schedule.restart(now);
        } else {
            self.schedule.renew(now);
        }
        survivor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A tunnel whose session 1, of epoch 5, was welcomed at once.
    fn welcomed(start: Instant) -> Tunnel {
        let mut tunnel = Tunnel::new(Pace::default(), start);
        tunnel.dialed(start, 0.0);
        tunnel.answered(1, start);
        assert!(tunnel.welcomed(1, 5, start));
        assert_eq!((tunnel.current(), tunnel.next_dial()), (Some(1), None));
        tunnel
    }

    #[test]
    fn a_welcome_that_comes_late_does_not_count_beside_a_newer_session() {
        let start = Instant::now();
        let mut tunnel = welcomed(start);
        assert!(!tunnel.welcomed(0, 4, start));
        assert_eq!(tunnel.current(), Some(1));
        assert!(tunnel.welcomed(2, 6, start));
        assert_eq!(tunnel.current(), Some(2));
        // The relay has lost the newer one, and so has home: any session is better than none.
        tunnel.ended(2, false, start, 0.0);
        assert_eq!(tunnel.current(), None);
        assert!(tunnel.welcomed(0, 4, start));
    }

    #[test]
    fn only_the_session_that_counts_is_doubted_or_missed() {
        let start = Instant::now();
        let mut tunnel = welcomed(start);
        assert!(!tunnel.doubted(0, start) && !tunnel.trusted(0));
        tunnel.draining(0, SECOND, start, 0.0);
        tunnel.ended(0, false, start, 0.0);
        assert_eq!(tunnel.next_dial(), None);
        let later = start + 20 * SECOND;
        assert!(tunnel.doubted(1, later));
        assert_eq!(tunnel.next_dial(), Some(later));
        assert!(tunnel.trusted(1));
        assert_eq!(tunnel.next_dial(), None);
        tunnel.ended(1, false, later, 0.0);
        assert_eq!((tunnel.current(), tunnel.next_dial()), (None, Some(later)));
    }

    #[test]
    fn a_session_that_may_outlive_a_change_of_the_network_is_probed_and_another_replaced() {
        let start = Instant::now();
        let later = start + 20 * SECOND;
        let mut tunnel = welcomed(start);
        assert_eq!(tunnel.shaken(true, later), Some(1));
        assert_eq!(tunnel.next_dial(), None);
        assert_eq!(tunnel.shaken(false, later), None);
        assert_eq!(tunnel.next_dial(), Some(later));
    }

    #[test]
    fn what_a_long_outage_came_to_does_not_outlive_a_change_of_the_network() {
        let start = Instant::now();
        let mut tunnel = Tunnel::new(Pace::default(), start);
        let mut last = start;
        while let Some(at) = tunnel.next_dial().filter(|at| *at < start + 3600 * SECOND) {
            tunnel.dialed(at, 0.9);
            last = at;
        }
        assert!(tunnel.welcomed(1, 5, last));
        assert_eq!(tunnel.shaken(true, last + SECOND), Some(1));
        let doubt = last + 2 * SECOND;
        assert!(tunnel.doubted(1, doubt));
        assert_eq!(tunnel.next_dial(), Some(doubt));
    }

    #[test]
    fn what_waits_for_the_relay_replaces_a_session_in_doubt() {
        let start = Instant::now();
        let mut tunnel = welcomed(start);
        assert!(tunnel.doubted(1, start));
        assert_eq!(tunnel.waits(2, start), Some(1));
        assert_eq!(tunnel.current(), None);
        assert_eq!(tunnel.waits(2, start), None);
        // It goes on waiting, so that nothing else is dialed at once.
        assert!(tunnel.next_dial().is_some_and(|at| at > start + SECOND));
    }
}
