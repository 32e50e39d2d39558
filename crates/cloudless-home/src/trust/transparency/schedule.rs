//! When a monitor is asked again. No I/O: time and randomness are arguments.

use std::time::Duration;

/// The waits of one name at one monitor, on a clock that only goes forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    due: Duration,
    failures: u32,
    /// No failure is tried again before.
    patience: Duration,
}

impl Schedule {
    /// Whether it is time.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.due <= now
    }

    /// Whether the last try failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// When it will be.
    pub(crate) fn due(&self) -> Duration {
        self.due
    }

    /// A look told everything. `random` is in `[0, 1)`: looks of many homes are spread.
    pub(crate) fn succeeded(&mut self, now: Duration, interval: Duration, random: f64) {
        self.failures = 0;
        self.due = now + interval.mul_f64(0.9 + 0.2 * random);
    }

    /// A look failed: the wait begins with `backoff` and is doubled each time, up to the interval;
    /// what the monitor asks for is kept to.
    pub(crate) fn failed(
        &mut self,
        now: Duration,
        (backoff, interval): (Duration, Duration),
        retry_after: Option<Duration>,
        random: f64,
    ) {
        let doubled = backoff.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or_default();
        let wait = doubled.min(interval).max(asked);
        self.patience = now + backoff.min(interval).max(asked);
        self.due = now + wait.mul_f64(1.0 + 0.2 * random);
    }

    /// Why it failed may be over, as the network is another one: there is no more to wait for than after
    /// the first failure.
    pub(crate) fn hurry(&mut self, now: Duration) {
        if self.has_failed() {
            self.due = self.due.min(now.max(self.patience));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn failures_are_answered_with_patience() {
        let mut schedule = Schedule::default();
        assert!(schedule.is_due(Duration::ZERO));
        let mut waits = Vec::new();
        for _ in 0..40 {
            schedule.failed(HOUR, (MINUTE, HOUR), None, 0.0);
            waits.push((schedule.due() - HOUR).as_secs() / 60);
        }
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(waits[39], 60);
        schedule.succeeded(HOUR, HOUR, 0.5);
        assert_eq!(schedule.due(), 2 * HOUR);
        schedule.failed(HOUR, (MINUTE, HOUR), None, 0.0);
        assert_eq!(schedule.due(), HOUR + MINUTE);
    }

    #[test]
    fn what_the_monitor_asks_for_is_kept_to() {
        let mut schedule = Schedule::default();
        schedule.failed(Duration::ZERO, (MINUTE, HOUR), Some(3 * HOUR), 0.0);
        schedule.hurry(HOUR);
        assert!(!schedule.is_due(3 * HOUR - MINUTE) && schedule.is_due(3 * HOUR));
    }

    #[test]
    fn another_network_ends_the_patience_with_failures_alone() {
        let mut schedule = Schedule::default();
        for _ in 0..10 {
            schedule.failed(HOUR, (MINUTE, HOUR), None, 0.0);
        }
        schedule.hurry(HOUR);
        assert_eq!(schedule.due(), HOUR + MINUTE);
        schedule.hurry(HOUR + 2 * MINUTE);
        assert_eq!(schedule.due(), HOUR + MINUTE);
        schedule.succeeded(2 * HOUR, HOUR, 0.5);
        schedule.hurry(2 * HOUR + MINUTE);
        assert_eq!(schedule.due(), 3 * HOUR);
    }
}
