use super::THRESHOLD;

/// How much more traffic the next offer asks for than the one before, as a factor.
const PATIENCE: u64 = 16;

/// When a visitor has moved enough bytes for the next offer of a leg.
///
/// The first offer is due at [`THRESHOLD`] bytes in one direction. Where that comes to nothing the
/// next is due at sixteen times as many, and so on: a path that takes no legs is asked seldom.
#[derive(Clone, Debug)]
pub struct Due {
    up: u64,
    down: u64,
    at: u64,
}

impl Due {
    /// A visitor that has moved nothing.
    pub fn new() -> Self {
        Self {
            up: 0,
            down: 0,
            at: THRESHOLD,
        }
    }

    /// Counts bytes from the visitor; returns whether an offer is due now.
    pub fn up(&mut self, n: u64) -> bool {
        self.up += n;
        self.is_due()
    }

    /// Counts bytes to the visitor; returns whether an offer is due now.
    pub fn down(&mut self, n: u64) -> bool {
        self.down += n;
        self.is_due()
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
}
