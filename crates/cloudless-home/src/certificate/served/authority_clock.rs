//! The clock of the public authority, where this machine's is another.

use std::time::{Duration, SystemTime};

/// What the authority's clock said, and when. It goes on by the time since the system was started:
/// this machine's own clock may be set right meanwhile, and what was heard stays true.
#[derive(Clone, Copy)]
pub(super) struct AuthorityClock {
    said: SystemTime,
    at: Duration,
}

impl AuthorityClock {
    /// It said this at `now`, a time since the system was started.
    pub(super) fn heard(said: SystemTime, now: Duration) -> Self {
        Self { said, at: now }
    }

    /// What it says at `now`, a time since the system was started.
    pub(super) fn now(self, now: Duration) -> SystemTime {
        self.said + now.saturating_sub(self.at)
    }
}
