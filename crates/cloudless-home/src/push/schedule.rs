//! Who is sent a message when. It knows no socket and no clock.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use cloudless_store::{DeviceId, PendingPush, PushId};

/// How often messages are sent. The defaults are for use; tests shrink them.
#[derive(Clone, Debug)]
pub struct PushTimings {
    /// From a change to its message, so that a burst of changes is one (default 1 s).
    pub delay: Duration,
    /// Between two messages to one device about one address book (default 10 s).
    pub gap: Duration,
    /// From a failed message to the next attempt; it doubles with each failure (default 5 s).
    pub retry_min: Duration,
    /// What that grows to, and the most that a push service can ask for (default 1 h).
    pub retry_max: Duration,
    /// For one message, from the name look-up to the answer (default 30 s).
    pub timeout: Duration,
}

impl Default for PushTimings {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(1),
            gap: Duration::from_secs(5),
            retry_min: Duration::from_secs(5),
            retry_max: Duration::from_secs(60 * 60),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Messages that are on their way at one time.
const UNDER_WAY_MAX: usize = 8;
/// Of these for one device. It chooses its push services, and they choose how long a message takes.
const OF_DEVICE_MAX: usize = 2;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The push service took it.
    Taken,
    /// The push service does not want this message, and would not want it later.
    Refused,
    /// There is no such push resource any more, or none that a message can be made for.
    Gone,
    /// It may work later.
    Failed {
        /// How long the push service asks to wait.
        retry_after: Option<Duration>,
    },
}

/// The registrations that must wait for something, at most as many as there are.
pub(super) struct Schedule {
    timings: PushTimings,
    turns: HashMap<PushId, Turn>,
    /// Whom the messages are for that are on their way.
    under_way: HashMap<PushId, DeviceId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// `None` while a message is on its way.
    not_before: Option<Instant>,
    failures: u32,
}

impl Schedule {
    pub(super) fn new(timings: PushTimings) -> Self {
        Self {
            timings,
            turns: HashMap::new(),
            under_way: HashMap::new(),
        }
    }

    /// What to send now of all that is pending, and when to ask again if nothing happens before.
    pub(super) fn begin(
        &mut self,
        pending: Vec<PendingPush>,
        now: Instant,
    ) -> (Vec<PendingPush>, Option<Instant>) {
        // Whoever waits for nothing, or has nothing to be told after a failure, is forgotten.
        let ids: HashSet<PushId> = pending.iter().map(|push| push.id).collect();
        self.turns.retain(|id, turn| match turn.not_before {
            None => true,
            Some(not_before) if turn.failures == 0 => not_before > now,
            Some(_) => ids.contains(id),
        });
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for push in pending {
            match self.turns.get(&push.id).map(|turn| turn.not_before) {
                // It is asked again when that one has ended, and so is who finds no room.
                Some(None) => {}
                Some(Some(at)) if at > now => next = Some(next.map_or(at, |next| next.min(at))),
                _ if !self.has_room(push.device) => {}
                _ => {
                    self.turns.entry(push.id).or_default().not_before = None;
                    self.under_way.insert(push.id, push.device);
                    due.push(push);
                }
            }
        }
        (due, next)
    }

    fn has_room(&self, device: DeviceId) -> bool {
        let of_device = self.under_way.values().filter(|it| **it == device);
        self.under_way.len() < UNDER_WAY_MAX && of_device.count() < OF_DEVICE_MAX
    }

    /// A message of [`Schedule::begin`] came to its end. Ask again what to send then.
    pub(super) fn end(&mut self, id: PushId, outcome: Outcome, now: Instant) {
        self.under_way.remove(&id);
        let Some(turn) = self.turns.get_mut(&id) else {
            return;
        };
        match outcome {
            Outcome::Taken | Outcome::Refused => {
                turn.failures = 0;
                turn.not_before = Some(now + self.timings.gap);
            }
            Outcome::Gone => {
                self.turns.remove(&id);
            }
            Outcome::Failed { retry_after } => {
                let doubled = 1_u32.checked_shl(turn.failures).unwrap_or(u32::MAX);
                let backoff = self.timings.retry_min.saturating_mul(doubled);
                let asked = retry_after.map(|asked| asked.max(self.timings.delay));
                let wait = asked.unwrap_or(backoff).min(self.timings.retry_max);
                turn.failures = turn.failures.saturating_add(1);
                turn.not_before = Some(now + wait);
            }
        }
    }
}

#[cfg(test)]
mod tests;
