use super::value::Value;
use super::{Filter, PropCondition, PropFilter, Property, Test};

/// Decides about one card after the other, each told property by property, so that nothing of a
/// card has to be held.
#[derive(Debug)]
pub struct Evaluation<'a> {
    filter: &'a Filter,
    /// In the order of the filter's conditions.
    found: Vec<Found>,
}

/// What is known of a [`PropFilter`] while a card is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Absent,
    Present,
    Matching,
}

impl<'a> Evaluation<'a> {
    /// Begins with a card of which nothing is known yet.
    pub fn new(filter: &'a Filter) -> Self {
        Self {
            filter,
            found: vec![Found::Absent; filter.prop_filters.len()],
        }
    }

    /// Takes a property of the card into account. Properties that [`Filter::needs`] does not name
    /// may be left out.
    pub fn see(&mut self, property: &Property<'_>) {
        let value = Value::new(&property.value, self.filter);
        for (filter, found) in self.filter.prop_filters.iter().zip(&mut self.found) {
            if *found != Found::Matching && filter.is_about(property) {
                *found = if filter.holds_for(property, &value) {
                    Found::Matching
                } else {
                    Found::Present
                };
            }
        }
    }

    /// Whether the card with the properties seen matches. What is seen after that is of the next
    /// card. A card without properties matches nothing but `is-not-defined`, and the filter without
    /// conditions.
    pub fn decide(&mut self) -> bool {
        let holds = |(filter, found): (&PropFilter, &Found)| match filter.condition {
            PropCondition::IsNotDefined => *found == Found::Absent,
            PropCondition::Defined { .. } => *found == Found::Matching,
        };
        let mut results = self.filter.prop_filters.iter().zip(&self.found).map(holds);
        let matches = self.filter.prop_filters.is_empty()
            || match self.filter.test {
                Test::AllOf => results.all(|holds| holds),
                Test::AnyOf => results.any(|holds| holds),
            };
        self.found.fill(Found::Absent);
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Collation, MatchType, TextMatch};
    use super::*;

    #[test]
    fn what_was_seen_of_one_card_says_nothing_of_the_next() {
        let text_match = TextMatch::new("ada", Collation::default(), MatchType::Contains, false);
        let filter = Filter {
            test: Test::AllOf,
            prop_filters: vec![PropFilter {
                group: None,
                name: "FN".to_owned(),
                condition: PropCondition::Defined {
                    test: Test::AllOf,
                    text_matches: vec![text_match],
                    param_filters: Vec::new(),
                },
            }],
        };
        let full_name = |value: &'static str| Property {
            name: "FN".into(),
            value: value.into(),
            ..Property::default()
        };
        let mut evaluation = Evaluation::new(&filter);
        evaluation.see(&full_name("Ada"));
        evaluation.see(&full_name("Bert"));
        assert!(evaluation.decide());
        assert!(!evaluation.decide());
        evaluation.see(&full_name("Bert"));
        assert!(!evaluation.decide());
    }
}
