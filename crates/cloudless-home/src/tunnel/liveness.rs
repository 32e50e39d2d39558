//! When a session has to prove that it still works, and when it is in doubt or given up.
//!
//! Sans-IO: the caller says what happened and when, and does what [`Liveness::due`] says.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timings;

/// For so long after a visitor has gone another one is likely.
const VISITED: Duration = Duration::from_secs(60);

/// One session's pings and what they came to.
#[derive(Debug)]
pub(super) struct Liveness {
    timings: Timings,
    /// When the ping that is on its way was sent.
    ping_sent: Option<Instant>,
    /// How long its answer may take before the session is in doubt.
    ping_limit: Duration,
    /// Whether a ping is wanted however much was heard lately.
    must_probe: bool,
    /// When a visitor was last there.
    visited: Option<Instant>,
    /// When a ping was last answered.
    measured: Option<Instant>,
    in_doubt: bool,
    is_ending: bool,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing until then, or until something happens.
    Nothing(Instant),
    /// Send a ping, and say so.
    Ping,
    /// Tell that the session is in doubt, and go on.
    Doubt,
    /// Give the session up.
    Death,
}

/// What an answer to a ping tells.
#[derive(Debug)]
pub(super) struct Pong {
    /// How long the answer took.
    pub(super) time: Option<Duration>,
    /// The session was in doubt, and is no more.
    pub(super) is_trusted_again: bool,
}

impl Liveness {
    pub(super) fn new(timings: &Timings) -> Self {
        Self {
            timings: timings.clone(),
            ping_sent: None,
            ping_limit: Duration::ZERO,
            must_probe: false,
            visited: None,
            measured: None,
            in_doubt: false,
            is_ending: false,
        }
    }

    /// A visitor is there.
    pub(super) fn visited(&mut self, now: Instant) {
        self.visited = Some(now);
    }

    /// The session has to prove itself at once.
    pub(super) fn probe(&mut self) {
        self.must_probe = true;
    }

    /// Nobody is told of doubts any more.
    pub(super) fn ending(&mut self) {
        self.is_ending = true;
    }

    /// A ping was sent.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.ping_sent = Some(now);
        self.ping_limit = if std::mem::take(&mut self.must_probe) {
            self.timings.ping_changed.min(self.timings.ping_doubt)
        } else {
            self.timings.ping_doubt
        };
    }

    /// Whether a ping is on its way.
    pub(super) fn is_pinging(&self) -> bool {
        self.ping_sent.is_some()
    }

    /// The ping on its way is answered.
    pub(super) fn answered(&mut self, now: Instant) -> Pong {
        self.measured = Some(now);
        Pong {
            time: self.ping_sent.take().map(|sent| now - sent),
            is_trusted_again: std::mem::take(&mut self.in_doubt) && !self.is_ending,
        }
    }

    /// What is to be done, when the last sign of life was `heard`. Ask again after it is done.
    pub(super) fn due(&mut self, now: Instant, heard: Instant) -> Due {
        let timings = &self.timings;
        let dead = heard + timings.dead;
        if now >= dead {
            return Due::Death;
        }
        // A session full of visitors is measured as often as a silent one; a new one at once.
        let is_visited = self.visited.is_some_and(|at| now < at + VISITED);
        let silence = if is_visited {
            timings.ping_visited.min(timings.ping_idle)
        } else {
            timings.ping_idle
        };
        let ping = match self.measured {
            Some(measured) if !self.must_probe => {
                (measured + timings.ping_idle).min(heard + silence)
            }
            _ => now,
        };
        let doubt = match self.ping_sent {
            None if now < ping => return Due::Nothing(ping.min(dead)),
            None => return Due::Ping,
            // Whatever else the relay sends is a sign of life too.
            Some(sent) => sent.max(heard) + self.ping_limit,
        };
        if self.in_doubt || self.is_ending {
            return Due::Nothing(dead);
        }
        if now < doubt {
            return Due::Nothing(doubt.min(dead));
        }
        self.in_doubt = true;
        Due::Doubt
    }
}
