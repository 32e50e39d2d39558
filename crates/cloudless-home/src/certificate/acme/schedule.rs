//! When a name's certificate is ordered and renewed, and what follows a failure.
//!
//! Sans-IO: the caller tells the time and what happened, does the [`Step`] that it is told, and
//! tells what came of it. All waits are of the time of day, because certificates are; a clock that
//! was set back never makes one longer than it was.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::unix_ms;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Certificates with a shorter life than this are renewed when half of it is left, others when a
/// third is.
const SHORT_LIFE: Duration = Duration::from_secs(10 * 24 * 60 * 60);
/// Renewals are spread over the last part of the time before they are due: this share of the life.
const SPREAD: f64 = 0.02;
/// What an authority suggests is followed up to the moment when so much of the life is left.
const SUGGESTED_LEFT: u32 = 6;
/// How much longer, at most, a wait is than the rules say: homes that failed together shall not
/// come back together.
const WAIT_SPREAD: f64 = 0.2;
/// Between two questions about renewal (RFC 9773 section 4.3.2), when the authority says nothing.
const ASK_INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

const OFTEN: &[Duration] = &minutes([1, 1, 1, 1, 5, 15]);
const AT_ONCE: &[Duration] = &[
    Duration::from_secs(10),
    MINUTE,
    Duration::from_secs(10 * 60),
    HOUR,
    DAY,
];
const SELDOM: &[Duration] = &minutes([60, 4 * 60, 24 * 60]);
const LESS_AND_LESS: &[Duration] = &minutes([1, 5, 15, 60, 4 * 60, 24 * 60]);

const fn minutes<const N: usize>(numbers: [u64; N]) -> [Duration; N] {
    let mut waits = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        waits[index] = Duration::from_secs(numbers[index] * 60);
        index += 1;
    }
    waits
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the authority when it wants the certificate to be renewed.
    AskRenewalInfo,
    /// Order a certificate.
    Order,
    /// Nothing, until this moment.
    Wait(SystemTime),
}

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// When an authority suggests to renew, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
}

/// What an order ended with, as far as it decides about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    /// This machine's clock and the authority's differ.
    Clock,
    /// The gate does not let it pass.
    Gate,
    /// Something on this machine.
    Local,
    /// The authority took none of the nonces (RFC 8555 section 6.5).
    Nonce,
    /// The authority wants fewer orders.
    RateLimited,
    /// The authority does not want this order, and somebody has to change something.
    Refused,
    /// The relay was lost while the authority came to look.
    RelayLost,
    /// The authority is out of reach, or out of order.
    Unavailable,
    /// The authority came to look and did not find what it wanted.
    Validation,
}

impl Failure {
    /// How long to wait after the first, the second … failure of this kind; the last holds for all
    /// that follow. Let's Encrypt takes five failed validations of a name in an hour.
    fn waits(self) -> &'static [Duration] {
        match self {
            // Nobody else is troubled by another look.
            Self::Clock | Self::Gate | Self::Local => OFTEN,
            Self::Nonce => AT_ONCE,
            Self::RateLimited | Self::Refused => SELDOM,
            Self::RelayLost | Self::Unavailable | Self::Validation => LESS_AND_LESS,
        }
    }

    /// Whether the authority has counted it against the account.
    fn is_counted(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Refused | Self::RelayLost | Self::Validation
        )
    }
}

/// The failures since the last certificate. What of it the authority has counted outlives a
/// restart, so that a home that is restarted all the time is not a nuisance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trouble {
    /// How many of each kind.
    counts: Vec<(Failure, u32)>,
    last: Option<LastFailure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LastFailure {
    kind: Failure,
    /// When, in Unix milliseconds.
    at: i64,
    wait_ms: u64,
    message: String,
}

impl Trouble {
    /// What to keep on the disk; `None` when it is nothing.
    pub(super) fn to_keep(&self) -> Option<&Self> {
        let is_counted = |(kind, _): &(Failure, u32)| kind.is_counted();
        self.counts.iter().any(is_counted).then_some(self)
    }

    fn count(&mut self, kind: Failure) -> u32 {
        match self.counts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                self.counts.push((kind, 1));
                1
            }
        }
    }

    /// The end of the wait; `None` when it is over.
    fn waits_until(&self, now: SystemTime) -> Option<SystemTime> {
        let last = self.last.as_ref()?;
        let since = unix_ms(now).checked_sub(last.at)?;
        // A moment that is still to come is one of a clock that has been set back since.
        let since = u64::try_from(since).ok()?;
        let left = last.wait_ms.checked_sub(since).filter(|left| *left > 0)?;
        Some(now + Duration::from_millis(left))
    }
}

/// What the authority has said about renewal.
#[derive(Clone, Copy, Debug, Default)]
struct Suggestion {
    /// The moment chosen in its window.
    moment: Option<SystemTime>,
    /// When to ask again; `None`: now.
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: SystemTime,
    wait: Duration,
}

/// One name's certificate and what is planned for it.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    life: Option<Life>,
    /// In `[0, 1)`: where in the spread this certificate's renewal is.
    place: f64,
    suggestion: Suggestion,
    trouble: Trouble,
    is_asked_for: bool,
}

impl Schedule {
    /// Of a name whose certificate is not known yet, with the trouble that was kept of it.
    pub(super) fn new(trouble: Trouble) -> Self {
        Self {
            life: None,
            place: 0.0,
            suggestion: Suggestion::default(),
            trouble,
            is_asked_for: false,
        }
    }

    /// There is a certificate from before. `place` is random, in `[0, 1)`.
    pub(super) fn found(&mut self, life: Life, place: f64) {
        self.life = Some(life);
        self.place = place;
        self.suggestion = Suggestion::default();
    }

    /// An order ended with a certificate.
    pub(super) fn issued(&mut self, life: Life, place: f64) {
        self.found(life, place);
        self.trouble = Trouble::default();
        self.is_asked_for = false;
    }

    /// An order failed. `retry_after` is what the authority asked for, and `random` in `[0, 1)`.
    pub(super) fn failed(
        &mut self,
        kind: Failure,
        message: String,
        retry_after: Option<Duration>,
        now: SystemTime,
        random: f64,
    ) {
        let waits = kind.waits();
        let count = self.trouble.count(kind);
        let index = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(waits.len());
        let rule = waits[index - 1].mul_f64(1.0 + WAIT_SPREAD * random);
        // A day without a question is enough, whatever the authority says.
        let wait = retry_after.map_or(rule, |asked| rule.max(asked.min(DAY)));
        self.trouble.last = Some(LastFailure {
            kind,
            at: unix_ms(now),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            message,
        });
        self.is_asked_for = false;
    }

    /// The authority has said when to renew, and how long that holds. `random` is in `[0, 1)`.
    pub(super) fn suggested(
        &mut self,
        window: Window,
        holds: Duration,
        now: SystemTime,
        random: f64,
    ) {
        let length = window.end.duration_since(window.start).unwrap_or_default();
        let moment = window.start + length.mul_f64(random);
        // A moment that was chosen stays while the window has it.
        let kept = self
            .suggestion
            .moment
            .filter(|moment| (window.start..=window.end).contains(moment));
        self.suggestion = Suggestion {
            moment: Some(kept.unwrap_or(moment)),
            asked: Some(Asked {
                at: now,
                wait: holds.clamp(MINUTE, DAY),
            }),
        };
    }

    /// The authority has not said when to renew. What it said before holds.
    pub(super) fn not_suggested(&mut self, now: SystemTime) {
        self.suggestion.asked = Some(Asked {
            at: now,
            wait: ASK_INTERVAL,
        });
    }

    /// The machine was asleep, or its network is another one: what failed only because the
    /// authority was out of reach may work now.
    pub(super) fn woke(&mut self) {
        self.suggestion.asked = None;
        let is_counted = |last: &LastFailure| last.kind.is_counted();
        if !self.trouble.last.as_ref().is_some_and(is_counted) {
            self.trouble.last = None;
        }
    }

    /// The owner wants a new certificate now.
    pub(super) fn ask(&mut self) {
        self.is_asked_for = true;
    }

    /// What to do now.
    pub(super) fn next(&self, now: SystemTime) -> Step {
        if self.is_asked_for {
            return Step::Order;
        }
        if let Some(life) = self.valid_life(now)
            && !self.is_suggestion_fresh(now)
            // A clock from before the certificate has nothing to ask.
            && life.not_before <= now
        {
            return Step::AskRenewalInfo;
        }
        let due = self.due(now);
        let start = match self.trouble.waits_until(now) {
            Some(until) => due.max(until),
            None => due,
        };
        if start > now {
            return Step::Wait(start);
        }
        Step::Order
    }

    /// When the next order is planned, as far as that is known now.
    pub(super) fn planned(&self, now: SystemTime) -> SystemTime {
        let due = self.due(now);
        self.trouble
            .waits_until(now)
            .map_or(due, |until| due.max(until))
    }

    /// What went wrong last; `None` when a certificate came after it.
    pub(super) fn message(&self) -> Option<&str> {
        self.trouble.last.as_ref().map(|last| last.message.as_str())
    }

    /// How many orders have failed since the last certificate.
    pub(super) fn failures(&self) -> u32 {
        let counts = self.trouble.counts.iter();
        counts.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    pub(super) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    fn valid_life(&self, now: SystemTime) -> Option<Life> {
        self.life.filter(|life| now < life.not_after)
    }

    fn is_suggestion_fresh(&self, now: SystemTime) -> bool {
        let Some(asked) = self.suggestion.asked else {
            return false;
        };
        now.duration_since(asked.at)
            .is_ok_and(|since| since < asked.wait)
    }

    /// When a certificate is to be ordered, failures aside.
    fn due(&self, now: SystemTime) -> SystemTime {
        let Some(life) = self.valid_life(now) else {
            return now;
        };
        let whole = life
            .not_after
            .duration_since(life.not_before)
            .unwrap_or_default();
        if let Some(moment) = self.suggestion.moment {
            return moment.min(life.not_after - whole / SUGGESTED_LEFT);
        }
        let left = if whole < SHORT_LIFE {
            whole / 2
        } else {
            whole / 3
        };
        life.not_after - left - whole.mul_f64(SPREAD * self.place)
    }
}

#[cfg(test)]
mod tests;
