//! What time it is elsewhere.

use std::time::{Duration, SystemTime};

use crate::config::unix_ms;

/// The time that another machine told. It goes on by the clock that nobody sets, so that a
/// correction of this machine's time of day shows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeHeard {
    theirs: SystemTime,
    /// When, since the system was started.
    at: Duration,
}

impl TimeHeard {
    /// It said `theirs`, so long after the system was started.
    pub(crate) fn new(theirs: SystemTime, at: Duration) -> Self {
        Self { theirs, at }
    }

    /// What it said, in Unix milliseconds.
    pub(crate) fn told(self) -> i64 {
        unix_ms(self.theirs)
    }

    /// By how many seconds `ours` is ahead, so long after the system was started.
    pub(crate) fn skew(self, ours: SystemTime, at: Duration) -> i64 {
        let since = i64::try_from(at.saturating_sub(self.at).as_millis()).unwrap_or(i64::MAX);
        let theirs = self.told().saturating_add(since);
        unix_ms(ours).saturating_sub(theirs) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_right_is_right_at_once() {
        let minute = Duration::from_secs(60);
        let theirs = SystemTime::UNIX_EPOCH + 1000 * minute;
        let heard = TimeHeard::new(theirs, 5 * minute);
        assert_eq!(heard.skew(theirs + 90 * minute, 5 * minute), 90 * 60);
        // An hour later, and meanwhile somebody has set it.
        let (later, at) = (theirs + 60 * minute, 65 * minute);
        assert_eq!(heard.skew(later, at), 0);
        assert_eq!(heard.skew(later - 2 * minute, at), -120);
        assert_eq!(heard.skew(later + 90 * minute, at), 90 * 60);
    }
}
