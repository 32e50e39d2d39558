use std::time::{Duration, Instant};

/// After so many legs in a row that came to nothing, a network is taken for one that lets no plain TCP
/// through,
const FAILURES_MAX: u32 = 3;
/// and no leg is tried for so long.
const REST: Duration = Duration::from_secs(5 * 60);

/// How legs fare between one home and the relay.
#[derive(Clone, Debug, Default)]
pub struct Luck {
    failures: u32,
    rest_until: Option<Instant>,
}

impl Luck {
    /// Whether no leg should be tried now.
    pub fn is_resting(&self, now: Instant) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    /// A leg came to nothing, or broke. Returns whether that was one too many, so that no leg is tried
    /// for five minutes from now on.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures += 1;
        let is_over = self.failures >= FAILURES_MAX;
        if is_over {
            *self = Self {
                failures: 0,
                rest_until: Some(now + REST),
            };
        }
        is_over
    }

    /// A leg did all that it was for.
    pub fn went_well(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_followed_by_five_minutes_of_rest() {
        let now = Instant::now();
        let mut luck = Luck::default();
        assert!(!luck.failed(now) && !luck.failed(now));
        luck.went_well();
        assert!(!luck.failed(now) && !luck.failed(now));
        assert!(!luck.is_resting(now));
        assert!(luck.failed(now));
        assert!(luck.is_resting(now + REST - Duration::from_secs(1)));
        let later = now + REST;
        assert!(!luck.is_resting(later));
        assert!(!luck.failed(later) && !luck.failed(later) && luck.failed(later));
    }
}
