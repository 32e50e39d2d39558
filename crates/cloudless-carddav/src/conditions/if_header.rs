//! The `If` header (RFC 4918 §10.4).
//!
//! There are no locks here, so that a state token never matches. What is left are lists of entity
//! tags, which together allow either some states of the resource or all but some.

use cloudless_store::{ETag, Precondition};

use super::EntityTag;
use crate::resource::Resource;

/// Reads the header. None when it is malformed.
pub(super) fn parse(value: &[u8], resource: &Resource) -> Option<Precondition> {
    let mut rest = value.trim_ascii_start();
    let mut allowed = States::none();
    let mut lists = 0;
    // A list without a resource before it is about the one of the request.
    let mut is_here = true;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b"<") {
            let (uri, after) = split_once(after, b'>')?;
            let uri = std::str::from_utf8(uri).ok()?;
            is_here = Resource::parse(uri).as_ref() == Some(resource);
            rest = after.trim_ascii_start();
            if !rest.starts_with(b"(") {
                return None;
            }
        }
        let (list, after) = list(rest.strip_prefix(b"(")?)?;
        lists += 1;
        // A list about another resource helps nobody here: its state is not looked at.
        if is_here {
            allowed = allowed.or(list);
        }
        rest = after.trim_ascii_start();
    }
    (lists > 0).then(|| allowed.precondition())
}

/// Reads the conditions of a list, up to behind its end.
fn list(mut rest: &[u8]) -> Option<(States, &[u8])> {
    let mut allowed = States::all();
    let mut conditions = 0;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b")") {
            return (conditions > 0).then_some((allowed, after));
        }
        conditions += 1;
        let is_not = rest
            .get(..3)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"not"));
        if is_not {
            rest = rest[3..].trim_ascii_start();
        }
        let states = if let Some(after) = rest.strip_prefix(b"<") {
            let (_, after) = split_once(after, b'>')?;
            rest = after;
            States::none()
        } else {
            let (tag, after) = EntityTag::parse(rest.strip_prefix(b"[")?.trim_ascii_start())?;
            rest = after.trim_ascii_start().strip_prefix(b"]")?;
            // Tags are compared strongly, as for If-Match.
            match tag.weak {
                true => States::none(),
                false => States::Only(vec![ETag::from(tag.opaque)]),
            }
        };
        allowed = allowed.and(if is_not { states.not() } else { states });
    }
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// States of a resource, of which one is that it does not exist.
enum States {
    /// It exists with one of these tags.
    Only(Vec<ETag>),
    /// Any state but these.
    Except(Vec<ETag>),
}

impl States {
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
        parse(value.as_bytes(), &resource)
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
            (r#" ( [ "a" ] ) (["b"])"#, only(&["a", "b"])),
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
            (r#"(Not <DAV:no-lock> ["a b"])"#, None),
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

    #[test]
    fn what_is_malformed_is_told() {
        for value in [
            "",
            "()",
            "(",
            "(Not)",
            "x",
            r#"["a"]"#,
            r#"(["a")"#,
            r#"(["a"]"#,
            "(<a)",
            "<a>",
            "<a> <b> ([\"a\"])",
            r#"([a])"#,
            r#"(["a"]) x"#,
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
