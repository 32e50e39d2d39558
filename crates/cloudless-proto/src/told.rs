//! When the log hears of a change: of something that fails and works in turns, not each time.

use std::time::{Duration, Instant};

/// From one change in the log to the next one, in the long run.
const PAUSE: Duration = Duration::from_secs(10);
/// So many changes may be told at once: somebody who starts a server anew, twice, hears of it all.
const AT_ONCE: u32 = 4;

/// Whether a server is up, as the log has it; of a new one it has nothing, which means that it is up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    is_down: bool,
    /// When all that was told would have been told with a pause after each.
    paced: Option<Instant>,
}

impl Told {
    /// Whether the log is to hear now that it is up or down. What it heard last is what counts: a
    /// change that was one too many is told later, if it is still so.
    pub fn is_due(&mut self, is_up: bool, now: Instant) -> bool {
        let paced = self.paced.map_or(now, |paced| paced.max(now));
        let is_known = self.is_down != is_up;
        let is_one_too_many = paced > now + (AT_ONCE - 1) * PAUSE;
        if is_known || is_one_too_many {
            return false;
        }
        *self = Self {
            is_down: !is_up,
            paced: Some(paced + PAUSE),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_at_once_and_none_while_nothing_changes() {
        let (mut told, now) = (Told::default(), Instant::now());
        assert!(!told.is_due(true, now));
        for _ in 0..AT_ONCE / 2 {
            assert!(told.is_due(false, now));
            assert!(!told.is_due(false, now));
            assert!(told.is_due(true, now));
            assert!(!told.is_due(true, now));
        }
    }

    #[test]
    fn what_flaps_is_told_once_in_a_while() {
        let (mut told, start) = (Told::default(), Instant::now());
        // A thousand times a second for a minute.
        let looks = (0..60_000).map(|ms| (ms % 2 == 1, start + Duration::from_millis(ms)));
        let lines = looks.filter(|(is_up, now)| told.is_due(*is_up, *now));
        // At once, and after ten seconds each.
        assert_eq!(lines.count(), 4 + 5);
    }

    #[test]
    fn what_was_not_told_is_told_after_the_pause() {
        let (mut told, start) = (Told::default(), Instant::now());
        for number in 0..AT_ONCE {
            assert!(told.is_due(number % 2 == 1, start));
        }
        assert!(!told.is_due(false, start + PAUSE / 2));
        assert!(told.is_due(false, start + PAUSE));
        // And not what is no longer so.
        assert!(!told.is_due(true, start + PAUSE + PAUSE / 2));
        assert!(!told.is_due(false, start + 2 * PAUSE));
    }
}
