//! A value that many conditions look at.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::collation::fold;
use super::{Collation, Filter, MatchType, TextMatch};

/// A text that is longer is not compared as a whole: its key in `i;unicode-casemap` would be too
/// much to hold in memory.
const WHOLE_MAX: usize = 64 * 1024;

/// A value of a property, made comparable once however many conditions of a filter ask for it.
pub(super) struct Value<'a> {
    text: &'a str,
    filter: &'a Filter,
    ascii_casemap: OnceCell<Cow<'a, str>>,
    unicode_casemap: OnceCell<Folded<'a>>,
}

/// A value in `i;unicode-casemap`.
enum Folded<'a> {
    Whole(Cow<'a, str>),
    /// Of what the filter looks for, the part that is there.
    Searched(BTreeSet<(MatchType, &'a str)>),
}

impl<'a> Value<'a> {
    pub(super) fn new(text: &'a str, filter: &'a Filter) -> Self {
        Self {
            text,
            filter,
            ascii_casemap: OnceCell::new(),
            unicode_casemap: OnceCell::new(),
        }
    }

    /// Whether the text is found that a condition of the filter names, negated or not.
    pub(super) fn has(&self, condition: &TextMatch) -> bool {
        let TextMatch {
            key, match_type, ..
        } = condition;
        match condition.collation {
            Collation::Octet => match_type.finds(key, self.text),
            collation @ Collation::AsciiCasemap => {
                let value = self.ascii_casemap.get_or_init(|| collation.key(self.text));
                match_type.finds(key, value)
            }
            Collation::UnicodeCasemap => match self.unicode_casemap.get_or_init(|| self.folded()) {
                Folded::Whole(value) => match_type.finds(key, value),
                Folded::Searched(found) => found.contains(&(*match_type, key.as_str())),
            },
        }
    }

    fn folded(&self) -> Folded<'a> {
        // The key of an ASCII text is as long as the text.
        if self.text.len() <= WHOLE_MAX || self.text.is_ascii() {
            return Folded::Whole(Collation::UnicodeCasemap.key(self.text));
        }
        let wanted = self
            .filter
            .text_matches()
            .filter(|it| it.collation == Collation::UnicodeCasemap)
            .map(|it| (it.match_type, it.key.as_str()));
        Folded::Searched(search(fold(self.text.chars()), wanted.collect(), WHOLE_MAX))
    }
}

/// Which of these keys are found in a text of which only a window is held. It moves on by about
/// `step` bytes, or by the length of the longest key if that is more, and holds that key besides.
fn search(
    mut text: impl Iterator<Item = char>,
    mut wanted: BTreeSet<(MatchType, &str)>,
    step: usize,
) -> BTreeSet<(MatchType, &str)> {
    let longest = wanted.iter().map(|(_, key)| key.len()).max().unwrap_or(0);
    let window_len = longest + step.max(longest).max(char::MAX_LEN_UTF8);
    let mut found = BTreeSet::new();
    let mut window = String::with_capacity(window_len + char::MAX_LEN_UTF8);
    let (mut is_first, mut is_last) = (true, false);
    while !is_last && !wanted.is_empty() {
        while window.len() <= window_len && !is_last {
            match text.next() {
                Some(character) => window.push(character),
                None => is_last = true,
            }
        }
        wanted.retain(|&(match_type, key)| {
            let is_possible = match match_type {
                MatchType::Contains => true,
                MatchType::EndsWith => is_last,
                MatchType::Equals => is_first && is_last,
                MatchType::StartsWith => is_first,
            };
            let is_found = is_possible && match_type.finds(key, &window);
            if is_found {
                found.insert((match_type, key));
            }
            let is_over = match match_type {
                MatchType::Contains | MatchType::EndsWith => false,
                MatchType::Equals | MatchType::StartsWith => true,
            };
            !is_found && !is_over
        });
        // What lies across two windows, or at the end, is found with the last bytes of this one.
        window.drain(..window.floor_char_boundary(window.len() - longest.min(window.len())));
        is_first = false;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::{PropCondition, PropFilter, Property, Test};
    use super::*;

    const MATCH_TYPES: [MatchType; 4] = [
        MatchType::Contains,
        MatchType::EndsWith,
        MatchType::Equals,
        MatchType::StartsWith,
    ];

    fn contains(key: &str) -> BTreeSet<(MatchType, &str)> {
        BTreeSet::from([(MatchType::Contains, key)])
    }

    #[test]
    fn no_more_is_read_than_it_takes() {
        let endless = || "ab".chars().cycle();
        assert_eq!(search(endless(), contains("ba"), 8), contains("ba"));
        let at_the_start = |key| BTreeSet::from([(MatchType::StartsWith, key)]);
        assert!(search(endless(), at_the_start("ba"), 8).is_empty());
        assert!(search(endless(), BTreeSet::new(), 8).is_empty());
    }

    /// However many marks there are, not all of them are put in order before the first is looked at.
    #[test]
    fn endless_marks_are_no_endless_wait() {
        let marks = || {
            fold(
                "a\u{301}\u{323}"
                    .chars()
                    .chain("\u{301}\u{323}".chars().cycle()),
            )
        };
        assert_eq!(marks().take(1000).count(), 1000);
        assert_eq!(search(marks(), contains("\u{301}"), 8).len(), 1);
    }

    #[test]
    fn a_long_value_is_never_held_as_its_key() {
        let text = "\u{fdfa}".repeat(WHOLE_MAX);
        let condition = |key: &str, negate| {
            TextMatch::new(key, Collation::UnicodeCasemap, MatchType::EndsWith, negate)
        };
        let text_matches = vec![condition("وسلم", false), condition("وسلا", true)];
        let filter = Filter {
            test: Test::AllOf,
            prop_filters: vec![PropFilter {
                group: None,
                name: "NOTE".to_owned(),
                condition: PropCondition::Defined {
                    test: Test::AllOf,
                    text_matches: text_matches.clone(),
                    param_filters: Vec::new(),
                },
            }],
        };
        let value = Value::new(&text, &filter);
        assert!(matches!(value.folded(), Folded::Searched(_)));
        let found: Vec<bool> = text_matches.iter().map(|it| value.has(it)).collect();
        assert_eq!(found, [true, false]);
        let property = Property {
            name: "NOTE".into(),
            value: text.as_str().into(),
            ..Property::default()
        };
        assert!(filter.matches([property]));
    }

    proptest! {
        /// Letters of one, two and three bytes, few enough that keys are found.
        #[test]
        fn a_window_finds_what_is_in_the_whole(
            text in "[abä\u{fb01}]{0,40}",
            keys in vec((select(MATCH_TYPES.to_vec()), "[abä\u{fb01}]{0,4}"), 0..8),
            step in 0_usize..8,
        ) {
            let wanted: BTreeSet<_> = keys.iter().map(|(kind, key)| (*kind, key.as_str())).collect();
            let naive: BTreeSet<_> = wanted
                .iter()
                .copied()
                .filter(|(match_type, key)| match_type.finds(key, &text))
                .collect();
            prop_assert_eq!(search(text.chars(), wanted, step), naive);
        }

        /// RFC 5051: what is folded piece by piece compares as what is folded as a whole.
        #[test]
        fn a_long_value_is_compared_as_a_short_one(
            text in r"(\PC|[ÄäΣσςß\u{308}\u{fdfa}]){1,12}",
            key in "[ÄaSsΣσ\u{308}]{0,3}",
            match_type in select(MATCH_TYPES.to_vec()),
        ) {
            let condition = TextMatch::new(key, Collation::UnicodeCasemap, match_type, false);
            let wanted = BTreeSet::from([(match_type, condition.key())]);
            let found = !search(fold(text.chars()), wanted, 0).is_empty();
            prop_assert_eq!(found, condition.matches(&text));
        }
    }
}
