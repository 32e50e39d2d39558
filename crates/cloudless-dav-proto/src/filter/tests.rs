use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn property<'a>(name: &'a str, value: &'a str) -> Property<'a> {
    Property {
        name: name.into(),
        value: value.into(),
        ..Property::default()
    }
}

fn found(collation: Collation, match_type: MatchType, text: &str, value: &str) -> bool {
    TextMatch::new(text, collation, match_type, false).matches(value)
}

#[test]
fn collations_tell_apart_what_they_should() {
    use Collation::{AsciiCasemap, Octet, UnicodeCasemap};
    let equal = |collation, a, b| found(collation, MatchType::Equals, a, b);
    assert!(equal(Octet, "Mäx", "Mäx"));
    assert!(!equal(Octet, "max", "Max"));
    assert!(equal(AsciiCasemap, "MAX", "max"));
    assert!(!equal(AsciiCasemap, "MÄX", "mäx"));
    assert!(equal(UnicodeCasemap, "MÄX", "mäx"));
    // Composed and decomposed, wide and narrow, final and other sigma, ligatures.
    assert!(equal(UnicodeCasemap, "a\u{308}", "Ä"));
    assert!(equal(UnicodeCasemap, "ＡＢ", "ab"));
    assert!(equal(UnicodeCasemap, "Σίσυφος", "ΣΊΣΥΦΟΣ"));
    assert!(equal(UnicodeCasemap, "ﬁne", "FINE"));
    assert!(equal(UnicodeCasemap, "Straße", "STRASSE"));
    assert!(equal(UnicodeCasemap, "ГОР", "гор"));
    assert!(!equal(UnicodeCasemap, "Jose", "José"));
}

#[test]
fn match_types() {
    let found = |match_type, text| found(Collation::Octet, match_type, text, "abcab");
    for (match_type, yes, no) in [
        (MatchType::Contains, "bca", "ba"),
        (MatchType::EndsWith, "cab", "abc"),
        (MatchType::Equals, "abcab", "abca"),
        (MatchType::StartsWith, "abc", "cab"),
    ] {
        assert!(found(match_type, yes), "{match_type:?}");
        assert!(!found(match_type, no), "{match_type:?}");
    }
    assert!(found(MatchType::Contains, ""));
}

#[test]
fn an_empty_filter_matches_even_an_empty_card() {
    for test in [Test::AllOf, Test::AnyOf] {
        let filter = Filter {
            test,
            prop_filters: vec![],
        };
        assert!(filter.matches([]));
    }
}

#[test]
fn all_conditions_hold_for_one_and_the_same_occurrence() {
    let text = |text: &str, negate| {
        TextMatch::new(text, Collation::default(), MatchType::Contains, negate)
    };
    let home = ParamFilter {
        name: "TYPE".into(),
        condition: ParamCondition::Text(TextMatch::new(
            "home",
            Collation::default(),
            MatchType::Equals,
            false,
        )),
    };
    let filter = Filter {
        test: Test::AllOf,
        prop_filters: vec![PropFilter {
            group: None,
            name: "email".into(),
            condition: PropCondition::Defined {
                test: Test::AllOf,
                text_matches: vec![text("@example.com", false), text("spam", true)],
                param_filters: vec![home],
            },
        }],
    };
    let email = |value: &'static str, types: &[&'static str]| Property {
        parameters: vec![Parameter {
            name: "type".into(),
            values: types.iter().map(|it| (*it).into()).collect(),
        }],
        ..property("EMAIL", value)
    };
    assert!(filter.matches([email("a@EXAMPLE.com", &["INTERNET", "HOME"])]));
    assert!(!filter.matches([
        email("a@example.com", &["WORK"]),
        email("a@example.org", &["HOME"]),
        email("spam@example.com", &["home"]),
    ]));
}

#[test]
fn groups_count_only_where_the_filter_names_one() {
    let filter = |group: Option<&str>| Filter {
        test: Test::AnyOf,
        prop_filters: vec![PropFilter {
            group: group.map(str::to_owned),
            name: "TEL".into(),
            condition: PropCondition::Defined {
                test: Test::AnyOf,
                text_matches: vec![],
                param_filters: vec![],
            },
        }],
    };
    let tel = |group: Option<&'static str>| Property {
        group: group.map(Into::into),
        ..property("tel", "1")
    };
    assert!(filter(None).matches([tel(None)]));
    assert!(filter(None).matches([tel(Some("item1"))]));
    assert!(filter(Some("ITEM1")).matches([tel(Some("item1"))]));
    assert!(!filter(Some("item1")).matches([tel(Some("item2"))]));
    assert!(!filter(Some("item1")).matches([tel(None)]));
}

#[test]
fn needs_name_what_is_looked_at() {
    let condition = PropCondition::Defined {
        test: Test::AnyOf,
        text_matches: vec![],
        param_filters: vec![ParamFilter {
            name: "TYPE".into(),
            condition: ParamCondition::Defined,
        }],
    };
    let prop_filter = |group: Option<&str>, name: &str, condition| PropFilter {
        group: group.map(str::to_owned),
        name: name.into(),
        condition,
    };
    let mut filter = Filter::default();
    assert_eq!(filter.needs(), Needs::default());
    filter
        .prop_filters
        .push(prop_filter(None, "fn", PropCondition::IsNotDefined));
    filter.prop_filters.push(prop_filter(
        None,
        "FN",
        PropCondition::Defined {
            test: Test::AnyOf,
            text_matches: vec![],
            param_filters: vec![],
        },
    ));
    let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(
        filter.needs(),
        Needs {
            names: names(&["FN"]),
            ..Needs::default()
        }
    );
    filter
        .prop_filters
        .push(prop_filter(Some("item1"), "tel", condition));
    assert_eq!(
        filter.needs(),
        Needs {
            names: names(&["FN", "TEL"]),
            parameters: true,
            groups: true,
        }
    );
}

/// The rules of RFC 6352 §10.5 word by word, with no regard to cost.
mod model {
    use super::*;

    pub(super) fn matches(filter: &Filter, card: &[Property<'_>]) -> bool {
        let results: Vec<bool> = filter
            .prop_filters
            .iter()
            .map(|filter| prop_filter(filter, card))
            .collect();
        results.is_empty() || join(filter.test, &results)
    }

    fn prop_filter(filter: &PropFilter, card: &[Property<'_>]) -> bool {
        let named: Vec<_> = card
            .iter()
            .filter(|property| property.name.to_uppercase() == filter.name.to_uppercase())
            .filter(|property| {
                filter.group.is_none() || property.group.as_deref() == filter.group.as_deref()
            })
            .collect();
        match &filter.condition {
            PropCondition::IsNotDefined => named.is_empty(),
            PropCondition::Defined {
                test,
                text_matches,
                param_filters,
            } => named.iter().any(|property| {
                let mut results: Vec<bool> = Vec::new();
                for it in text_matches {
                    results.push(text_match(it, &property.value));
                }
                for it in param_filters {
                    results.push(param_filter(it, property));
                }
                results.is_empty() || join(*test, &results)
            }),
        }
    }

    fn param_filter(filter: &ParamFilter, property: &Property<'_>) -> bool {
        let values: Vec<&str> = property
            .parameters
            .iter()
            .filter(|it| it.name == filter.name)
            .flat_map(|it| it.values.iter().map(|value| &**value))
            .collect();
        let defined = property.parameters.iter().any(|it| it.name == filter.name);
        match &filter.condition {
            ParamCondition::IsNotDefined => !defined,
            ParamCondition::Defined => defined,
            ParamCondition::Text(it) => values.iter().any(|value| text_match(it, value)),
        }
    }

    fn text_match(it: &TextMatch, value: &str) -> bool {
        let fold = |text: &str| match it.collation() {
            Collation::Octet => text.to_owned(),
            _ => text.to_lowercase(),
        };
        let (text, value) = (fold(it.text()), fold(value));
        let found = match it.match_type() {
            MatchType::Contains => value.contains(&text),
            MatchType::EndsWith => value.ends_with(&text),
            MatchType::Equals => value == text,
            MatchType::StartsWith => value.starts_with(&text),
        };
        if it.negates() { !found } else { found }
    }

    fn join(test: Test, results: &[bool]) -> bool {
        match test {
            Test::AllOf => !results.contains(&false),
            Test::AnyOf => results.contains(&true),
        }
    }
}

fn any_test() -> impl Strategy<Value = Test> {
    select(vec![Test::AllOf, Test::AnyOf])
}

fn any_text_match() -> impl Strategy<Value = TextMatch> {
    let match_type = select(vec![
        MatchType::Contains,
        MatchType::EndsWith,
        MatchType::Equals,
        MatchType::StartsWith,
    ]);
    (
        "[abAB]{0,2}",
        select(Collation::ALL.to_vec()),
        match_type,
        any::<bool>(),
    )
        .prop_map(|(text, collation, match_type, negate)| {
            TextMatch::new(text, collation, match_type, negate)
        })
}

fn any_param_filter() -> impl Strategy<Value = ParamFilter> {
    let condition = prop_oneof![
        Just(ParamCondition::IsNotDefined),
        Just(ParamCondition::Defined),
        any_text_match().prop_map(ParamCondition::Text),
    ];
    ("[P-Q]", condition).prop_map(|(name, condition)| ParamFilter { name, condition })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let defined = (
        any_test(),
        vec(any_text_match(), 0..3),
        vec(any_param_filter(), 0..3),
    )
        .prop_map(
            |(test, text_matches, param_filters)| PropCondition::Defined {
                test,
                text_matches,
                param_filters,
            },
        );
    let condition = prop_oneof![1 => Just(PropCondition::IsNotDefined), 4 => defined];
    let prop_filter =
        (prop::option::of("[gh]"), "[a-bA-B]", condition).prop_map(|(group, name, condition)| {
            PropFilter {
                group,
                name,
                condition,
            }
        });
    (any_test(), vec(prop_filter, 0..4))
        .prop_map(|(test, prop_filters)| Filter { test, prop_filters })
}

fn any_property() -> impl Strategy<Value = Property<'static>> {
    let parameter = ("[P-Q]", vec("[abAB]{0,3}", 0..3)).prop_map(|(name, values)| Parameter {
        name: name.into(),
        values: values.into_iter().map(Cow::Owned).collect(),
    });
    (
        prop::option::of("[gh]"),
        "[a-bA-B]",
        vec(parameter, 0..3),
        "[abAB]{0,4}",
    )
        .prop_map(|(group, name, parameters, value)| Property {
            group: group.map(Cow::Owned),
            name: name.into(),
            parameters,
            value: value.into(),
        })
}

proptest! {
    #[test]
    fn a_filter_decides_as_the_rfc_reads(filter in any_filter(), card in vec(any_property(), 0..6)) {
        prop_assert_eq!(filter.matches(card.iter().cloned()), model::matches(&filter, &card));
    }

    #[test]
    fn what_is_not_needed_makes_no_difference(
        filter in any_filter(),
        card in vec(any_property(), 0..6),
    ) {
        let needs = filter.needs();
        let reduced = card
            .iter()
            .filter(|property| needs.names.contains(&property.name.to_ascii_uppercase()))
            .map(|property| Property {
                group: property.group.clone().filter(|_| needs.groups),
                parameters: if needs.parameters { property.parameters.clone() } else { vec![] },
                ..property.clone()
            });
        prop_assert_eq!(filter.matches(reduced), filter.matches(card.clone()));
    }

    #[test]
    fn a_key_is_its_own_key(text in "\\PC{0,12}") {
        for collation in Collation::ALL {
            let key = collation.key(&text);
            prop_assert_eq!(&collation.key(&key), &key);
        }
    }
}
