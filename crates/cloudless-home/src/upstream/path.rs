//! Where in the paths of a hostname a server begins.

use std::fmt;
use std::str::FromStr;

/// What home answers itself: contacts, how they are found, and certificate authorities.
const OWN: [&str; 3] = [
    "/dav/",
    "/.well-known/carddav/",
    "/.well-known/acme-challenge/",
];

/// A path that ends in `/`, such as `/radicale/`: the beginning of all that a server gets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpstreamPath(String);

/// The text is no such path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no path that a server can have; expected one that begins and ends with a slash, of \
     letters, digits and the signs -._~ between slashes, such as \"/radicale/\""
)]
pub struct InvalidUpstreamPath(String);

impl UpstreamPath {
    /// All paths.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Whether these are all paths.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The path with its slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What home itself answers and this path would take, or be taken from by.
    pub fn overlap(&self) -> Option<&'static str> {
        let overlaps = |own: &&&str| self.0.starts_with(**own) || own.starts_with(&self.0);
        OWN.iter().find(overlaps).copied()
    }

    /// The path without its slash at the end: empty for the root.
    pub(super) fn prefix(&self) -> &str {
        self.0.trim_end_matches('/')
    }
}

impl fmt::Display for UpstreamPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UpstreamPath {
    type Err = InvalidUpstreamPath;

    fn from_str(text: &str) -> Result<Self, InvalidUpstreamPath> {
        let is_segment = |segment: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            segment.bytes().all(is_plain) && !["", ".", ".."].contains(&segment)
        };
        let inner = text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'));
        let is_path = text == "/" || inner.is_some_and(|inner| inner.split('/').all(is_segment));
        is_path
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| InvalidUpstreamPath(text.to_owned()))
    }
}

/// Whether a server that resolves `.` and `..`, also where they are percent-encoded, behind a
/// backslash or before a parameter, would find another path than the one that is written.
pub(super) fn has_dot_segment(path: &str) -> bool {
    let decoded: Vec<u8> = percent_decoded(path.as_bytes()).collect();
    let mut segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
    segments.any(|segment| {
        let name = segment.split(|byte| *byte == b';').next();
        matches!(name, Some(b"." | b".."))
    })
}

fn percent_decoded(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        let encoded = match (first, after) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        rest = if encoded.is_some() {
            &after[2..]
        } else {
            after
        };
        let value = encoded.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        Some(value.unwrap_or(*first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_and_ends_with_a_slash() {
        for text in ["/", "/radicale/", "/a/b-c/~d/", "/.git/"] {
            let path: UpstreamPath = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
        }
        for text in [
            "",
            "radicale",
            "/radicale",
            "radicale/",
            "//",
            "/a//b/",
            "/a/../b/",
            "/./",
            "/a b/",
            "/%61/",
            "/a?b/",
            "/ä/",
        ] {
            assert!(text.parse::<UpstreamPath>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_home_answers_itself_is_nobody_elses() {
        let overlap = |text: &str| text.parse::<UpstreamPath>().unwrap().overlap();
        assert_eq!(overlap("/dav/"), Some("/dav/"));
        assert_eq!(overlap("/dav/files/"), Some("/dav/"));
        assert_eq!(overlap("/.well-known/"), Some("/.well-known/carddav/"));
        assert_eq!(overlap("/"), Some("/dav/"));
        let acme = "/.well-known/acme-challenge/";
        assert_eq!(overlap(acme), Some(acme));
        assert_eq!(overlap("/davical/"), None);
        assert_eq!(overlap("/.well-known/caldav/"), None);
    }

    #[test]
    fn no_way_out_of_a_path() {
        for path in [
            "/a/..",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a/..%2fb",
            "/a/%2e./b",
            "/a\\..\\b",
            "/a/..;x/b",
            "/a/%5c..%5Cb",
            "/..",
            "/a/%2e",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "/",
            "/a/...",
            "/a/..b/",
            "/a/.well-known",
            "/%",
            "/%2",
            "/a/%zz..",
            "/a.b",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
