//! When a session has to prove that it still works, and when it is in doubt or given up.
//!
//! Sans-IO: the caller says what happened and when, and does what [`Liveness::due`] says.

use std::time::{Duration, Instant};

/// For so long after a visitor has gone another one is likely.
const VISITED: Duration = Duration::from_secs(60);

/// How a session proves that it still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pings {
    /// A session that has heard nothing for this long pings (default 20 s).
    pub idle: Duration,
    /// The same within a minute of a visitor, who would notice (default 5 s).
    pub visited: Duration,
    /// A ping unanswered for this long puts the session in doubt, beside which another one is dialed (default 2 s).
    pub doubt: Duration,
    /// The same for a ping that was [asked for](Liveness::probe), since then at the latest
    /// (default 1 s).
    pub changed: Duration,
    /// A session that has heard nothing for this long is dead (default 45 s).
    pub dead: Duration,
}

impl Default for Pings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(20),
            visited: Duration::from_secs(5),
            doubt: Duration::from_secs(2),
            changed: Duration::from_secs(1),
            dead: Duration::from_secs(45),
        }
    }
}

/// One session's pings and what they came to.
#[derive(Clone, Debug)]
pub struct Liveness {
    pings: Pings,
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
pub enum Due {
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
pub struct Pong {
    /// How long the answer took.
    pub time: Option<Duration>,
    /// The session was in doubt, and is no more.
    pub is_trusted_again: bool,
}

impl Liveness {
    /// Of a session that has just begun.
    pub fn new(pings: Pings) -> Self {
        Self {
            pings,
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
    pub fn visited(&mut self, now: Instant) {
        self.visited = Some(now);
    }

    /// The session has to prove itself at once.
    pub fn probe(&mut self, now: Instant) {
        self.must_probe = true;
        // A ping that is under way may have gone where nothing goes any more: it gets no longer from
        // here on than one that is sent now.
        if let Some(sent) = self.ping_sent {
            self.ping_limit = self.ping_limit.min(now - sent + self.pings.changed);
        }
    }

    /// Nobody is told of doubts any more.
    pub fn ending(&mut self) {
        self.is_ending = true;
    }

    /// A ping was sent.
    pub fn pinged(&mut self, now: Instant) {
        self.ping_sent = Some(now);
        self.ping_limit = if std::mem::take(&mut self.must_probe) {
            self.pings.changed.min(self.pings.doubt)
        } else {
            self.pings.doubt
        };
    }

    /// Whether a ping is on its way.
    pub fn is_pinging(&self) -> bool {
        self.ping_sent.is_some()
    }

    /// The ping on its way is answered.
    pub fn answered(&mut self, now: Instant) -> Pong {
        self.measured = Some(now);
        Pong {
            time: self.ping_sent.take().map(|sent| now - sent),
            is_trusted_again: std::mem::take(&mut self.in_doubt) && !self.is_ending,
        }
    }

    /// What is to be done, when the last sign of life was `heard`. Ask again after it is done.
    pub fn due(&mut self, now: Instant, heard: Instant) -> Due {
        let pings = &self.pings;
        let dead = heard + pings.dead;
        if now >= dead {
            return Due::Death;
        }
        // A session full of visitors is measured as often as a silent one; a new one at once.
        let is_visited = self.visited.is_some_and(|at| now < at + VISITED);
        let silence = if is_visited {
            pings.visited.min(pings.idle)
        } else {
            pings.idle
        };
        let ping = match self.measured {
            Some(measured) if !self.must_probe => (measured + pings.idle).min(heard + silence),
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pings() -> Pings {
        Pings::default()
    }

    /// A session that was measured at the beginning, and pings again at `now`.
    fn pinging(start: Instant, now: Instant) -> Liveness {
        let mut liveness = Liveness::new(pings());
        assert_eq!(liveness.due(start, start), Due::Ping);
        liveness.pinged(start);
        assert!(!liveness.answered(start).is_trusted_again);
        assert_eq!(liveness.due(start, start), Due::Nothing(now));
        assert_eq!(liveness.due(now, start), Due::Ping);
        liveness.pinged(now);
        liveness
    }

    #[test]
    fn an_unanswered_ping_is_doubted_once_and_death_comes_later() {
        let start = Instant::now();
        let now = start + pings().idle;
        let mut liveness = pinging(start, now);
        let doubt = now + pings().doubt;
        assert_eq!(liveness.due(now, start), Due::Nothing(doubt));
        assert_eq!(liveness.due(doubt, start), Due::Doubt);
        assert_eq!(
            liveness.due(doubt, start),
            Due::Nothing(start + pings().dead)
        );
        assert_eq!(liveness.due(start + pings().dead, start), Due::Death);
        assert!(liveness.answered(doubt + SECOND).is_trusted_again);
    }

    #[test]
    fn a_change_of_the_network_leaves_a_ping_under_way_no_more_time_than_a_new_one() {
        let start = Instant::now();
        let now = start + pings().idle;
        let mut liveness = pinging(start, now);
        let change = now + Duration::from_millis(500);
        liveness.probe(change);
        let doubt = change + pings().changed;
        assert_eq!(liveness.due(change, start), Due::Nothing(doubt));
        assert_eq!(liveness.due(doubt, start), Due::Doubt);
        // Its answer says nothing about the network as it is now.
        assert!(liveness.answered(doubt).is_trusted_again);
        assert_eq!(liveness.due(doubt, doubt), Due::Ping);
        liveness.pinged(doubt);
        let again = doubt + pings().changed;
        assert_eq!(liveness.due(doubt, doubt), Due::Nothing(again));
    }
}
