//! When to dial.
//!
//! Sans-IO: the caller tells what happened and when, brings randomness in `[0, 1)`, and dials when
//! [`Schedule::next_dial`] says so. A dial that hangs does not hold back the next one.

use std::time::{Duration, Instant};

use crate::config::Timings;

/// The longest wait a relay may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// The reconnect schedule of one relay.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    redial_min: Duration,
    redial_max: Duration,
    eager: Duration,
    backoff_max: Duration,
    steady: Duration,
    /// When the present outage began; kept through sessions too short to end it.
    outage: Instant,
    welcomed: Option<Instant>,
    /// `None` while no dial is wanted.
    next: Option<Instant>,
    /// Keeps dials apart, even if sessions come and go at once.
    earliest: Instant,
    /// The relay has asked not to be dialed before this.
    asked: Instant,
    backoff: Duration,
}

impl Schedule {
    /// Wants the first dial at once.
    pub(crate) fn new(timings: &Timings, now: Instant) -> Self {
        Self {
            redial_min: timings.redial_min,
            redial_max: timings.redial_max,
            eager: timings.eager,
            backoff_max: timings.backoff_max,
            steady: timings.steady,
            outage: now,
            welcomed: None,
            next: Some(now),
            earliest: now,
            asked: now,
            backoff: timings.redial_max,
        }
    }

    /// When the next dial is due; `None` while a session does its work.
    pub(crate) fn next_dial(&self) -> Option<Instant> {
        self.next
    }

    /// A dial has begun: plans the one after it.
    pub(crate) fn dialed(&mut self, now: Instant, random: f64) {
        let delay = if now.saturating_duration_since(self.outage) < self.eager {
            self.redial_min + (self.redial_max - self.redial_min).mul_f64(random)
        } else {
            self.backoff = (self.backoff * 2).min(self.backoff_max);
            self.backoff.mul_f64(0.5 + random / 2.0)
        };
        self.earliest = self.earliest.max(now + delay);
        self.next = Some(self.earliest.max(self.asked));
    }

    /// A session is welcomed: no dial is wanted.
    pub(crate) fn welcomed(&mut self, now: Instant) {
        self.welcomed = Some(now);
        self.next = None;
    }

    /// The session is in doubt or about to end: a parallel dial is wanted.
    pub(crate) fn doubted(&mut self, now: Instant) {
        if self.next.is_none() {
            self.begin_outage(now);
        }
    }

    /// The session is in doubt no more: dials are not wanted.
    pub(crate) fn trusted(&mut self) {
        self.next = None;
    }

    /// The session ended.
    pub(crate) fn lost(&mut self, now: Instant) {
        if self.next.is_none() {
            self.begin_outage(now);
        }
        self.welcomed = None;
    }

    /// The relay asked not to be dialed for `wait`, of which at most five minutes are granted.
    /// Randomness spreads out the many homes of a relay that restarts.
    pub(crate) fn retry_after(&mut self, now: Instant, wait: Duration, random: f64) {
        let spread = (self.redial_max - self.redial_min).mul_f64(random);
        self.asked = self.asked.max(now + wait.min(RETRY_AFTER_MAX) + spread);
        self.next = self.next.map(|next| next.max(self.asked));
    }

    /// The network has changed or the machine has woken up, so that what came before says nothing
    /// about now: a dial is wanted at once, beside a session that may still work, and an outage
    /// begins anew. What the relay asked for is kept.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.outage = now;
        self.backoff = self.redial_max;
        self.earliest = now;
        self.next = Some(self.asked.max(now));
    }

    /// Whether a dial is wanted.
    pub(crate) fn is_dialing(&self) -> bool {
        self.next.is_some()
    }

    fn begin_outage(&mut self, now: Instant) {
        let steady = |since: Instant| now.saturating_duration_since(since) >= self.steady;
        if self.welcomed.is_some_and(steady) {
            self.outage = now;
            self.backoff = self.redial_max;
        }
        self.next = Some(self.earliest.max(self.asked).max(now));
    }
}

#[cfg(test)]
mod tests;
