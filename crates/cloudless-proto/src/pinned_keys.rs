//! The keys by which a home trusts one relay, while that relay rotates its own.

use serde::{Deserialize, Serialize};

use crate::PublicKey;

/// More keys than this at a time no relay has.
const KEYS_MAX: usize = 4;

/// The keys by which a home trusts one relay: one to four, the newest first.
///
/// The first is the one in the join code. Each session tells the relay's keys, and
/// [`after`](Self::after) decides what they are worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<PublicKey>", into = "Vec<PublicKey>")]
pub struct PinnedKeys(Vec<PublicKey>);

impl PinnedKeys {
    /// The one key of a join code.
    pub fn new(key: PublicKey) -> Self {
        Self(vec![key])
    }

    /// All of them, the newest first.
    pub fn keys(&self) -> &[PublicKey] {
        &self.0
    }

    /// Whether the relay may prove this key.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.0.contains(key)
    }

    /// What to pin in place of these keys once a relay that proved `proven` has said that its keys
    /// are `announced`, the newest first. `None` when nothing changes.
    ///
    /// Only whoever has the newest key is believed, and never about that key: whoever has stolen an
    /// older one can neither bring a key of theirs in nor put an old one back.
    pub fn after(&self, proven: &PublicKey, announced: &[PublicKey]) -> Option<Self> {
        let is_newest = self.0.first() == Some(proven);
        if !is_newest || !announced.contains(proven) || announced == self.0 {
            return None;
        }
        Self::try_from(announced.to_owned()).ok()
    }
}

impl TryFrom<Vec<PublicKey>> for PinnedKeys {
    type Error = InvalidPinnedKeys;

    fn try_from(keys: Vec<PublicKey>) -> Result<Self, Self::Error> {
        let is_repeated = |index: usize| keys[..index].contains(&keys[index]);
        if (1..=KEYS_MAX).contains(&keys.len()) && !(0..keys.len()).any(is_repeated) {
            Ok(Self(keys))
        } else {
            Err(InvalidPinnedKeys)
        }
    }
}

impl From<PinnedKeys> for Vec<PublicKey> {
    fn from(PinnedKeys(keys): PinnedKeys) -> Self {
        keys
    }
}

/// The list is empty, too long, or names a key twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a relay is trusted by one to {KEYS_MAX} keys, each of them once")]
pub struct InvalidPinnedKeys;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey([byte; 32])
    }

    fn pinned(bytes: &[u8]) -> PinnedKeys {
        let keys: Vec<_> = bytes.iter().copied().map(key).collect();
        PinnedKeys::try_from(keys).unwrap()
    }

    fn after(before: &[u8], proven: u8, announced: &[u8]) -> Option<PinnedKeys> {
        let announced: Vec<_> = announced.iter().copied().map(key).collect();
        pinned(before).after(&key(proven), &announced)
    }

    #[test]
    fn a_key_comes_in_by_the_old_one_and_the_old_one_goes_by_the_new() {
        assert_eq!(after(&[1], 1, &[1]), None);
        assert_eq!(after(&[1], 1, &[2, 1]), Some(pinned(&[2, 1])));
        assert_eq!(after(&[2, 1], 2, &[2, 1]), None);
        assert_eq!(after(&[2, 1], 2, &[2]), Some(pinned(&[2])));
        assert_eq!(after(&[2], 2, &[3, 2]), Some(pinned(&[3, 2])));
    }

    #[test]
    fn who_has_an_older_key_is_not_believed() {
        for announced in [&[1][..], &[9, 1], &[9, 2, 1], &[1, 2]] {
            assert_eq!(after(&[2, 1], 1, announced), None, "{announced:?}");
        }
    }

    #[test]
    fn the_key_that_was_proven_stays() {
        assert_eq!(after(&[1], 1, &[2]), None);
        assert_eq!(after(&[1], 1, &[]), None);
    }

    #[test]
    fn lists_are_short_and_name_each_key_once() {
        assert_eq!(after(&[1], 1, &[2, 2, 1]), None);
        assert_eq!(after(&[1], 1, &[5, 4, 3, 2, 1]), None);
        for json in ["[]", "[\"x\"]", "7"] {
            assert!(serde_json::from_str::<PinnedKeys>(json).is_err(), "{json}");
        }
    }

    proptest! {
        /// Whoever lacks the newest key changes nothing, whatever they prove and say.
        #[test]
        fn a_thief_of_old_keys_gets_nowhere(
            before in proptest::collection::hash_set(0..6_u8, 1..4),
            sayings in proptest::collection::vec((0..6_u8, proptest::collection::vec(0..6_u8, 0..5)), 0..8),
        ) {
            let before: Vec<u8> = before.into_iter().collect();
            for (proven, announced) in sayings {
                if proven != before[0] {
                    prop_assert_eq!(after(&before, proven, &announced), None);
                } else if let Some(now) = after(&before, proven, &announced) {
                    prop_assert!(now.contains(&key(proven)));
                }
            }
        }
    }
}
