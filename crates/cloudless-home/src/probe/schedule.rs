//! When home tries its public names.
//!
//! Sans-IO: the caller tells what happened and when, and brings randomness in `[0, 1)`.

use std::time::{Duration, Instant};

/// While something is wrong the next round comes so much earlier.
const HASTE: u32 = 10;

/// The times of the rounds: soon after each new session, then at intervals.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    interval: Duration,
    soon: Duration,
    next: Option<Instant>,
}

impl Schedule {
    /// Nothing is due before the first session.
    pub(super) fn new(interval: Duration, soon: Duration) -> Self {
        Self {
            interval,
            soon,
            next: None,
        }
    }

    /// When the next round is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A session is new. Randomness spreads out the many homes of a relay that restarts.
    pub(super) fn connected(&mut self, now: Instant, random: f64) {
        self.next = Some(now + self.soon.mul_f64(random));
    }

    /// Somebody wants to know now.
    pub(super) fn asked(&mut self, now: Instant) {
        self.next = Some(now);
    }

    /// A round is over. `None`: there was no session to test.
    pub(super) fn done(&mut self, now: Instant, is_well: Option<bool>, random: f64) {
        let spread = 0.75 + random / 2.0;
        self.next = is_well.map(|is_well| {
            let wait = if is_well {
                self.interval
            } else {
                self.interval / HASTE
            };
            now + wait.mul_f64(spread)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    #[test]
    fn rounds_come_soon_after_a_session_then_at_intervals_and_sooner_after_a_failure() {
        let now = Instant::now();
        let mut schedule = Schedule::new(INTERVAL, Duration::from_secs(2));
        assert_eq!(schedule.next(), None);
        schedule.connected(now, 0.5);
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(1)));
        schedule.done(now, Some(true), 0.5);
        assert_eq!(schedule.next(), Some(now + INTERVAL));
        schedule.done(now, Some(false), 0.5);
        assert_eq!(schedule.next(), Some(now + INTERVAL / HASTE));
        schedule.asked(now);
        assert_eq!(schedule.next(), Some(now));
        schedule.done(now, None, 0.5);
        assert_eq!(schedule.next(), None);
    }
}
