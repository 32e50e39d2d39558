/// The value of `If-Match` or `If-None-Match` (RFC 9110 §13.1).
#[derive(Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: whatever there is.
    Any,
    /// These, one at least.
    List(Vec<EntityTag>),
}

/// One version's name (RFC 9110 §8.8.3).
#[derive(Debug, PartialEq, Eq)]
pub struct EntityTag {
    /// Marked with `W/`: good for a weak comparison only.
    pub weak: bool,
    /// What is between the quotes.
    pub opaque: String,
}

impl EntityTags {
    /// Parses `*` or a list of entity tags, all lines of the header joined by commas; `None` for all
    /// else. A tag may hold a comma, so this does not split at them.
    pub fn parse(value: &[u8]) -> Option<Self> {
        if value.trim_ascii() == b"*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = value.trim_ascii_start();
        loop {
            while let Some(after) = rest.strip_prefix(b",") {
                rest = after.trim_ascii_start();
            }
            if rest.is_empty() {
                break;
            }
            let (tag, after) = EntityTag::parse(rest)?;
            tags.push(tag);
            rest = after.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b",") {
                return None;
            }
        }
        (!tags.is_empty()).then_some(Self::List(tags))
    }
}

impl EntityTag {
    fn parse(value: &[u8]) -> Option<(Self, &[u8])> {
        let (weak, quoted) = match value.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, value),
        };
        let opaque = quoted.strip_prefix(b"\"")?;
        let length = opaque.iter().position(|byte| *byte == b'"')?;
        let (opaque, after) = opaque.split_at(length);
        let allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        if !opaque.iter().all(allowed) {
            return None;
        }
        // Tags made here are ASCII, so replacing what is not UTF-8 never makes two tags equal.
        let opaque = String::from_utf8_lossy(opaque).into_owned();
        Some((Self { weak, opaque }, &after[1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(weak: bool, opaque: &str) -> EntityTag {
        EntityTag {
            weak,
            opaque: opaque.to_owned(),
        }
    }

    #[test]
    fn lists_are_read_with_commas_inside_tags_and_empty_elements() {
        let expected = EntityTags::List(vec![tag(false, "a,b"), tag(true, ""), tag(false, "c")]);
        assert_eq!(
            EntityTags::parse(br#" , "a,b" ,W/"",, "c", "#),
            Some(expected)
        );
        assert_eq!(EntityTags::parse(b" * "), Some(EntityTags::Any));
    }

    #[test]
    fn malformed_values_are_refused() {
        for value in [
            "",
            " ",
            ",",
            "abc",
            "\"abc",
            "abc\"",
            "w/\"abc\"",
            "\"a\" \"b\"",
            "\"a\"b",
            "*, \"a\"",
            "\"a b\"",
            "W/abc",
            "W/",
            "\"",
        ] {
            assert_eq!(EntityTags::parse(value.as_bytes()), None, "{value:?}");
        }
    }
}
