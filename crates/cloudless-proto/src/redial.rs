//! When a home dials its relay.
//!
//! Sans-IO: the caller tells what happened and when, brings randomness in `[0, 1)`, and dials when
//! [`Schedule::next_dial`] says so. A dial that nobody answers does not hold back the next one; one
//! that the relay has answered does for a while, and each further one for twice as long, so that a
//! relay that is busy with all of its homes does not get more to do from each that waits.
//!
//! [`Tunnel`] says which of the sessions counts that dials have come to, and [`Liveness`] when one of
//! them is in doubt.

mod liveness;
mod tunnel;

use std::time::{Duration, Instant};

pub use liveness::{Due, Liveness, Pings, Pong};
pub use tunnel::Tunnel;

/// The longest wait a relay may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// How often a home dials. The defaults are for use; tests shrink them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Shortest time between the starts of two dials (default 250 ms).
    pub min: Duration,
    /// Longest time between the starts of two dials while the outage is young (default 500 ms).
    pub max: Duration,
    /// How long an outage counts as young (default 5 min).
    pub eager: Duration,
    /// What the time between dials grows to in a long outage (default 30 s).
    pub backoff_max: Duration,
    /// A session that lived shorter than this does not end an outage (default 10 s).
    pub steady: Duration,
    /// How long the first dial that the relay has answered holds back the next one (default 2 s);
    /// each further one does so for twice as long, as long as none is welcomed.
    pub patience: Duration,
    /// What that grows to (default 8 s).
    pub patience_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(250),
            max: Duration::from_millis(500),
            eager: Duration::from_secs(5 * 60),
            backoff_max: Duration::from_secs(30),
            steady: Duration::from_secs(10),
            patience: Duration::from_secs(2),
            patience_max: Duration::from_secs(8),
        }
    }
}

/// The reconnect schedule of one relay.
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    /// When the present outage began; kept through sessions too short to end it.
    outage: Instant,
    welcomed: Option<Instant>,
    /// `None` while no dial is wanted.
    next: Option<Instant>,
    /// Keeps dials apart, even if sessions come and go at once.
    earliest: Instant,
    /// When the last dial began.
    dialed: Instant,
    /// The relay has asked not to be dialed before this.
    asked: Instant,
    /// The relay has answered a dial, and has until then to go on with it.
    answered: Option<Instant>,
    /// What the next answer holds back the dial after it for.
    patience: Duration,
    backoff: Duration,
}

impl Schedule {
    /// Wants the first dial at once.
    pub fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            outage: now,
            welcomed: None,
            next: Some(now),
            earliest: now,
            dialed: now,
            asked: now,
            answered: None,
            patience: pace.patience,
            backoff: pace.max,
        }
    }

    /// When the next dial is due; `None` while a session does its work.
    pub fn next_dial(&self) -> Option<Instant> {
        let next = self.next?;
        Some(self.answered.map_or(next, |until| next.max(until)))
    }

    /// A dial has begun: plans the one after it.
    pub fn dialed(&mut self, now: Instant, random: f64) {
        let delay = if now.saturating_duration_since(self.outage) < self.pace.eager {
            self.gap(random)
        } else {
            self.backoff = (self.backoff * 2).min(self.pace.backoff_max);
            self.backoff.mul_f64(0.5 + random / 2.0)
        };
        self.dialed = now;
        self.earliest = self.earliest.max(now + delay);
        self.next = Some(self.earliest.max(self.asked));
    }

    /// The relay has answered a dial, and does not welcome it yet.
    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now + self.patience);
        self.patience = (self.patience * 2).min(self.pace.patience_max);
    }

    /// A dial that the relay had answered came to nothing: the relay may have too much to do, so
    /// the next one is not due at once.
    pub fn failed(&mut self, now: Instant, random: f64) {
        self.answered = None;
        let gap = self.gap(random);
        self.next = self.next.map(|next| next.max(now + gap));
    }

    /// A session is welcomed: no dial is wanted.
    pub fn welcomed(&mut self, now: Instant) {
        self.welcomed = Some(now);
        self.answered = None;
        self.patience = self.pace.patience;
        self.next = None;
    }

    /// The session is in doubt or about to end: a parallel dial is wanted.
    pub fn doubted(&mut self, now: Instant) {
        if self.next.is_none() {
            self.begin_outage(now);
        }
    }

    /// The session is in doubt no more: dials are not wanted.
    pub fn trusted(&mut self) {
        self.next = None;
    }

    /// The session ended.
    pub fn lost(&mut self, now: Instant) {
        if self.next.is_none() {
            self.begin_outage(now);
        }
        self.welcomed = None;
    }

    /// The relay asked not to be dialed for `wait`, of which at most five minutes are granted.
    /// Randomness spreads out the many homes of a relay that restarts.
    pub fn retry_after(&mut self, now: Instant, wait: Duration, random: f64) {
        let spread = (self.pace.max - self.pace.min).mul_f64(random);
        self.asked = self.asked.max(now + wait.min(RETRY_AFTER_MAX) + spread);
        self.next = self.next.map(|next| next.max(self.asked));
    }

    /// The network has changed or the machine has woken up, so that what came before says nothing
    /// about now: a dial is wanted at once, beside a session that may still work, and an outage
    /// begins anew. What the relay asked for is kept.
    pub fn restart(&mut self, now: Instant) {
        self.renew(now);
        self.next = Some(self.asked.max(now));
    }

    /// The same where the session may have outlived the change: should it turn out not to have, dials
    /// are as soon and as many as after [`restart`](Self::restart).
    pub fn renew(&mut self, now: Instant) {
        self.outage = now;
        self.backoff = self.pace.max;
        self.earliest = now;
        self.answered = None;
        self.patience = self.pace.patience;
    }

    /// Whether a dial is wanted.
    pub fn is_dialing(&self) -> bool {
        self.next.is_some()
    }

    fn gap(&self, random: f64) -> Duration {
        self.pace.min + (self.pace.max - self.pace.min).mul_f64(random)
    }

    fn begin_outage(&mut self, now: Instant) {
        let steady = |since: Instant| now.saturating_duration_since(since) >= self.pace.steady;
        if self.welcomed.is_some_and(steady) {
            self.outage = now;
            self.backoff = self.pace.max;
            // In a long outage a dial holds back the next one for longer than such a session lasts.
            self.earliest = self.earliest.min(self.dialed + self.pace.max);
        }
        self.answered = None;
        self.next = Some(self.earliest.max(self.asked).max(now));
    }
}

#[cfg(test)]
mod tests;
