/// How many turns nobody is waited for after one in which nobody came.
const IMPATIENT_TURNS: u8 = 16;

/// Whether a turn that has written little is worth another one before it is sent, because others that
/// are ready now may write to the same record.
///
/// It never is twice in a row, and for a while not at all once it was in vain: a single visitor has
/// nobody to wait for.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// What was there when the turn before was not sent.
    waited_with: Option<usize>,
    n_impatient: u8,
}

impl Patience {
    /// So much is there at the end of a turn; says whether to wait for the next one.
    pub(crate) fn waits(&mut self, len: usize, enough: usize) -> bool {
        if let Some(before) = self.waited_with.take() {
            if len == before {
                self.n_impatient = IMPATIENT_TURNS;
            }
            return false;
        }
        if self.n_impatient > 0 {
            self.n_impatient -= 1;
            return false;
        }
        if len >= enough {
            return false;
        }
        self.waited_with = Some(len);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_waited_for_twice_and_after_one_wait_in_vain_not_for_a_while() {
        let mut patience = Patience::default();
        assert!(!patience.waits(100, 100), "enough is there");
        for len in [2, 3, 99] {
            assert!(patience.waits(1, 100));
            // Something came, or everything at once.
            assert!(!patience.waits(len, 100));
        }
        assert!(patience.waits(1, 100));
        assert!(!patience.waits(1, 100));
        for turn in 0..IMPATIENT_TURNS {
            assert!(!patience.waits(1, 100), "{turn}");
        }
        assert!(patience.waits(1, 100));
    }
}
