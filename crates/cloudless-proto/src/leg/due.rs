use super::THRESHOLD;

/// How much more traffic the next offer asks for than the one before, as a factor.
const PATIENCE: u64 = 16;

/// What a change of direction takes back of the bytes counted so far.
const CHANGE: u64 = 4 * 1024;

/// When a visitor has moved enough bytes for the next offer of a leg.
///
/// The first offer is due at [`THRESHOLD`] bytes in one direction. Where that comes to nothing the
/// next is due at sixteen times as many, and so on: a path that takes no legs is asked seldom.
///
/// Whoever asks little and is answered little stays where he is, however often: many such visitors
/// share each write of the tunnel, and on a leg each would have its own. So each time the other
/// direction has its say, 4 KiB are taken back.
#[derive(Clone, Debug)]
pub struct Due {
    up: u64,
    down: u64,
    at: u64,
    last: Option<Direction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Due {
    /// A visitor that has moved nothing.
    pub fn new() -> Self {
        Self {
            up: 0,
            down: 0,
            at: THRESHOLD,
            last: None,
        }
    }

    /// Counts bytes from the visitor; returns whether an offer is due now.
    pub fn up(&mut self, n: u64) -> bool {
        self.says(Direction::Up);
        self.up += n;
        self.is_due()
    }

    /// Counts bytes to the visitor; returns whether an offer is due now.
    pub fn down(&mut self, n: u64) -> bool {
        self.says(Direction::Down);
        self.down += n;
        self.is_due()
    }

    fn says(&mut self, direction: Direction) {
        if self
            .last
            .replace(direction)
            .is_some_and(|last| last != direction)
        {
            self.up = self.up.saturating_sub(CHANGE);
            self.down = self.down.saturating_sub(CHANGE);
        }
    }

    fn is_due(&mut self) -> bool {
        let is_due = self.up.max(self.down) >= self.at;
        while self.up.max(self.down) >= self.at {
            self.at = self.at.saturating_mul(PATIENCE);
        }
        is_due
    }
}

impl Default for Due {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_offer_is_due_with_the_last_byte_of_the_threshold_in_one_direction() {
        let mut due = Due::new();
        assert!(!due.up(THRESHOLD - 1));
        assert!(!due.down(THRESHOLD - 1));
        assert!(due.down(1));
        assert!(!due.up(1), "asked twice for the same bytes");
    }

    #[test]
    fn after_each_offer_sixteen_times_as_much_must_come() {
        let mut due = Due::new();
        assert!(due.up(THRESHOLD));
        assert!(!due.up(15 * THRESHOLD - 1));
        assert!(due.up(1));
        // One large step is one offer.
        assert!(due.up(1 << 40));
        assert!(!due.up(1));
    }
    #[test]
    fn small_questions_and_answers_are_never_due_and_large_answers_soon() {
        let rounds = |question, answer| {
            let mut due = Due::new();
            (1..=10_000).find(|_| due.up(question) || due.down(answer))
        };
        assert_eq!(rounds(200, 8 * 1024), None);
        assert_eq!(rounds(8 * 1024, 200), None);
        // A peer that acknowledges each 32 KiB keeps nobody from a leg.
        assert_eq!(rounds(32 * 1024, 50), Some(3));
        assert_eq!(rounds(200, 40 * 1024), Some(2));
        assert_eq!(rounds(200, THRESHOLD), Some(1));
    }
}
