//! The `If` header (RFC 4918 §10.4).
//!
//! There are no locks here, so that a state token never matches. What is left are lists of entity
//! tags, which together allow either some states of the resource or all but some.

use cloudless_dav_proto::header::{If, IfError, List, State};
use cloudless_store::{ETag, Precondition};

use crate::resource::Resource;

/// Reads the header of a request for `resource`.
///
/// # Errors
/// When it is malformed.
pub(super) fn parse(value: &str, resource: &Resource) -> Result<Precondition, IfError> {
    let header = If::parse(value)?;
    // A list about another resource helps nobody here: its state is not looked at.
    let is_here = |list: &&List| {
        let tagged = list.resource.as_deref();
        tagged.is_none_or(|url| Resource::parse(url).as_ref() == Some(resource))
    };
    let lists = header.lists.iter().filter(is_here);
    let allowed = lists.fold(States::none(), |allowed, list| allowed.or(States::of(list)));
    Ok(allowed.precondition())
}

/// States of a resource, of which one is that it does not exist.
enum States {
    /// It exists with one of these tags.
    Only(Vec<ETag>),
    /// Any state but these.
    Except(Vec<ETag>),
}

impl States {
    /// Those in which all conditions of a list hold. Tags are compared strongly, as for If-Match.
    fn of(list: &List) -> Self {
        let states = list.conditions.iter().map(|condition| {
            let states = match &condition.state {
                State::ETag { tag, weak: false } => Self::Only(vec![ETag::from(tag.clone())]),
                State::ETag { weak: true, .. } | State::Token(_) => Self::none(),
            };
            if condition.negate {
                states.not()
            } else {
                states
            }
        });
        states.fold(Self::all(), Self::and)
    }

    fn none() -> Self {
        Self::Only(Vec::new())
    }

    fn all() -> Self {
        Self::Except(Vec::new())
    }

    fn not(self) -> Self {
        match self {
            Self::Only(tags) => Self::Except(tags),
            Self::Except(tags) => Self::Only(tags),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(mut tags), Self::Only(others)) => {
                tags.retain(|tag| others.contains(tag));
                Self::Only(tags)
            }
            (Self::Only(mut tags), Self::Except(others))
            | (Self::Except(others), Self::Only(mut tags)) => {
                tags.retain(|tag| !others.contains(tag));
                Self::Only(tags)
            }
            (Self::Except(mut tags), Self::Except(others)) => {
                tags.extend(others);
                Self::Except(tags)
            }
        }
    }

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    fn precondition(self) -> Precondition {
        match self {
            Self::Only(tags) => Precondition::Match(tags),
            Self::Except(tags) if tags.is_empty() => Precondition::None,
            Self::Except(tags) => Precondition::NoneMatch(tags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Precondition> {
        let resource = Resource::parse("/dav/addressbooks/me/contacts/a.vcf").unwrap();
        parse(value, &resource).ok()
    }

    fn only(tags: &[&str]) -> Option<Precondition> {
        let tags = tags.iter().map(|tag| ETag::from((*tag).to_owned()));
        Some(Precondition::Match(tags.collect()))
    }

    fn except(tags: &[&str]) -> Option<Precondition> {
        let tags = tags.iter().map(|tag| ETag::from((*tag).to_owned()));
        Some(Precondition::NoneMatch(tags.collect()))
    }

    #[test]
    fn rfc_4918_10_4_lists_are_alternatives_of_conditions_that_all_hold() {
        let any = Some(Precondition::None);
        for (value, expected) in [
            (r#"(["a"])"#, only(&["a"])),
            (r#" ( ["a"] ) (["b"])"#, only(&["a", "b"])),
            (r#"(["a"] ["b"])"#, only(&[])),
            (r#"(Not ["a"])"#, except(&["a"])),
            (r#"(not["a"] Not ["b"])"#, except(&["a", "b"])),
            (r#"(Not ["a"]) (["a"])"#, any.clone()),
            (r#"(["a"] Not ["b"])"#, only(&["a"])),
            (r#"([W/"a"])"#, only(&[])),
            (
                "(<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2>)",
                only(&[]),
            ),
            (r#"(<opaquelocktoken:x> ["a"])"#, only(&[])),
            (r#"(<opaquelocktoken:x>) (["a"])"#, only(&["a"])),
            ("(Not <DAV:no-lock>)", any),
            (r#"(Not <DAV:no-lock>"#, None),
            (
                r#"<https://h/dav/addressbooks/me/contacts/%61.vcf> (["a"])"#,
                only(&["a"]),
            ),
            (
                r#"</dav/addressbooks/me/contacts/b.vcf> (["a"])"#,
                only(&[]),
            ),
            (
                r#"</b> (Not ["x"]) </dav/addressbooks/me/contacts/a.vcf> (["a"]) (["b"])"#,
                only(&["a", "b"]),
            ),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
    }
}
