//! The filter of an addressbook-query (RFC 6352 §10.5) and its evaluation on a card.
//!
//! [`parse_report`](crate::request::parse_report) makes a [`Filter`] of a request.
//! [`Filter::needs`] says what an index has to hold in order to answer it, and
//! [`Filter::matches`] decides about one card, an [`Evaluation`] about many. The cost is that of
//! reading each card once, times the number of conditions, which the parser caps.

mod collation;
mod evaluation;
mod value;

use std::borrow::Cow;
use std::collections::BTreeSet;

pub use collation::Collation;
pub use evaluation::Evaluation;
use value::Value;

/// Which cards an addressbook-query asks for (RFC 6352 §10.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// How the conditions are joined.
    pub test: Test,
    /// The conditions; with none, every card matches.
    pub prop_filters: Vec<PropFilter>,
}

/// How conditions are joined (RFC 6352 §10.5, attribute `test`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Test {
    /// All have to hold.
    AllOf,
    /// One has to hold, which is what a request means that does not say.
    #[default]
    AnyOf,
}

/// A condition on the properties of one name (RFC 6352 §10.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropFilter {
    /// The group that the property has to be in, `item1` in `item1.TEL`; `None` takes any and none.
    pub group: Option<String>,
    /// The name of the property; its case means nothing.
    pub name: String,
    /// What has to hold for the property.
    pub condition: PropCondition,
}

/// What a [`PropFilter`] asks of the properties with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropCondition {
    /// There is no such property (RFC 6352 §10.5.3).
    IsNotDefined,
    /// There is such a property, and all or any of the conditions hold for one and the same
    /// occurrence of it. Without conditions it only has to be there.
    Defined {
        /// How the conditions are joined, text matches and parameters alike.
        test: Test,
        /// Conditions on the value.
        text_matches: Vec<TextMatch>,
        /// Conditions on the parameters.
        param_filters: Vec<ParamFilter>,
    },
}

/// A condition on a parameter of a property (RFC 6352 §10.5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamFilter {
    /// The name of the parameter; its case means nothing.
    pub name: String,
    /// What has to hold for the parameter.
    pub condition: ParamCondition,
}

/// What a [`ParamFilter`] asks of the parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamCondition {
    /// The property has no such parameter.
    IsNotDefined,
    /// The property has the parameter, with any value.
    Defined,
    /// One value of the parameter matches.
    Text(TextMatch),
}

/// A condition on a text (RFC 6352 §10.5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextMatch {
    text: String,
    /// The text as the collation compares it.
    key: String,
    collation: Collation,
    match_type: MatchType,
    negate: bool,
}

/// Where a text has to be found (RFC 6352 §10.5.4, attribute `match-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchType {
    /// Anywhere, which is what a request means that does not say.
    #[default]
    Contains,
    /// At the end.
    EndsWith,
    /// It is the whole text.
    Equals,
    /// At the start.
    StartsWith,
}

/// One property of a card, as [`Filter::matches`] looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Property<'a> {
    /// The group, `item1` in `item1.TEL`. Needed only where [`Needs::groups`] says so.
    pub group: Option<Cow<'a, str>>,
    /// The name, in any case.
    pub name: Cow<'a, str>,
    /// The parameters. Needed only where [`Needs::parameters`] says so.
    pub parameters: Vec<Parameter<'a>>,
    /// The value as text, decoded and unescaped.
    pub value: Cow<'a, str>,
}

/// One parameter of a property. A bare value of vCard 2.1 is a value of `TYPE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// The name, in any case.
    pub name: Cow<'a, str>,
    /// The values without quotes.
    pub values: Vec<Cow<'a, str>>,
}

/// What has to be known of a card in order to evaluate a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The names of the properties in upper case; others make no difference.
    pub names: BTreeSet<String>,
    /// Whether parameters are looked at.
    pub parameters: bool,
    /// Whether groups are looked at.
    pub groups: bool,
}

impl Filter {
    /// Whether a card with these properties matches. Properties that [`Filter::needs`] does not
    /// name may be left out. A card without properties matches nothing but `is-not-defined`, and
    /// the filter without conditions.
    pub fn matches<'a>(&self, properties: impl IntoIterator<Item = Property<'a>>) -> bool {
        let mut evaluation = Evaluation::new(self);
        for property in properties {
            evaluation.see(&property);
        }
        evaluation.decide()
    }

    /// The conditions on values, in any order.
    fn text_matches(&self) -> impl Iterator<Item = &TextMatch> {
        self.prop_filters
            .iter()
            .flat_map(|filter| match &filter.condition {
                PropCondition::IsNotDefined => &[][..],
                PropCondition::Defined { text_matches, .. } => text_matches,
            })
    }

    /// What the filter looks at, so that an index can tell whether it is enough.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        for filter in &self.prop_filters {
            needs.names.insert(filter.name.to_ascii_uppercase());
            needs.groups |= filter.group.is_some();
            needs.parameters |= matches!(
                &filter.condition,
                PropCondition::Defined { param_filters, .. } if !param_filters.is_empty()
            );
        }
        needs
    }
}

impl PropFilter {
    fn is_about(&self, property: &Property<'_>) -> bool {
        let same_group = self.group.as_ref().is_none_or(|group| {
            property
                .group
                .as_ref()
                .is_some_and(|found| found.eq_ignore_ascii_case(group))
        });
        same_group && property.name.eq_ignore_ascii_case(&self.name)
    }

    fn holds_for(&self, property: &Property<'_>, value: &Value<'_>) -> bool {
        let PropCondition::Defined {
            test,
            text_matches,
            param_filters,
        } = &self.condition
        else {
            return false;
        };
        let mut results = text_matches
            .iter()
            .map(|text_match| value.has(text_match) != text_match.negate)
            .chain(
                param_filters
                    .iter()
                    .map(|filter| filter.holds_for(&property.parameters)),
            );
        (text_matches.is_empty() && param_filters.is_empty())
            || match test {
                Test::AllOf => results.all(|holds| holds),
                Test::AnyOf => results.any(|holds| holds),
            }
    }
}

impl ParamFilter {
    fn holds_for(&self, parameters: &[Parameter<'_>]) -> bool {
        let mut named = parameters
            .iter()
            .filter(|parameter| parameter.name.eq_ignore_ascii_case(&self.name));
        match &self.condition {
            ParamCondition::IsNotDefined => named.next().is_none(),
            ParamCondition::Defined => named.next().is_some(),
            ParamCondition::Text(text_match) => named
                .flat_map(|parameter| &parameter.values)
                .any(|value| text_match.matches(value)),
        }
    }
}

impl TextMatch {
    /// A condition that `text` is found where `match_type` says, or is not when `negate` is set.
    pub fn new(
        text: impl Into<String>,
        collation: Collation,
        match_type: MatchType,
        negate: bool,
    ) -> Self {
        let text = text.into();
        Self {
            key: collation.key(&text).into_owned(),
            text,
            collation,
            match_type,
            negate,
        }
    }

    /// Whether the condition holds for a text.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_key(&self.collation.key(text))
    }

    /// Whether the condition holds for a text of which [`Collation::key`] gave this key, as an index
    /// keeps it.
    pub fn matches_key(&self, key: &str) -> bool {
        self.match_type.finds(&self.key, key) != self.negate
    }

    /// The text as the client wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text as the collation compares it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How texts are compared.
    pub fn collation(&self) -> Collation {
        self.collation
    }

    /// Where the text has to be found.
    pub fn match_type(&self) -> MatchType {
        self.match_type
    }

    /// Whether the condition holds where the text is not found.
    pub fn negates(&self) -> bool {
        self.negate
    }
}

impl MatchType {
    fn finds(self, key: &str, text: &str) -> bool {
        match self {
            Self::Contains => text.contains(key),
            Self::EndsWith => text.ends_with(key),
            Self::Equals => text == key,
            Self::StartsWith => text.starts_with(key),
        }
    }
}

#[cfg(test)]
mod tests;
