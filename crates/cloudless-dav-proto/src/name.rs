use std::borrow::Cow;
use std::fmt;

use crate::markup;

/// The namespace of WebDAV (RFC 4918 §14).
pub const DAV: &str = "DAV:";

/// The namespace of CardDAV (RFC 6352 §4).
pub const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";

/// The namespace of the CalendarServer extensions, which `getctag` belongs to.
pub const CALENDAR_SERVER: &str = "http://calendarserver.org/ns/";

/// The namespace of WebDAV-Push (draft-bitfire-webdav-push-00 §8).
pub const PUSH: &str = "https://bitfire.at/webdav-push";

/// The expanded name of an XML element: a property, a report, a privilege, a resource type.
///
/// Match on it with `(name.namespace(), name.local())` and the constants of this crate. A `Name`
/// can always be written as XML: the local part is an XML name without a colon and the namespace
/// has no white space or control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    namespace: Cow<'static, str>,
    local: Cow<'static, str>,
}

impl Name {
    /// The longest namespace of a name, in bytes. A name that a client makes up comes back once
    /// in every row of the answer, so that its length multiplies.
    pub const NAMESPACE_LEN_MAX: usize = 512;

    /// The longest local part of a name, in bytes.
    pub const LOCAL_LEN_MAX: usize = 256;

    /// A name in the `DAV:` namespace. `local` is a literal of the program.
    ///
    /// # Panics
    ///
    /// When `local` is no ASCII XML name.
    pub const fn dav(local: &'static str) -> Self {
        Self::from_static(DAV, local)
    }

    /// A name in the CardDAV namespace. `local` is a literal of the program.
    ///
    /// # Panics
    ///
    /// When `local` is no ASCII XML name.
    pub const fn carddav(local: &'static str) -> Self {
        Self::from_static(CARDDAV, local)
    }

    /// A name in the CalendarServer namespace. `local` is a literal of the program.
    ///
    /// # Panics
    ///
    /// When `local` is no ASCII XML name.
    pub const fn calendar_server(local: &'static str) -> Self {
        Self::from_static(CALENDAR_SERVER, local)
    }

    /// A name in the WebDAV-Push namespace. `local` is a literal of the program.
    ///
    /// # Panics
    ///
    /// When `local` is no ASCII XML name.
    pub const fn push(local: &'static str) -> Self {
        Self::from_static(PUSH, local)
    }

    const fn from_static(namespace: &'static str, local: &'static str) -> Self {
        assert!(
            is_ascii_name(local),
            "a name of the program is an ASCII XML name"
        );
        Self {
            namespace: Cow::Borrowed(namespace),
            local: Cow::Borrowed(local),
        }
    }

    /// A name that came from outside; the namespace may be empty.
    ///
    /// `None` when it could not be written back as XML: `local` is no XML name or holds a colon,
    /// the namespace holds white space or control characters or is one that XML reserves, or
    /// either is longer than its cap.
    pub fn new(namespace: &str, local: &str) -> Option<Self> {
        if local.len() > Self::LOCAL_LEN_MAX || !is_name(local) {
            return None;
        }
        let namespace = match namespace {
            DAV => Cow::Borrowed(DAV),
            CARDDAV => Cow::Borrowed(CARDDAV),
            CALENDAR_SERVER => Cow::Borrowed(CALENDAR_SERVER),
            other if is_namespace(other) => Cow::Owned(other.to_owned()),
            _ => return None,
        };
        Some(Self {
            namespace,
            local: Cow::Owned(local.to_owned()),
        })
    }

    /// The namespace; empty for a name in no namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within its namespace.
    pub fn local(&self) -> &str {
        &self.local
    }
}

impl fmt::Display for Name {
    /// Clark notation, `{namespace}local`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}{}", self.namespace, self.local)
    }
}

const fn is_ascii_name(local: &str) -> bool {
    let bytes = local.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let starts = byte.is_ascii_alphabetic() || byte == b'_';
        let continues = byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        if !(starts || (at > 0 && continues)) {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

/// NCName of Namespaces in XML 1.0 §3.
pub(crate) fn is_name(local: &str) -> bool {
    let mut chars = local.chars();
    chars.next().is_some_and(starts_name)
        && chars.all(|c| {
            starts_name(c)
                || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}')
                || matches!(c, '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
        })
}

/// NameStartChar of XML 1.0 §2.3 without the colon.
fn starts_name(c: char) -> bool {
    matches!(
        c,
        'A'..='Z' | 'a'..='z' | '_'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}'
        | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}'
    )
}

fn is_namespace(namespace: &str) -> bool {
    const XML: &str = "http://www.w3.org/XML/1998/namespace";
    const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
    namespace.len() <= Name::NAMESPACE_LEN_MAX
        && namespace != XML
        && namespace != XMLNS
        && namespace
            .chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && markup::is_legal(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_written_are_refused() {
        for local in [
            "",
            "1a",
            "-a",
            "a:b",
            "a b",
            "a<",
            "a&",
            "a\"",
            "a\u{0}",
            "é\u{FFFF}",
        ] {
            assert_eq!(Name::new(DAV, local), None, "{local:?}");
        }
        for namespace in [
            "a b",
            "a\tb",
            "\u{1}",
            "\u{FFFE}",
            "http://www.w3.org/XML/1998/namespace",
        ] {
            assert_eq!(Name::new(namespace, "a"), None, "{namespace:?}");
        }
        assert_eq!(Name::new(DAV, &"a".repeat(257)), None);
        assert_eq!(Name::new(&"a".repeat(513), "a"), None);
    }

    #[test]
    fn a_name_from_outside_equals_the_constant() {
        assert_eq!(Name::new(DAV, "getetag"), Some(Name::dav("getetag")));
        assert_eq!(
            Name::new(CARDDAV, "address-data"),
            Some(Name::carddav("address-data"))
        );
        assert_eq!(
            Name::new("", "größe.1").map(|n| n.to_string()),
            Some("{}größe.1".to_owned())
        );
    }
}
