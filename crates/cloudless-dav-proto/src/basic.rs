//! Who asks, as Basic authentication says it (RFC 7617).

use std::fmt;

use data_encoding::BASE64;
use zeroize::Zeroizing;

/// A user name and a password, which is wiped when this is dropped. Its `Debug` shows neither.
pub struct Basic {
    text: Zeroizing<String>,
    colon: usize,
}

impl Basic {
    /// Reads the value of an `Authorization` header; `None` for what is not well-formed Basic: another
    /// scheme, no base64, no UTF-8, or no colon.
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, encoded) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Basic") {
            return None;
        }
        let decoded = Zeroizing::new(BASE64.decode(encoded.trim().as_bytes()).ok()?);
        let text = Zeroizing::new(std::str::from_utf8(&decoded).ok()?.to_owned());
        let colon = text.find(':')?;
        Some(Self { text, colon })
    }

    /// What is before the first colon.
    pub fn user(&self) -> &str {
        &self.text[..self.colon]
    }

    /// All that is behind the first colon, other colons among it.
    pub fn password(&self) -> &str {
        &self.text[self.colon + 1..]
    }
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(scheme: &str, bytes: &[u8]) -> Option<(String, String)> {
        let basic = Basic::parse(&format!("{scheme} {}", BASE64.encode(bytes)))?;
        Some((basic.user().to_owned(), basic.password().to_owned()))
    }

    #[test]
    fn the_first_colon_separates_and_the_scheme_has_no_case() {
        let expected = Some(("Me".to_owned(), "a:b".to_owned()));
        for scheme in ["Basic", "bAsIc", "Basic "] {
            assert_eq!(parse(scheme, b"Me:a:b"), expected, "{scheme}");
        }
        assert_eq!(parse("Basic", b":"), Some(Default::default()));
    }

    #[test]
    fn what_is_not_basic_is_no_login() {
        assert_eq!(parse("Bearer", b"me:secret"), None);
        assert_eq!(parse("Basic", b"no colon"), None);
        assert_eq!(parse("Basic", b"\xff:\xff"), None, "not UTF-8");
        for value in ["", "Basic", "Basic ", "Basic !!!", "Basic bWU6c2VjcmV0="] {
            assert!(Basic::parse(value).is_none(), "{value}");
        }
    }

    #[test]
    fn neither_name_nor_password_is_shown() {
        let basic = Basic::parse("Basic bWU6c2VjcmV0").unwrap();
        assert_eq!(basic.password(), "secret");
        assert_eq!(format!("{basic:?}"), "Basic { .. }");
    }
}
