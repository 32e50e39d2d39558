use super::document::{Document, Element};
use super::properties::PropsReader;
use super::{FILTER_TEXT_LEN_MAX, FILTERS_MAX, Report, RequestError, property_name, result_limit};
use crate::filter::{
    Collation, Filter, MatchType, ParamCondition, ParamFilter, PropCondition, PropFilter, Test,
    TextMatch,
};
use crate::{CARDDAV, DAV};

pub(super) fn read(document: &mut Document<'_>) -> Result<Report, RequestError> {
    let mut props = PropsReader::default();
    let mut filter = Filter::default();
    let mut limit = None;
    while let Some(child) = document.child()? {
        if props.take(&child, document)? {
            continue;
        }
        if child.is(CARDDAV, "filter") {
            filter = FilterReader::default().filter(&child, document)?;
        } else if child.is(CARDDAV, "limit") || child.is(DAV, "limit") {
            limit = result_limit(document)?.or(limit);
        } else {
            document.skip()?;
        }
    }
    Ok(Report::AddressbookQuery {
        props: props.finish(),
        filter,
        limit,
    })
}

/// Reads a filter and counts its conditions.
#[derive(Default)]
struct FilterReader {
    conditions: usize,
}

impl FilterReader {
    fn filter(
        &mut self,
        element: &Element<'_>,
        document: &mut Document<'_>,
    ) -> Result<Filter, RequestError> {
        let mut filter = Filter {
            test: test(element)?,
            prop_filters: Vec::new(),
        };
        while let Some(child) = document.child()? {
            if !child.is(CARDDAV, "prop-filter") {
                return Err(RequestError::UnsupportedFilter(child.name()?));
            }
            filter
                .prop_filters
                .push(self.prop_filter(&child, document)?);
        }
        Ok(filter)
    }

    fn prop_filter(
        &mut self,
        element: &Element<'_>,
        document: &mut Document<'_>,
    ) -> Result<PropFilter, RequestError> {
        self.count()?;
        let (group, name) = property_name(&name(element)?);
        let test = test(element)?;
        let mut is_not_defined = false;
        let mut text_matches = Vec::new();
        let mut param_filters = Vec::new();
        while let Some(child) = document.child()? {
            if child.is(CARDDAV, "is-not-defined") {
                is_not_defined = true;
                document.skip()?;
            } else if child.is(CARDDAV, "text-match") {
                text_matches.push(self.text_match(&child, document)?);
            } else if child.is(CARDDAV, "param-filter") {
                param_filters.push(self.param_filter(&child, document)?);
            } else {
                return Err(RequestError::UnsupportedFilter(child.name()?));
            }
        }
        let condition = if !is_not_defined {
            PropCondition::Defined {
                test,
                text_matches,
                param_filters,
            }
        } else if text_matches.is_empty() && param_filters.is_empty() {
            PropCondition::IsNotDefined
        } else {
            return Err(RequestError::FilterContradiction);
        };
        Ok(PropFilter {
            group,
            name,
            condition,
        })
    }

    fn param_filter(
        &mut self,
        element: &Element<'_>,
        document: &mut Document<'_>,
    ) -> Result<ParamFilter, RequestError> {
        self.count()?;
        let name = name(element)?;
        let mut condition = ParamCondition::Defined;
        while let Some(child) = document.child()? {
            if condition != ParamCondition::Defined {
                return Err(RequestError::FilterContradiction);
            }
            if child.is(CARDDAV, "is-not-defined") {
                condition = ParamCondition::IsNotDefined;
                document.skip()?;
            } else if child.is(CARDDAV, "text-match") {
                condition = ParamCondition::Text(self.text_match(&child, document)?);
            } else {
                return Err(RequestError::UnsupportedFilter(child.name()?));
            }
        }
        Ok(ParamFilter { name, condition })
    }

    fn text_match(
        &mut self,
        element: &Element<'_>,
        document: &mut Document<'_>,
    ) -> Result<TextMatch, RequestError> {
        self.count()?;
        let collation = match element.attribute("collation")? {
            None => Collation::default(),
            Some(name) => {
                Collation::named(&name).ok_or_else(|| RequestError::UnsupportedCollation {
                    collation: name.chars().take(COLLATION_SHOWN_MAX).collect(),
                })?
            }
        };
        let match_type = match element.attribute("match-type")?.as_deref() {
            None | Some("contains") => MatchType::Contains,
            Some("ends-with") => MatchType::EndsWith,
            Some("equals") => MatchType::Equals,
            Some("starts-with") => MatchType::StartsWith,
            Some(_) => return Err(RequestError::FilterAttribute("match-type")),
        };
        let negate = match element.attribute("negate-condition")?.as_deref() {
            None | Some("no") => false,
            Some("yes") => true,
            Some(_) => return Err(RequestError::FilterAttribute("negate-condition")),
        };
        let text = document.exact_text(FILTER_TEXT_LEN_MAX)?;
        let text = text.ok_or(RequestError::FilterTextTooLong)?;
        Ok(TextMatch::new(text, collation, match_type, negate))
    }

    fn count(&mut self) -> Result<(), RequestError> {
        self.conditions += 1;
        if self.conditions > FILTERS_MAX {
            return Err(RequestError::TooManyFilters);
        }
        Ok(())
    }
}

/// As much of a collation's name as the error tells.
const COLLATION_SHOWN_MAX: usize = 64;

fn test(element: &Element<'_>) -> Result<Test, RequestError> {
    match element.attribute("test")?.as_deref() {
        None | Some("anyof") => Ok(Test::AnyOf),
        Some("allof") => Ok(Test::AllOf),
        Some(_) => Err(RequestError::FilterAttribute("test")),
    }
}

fn name(element: &Element<'_>) -> Result<String, RequestError> {
    match element.attribute("name")? {
        None => Err(RequestError::FilterAttribute("name")),
        Some(name) if name.is_empty() => Err(RequestError::FilterAttribute("name")),
        Some(name) if name.len() > FILTER_TEXT_LEN_MAX => Err(RequestError::FilterTextTooLong),
        Some(name) => Ok(name),
    }
}
