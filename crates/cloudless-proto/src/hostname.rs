//! Names of hosts: what a home is called and what a visitor asks for.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const LEN_MAX: usize = 253;
const LABEL_LEN_MAX: usize = 63;

/// A DNS host name in the one spelling that names are compared by: lower-case ASCII without a
/// trailing dot (RFC 1123 section 2.1, RFC 5890 for `xn--` labels).
///
/// Build it with [`FromStr`] from text or with [`Hostname::from_bytes`] from the wire; both lower
/// the case and strip one trailing dot. An IP address is no host name, nor is a name whose last
/// label a URL parser would take for an IPv4 number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// Reads a name as it stands in a ClientHello, a Host line or a configuration file.
    ///
    /// # Errors
    ///
    /// One [`InvalidHostname`] per broken rule; the first one met, from left to right.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidHostname> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(InvalidHostname::Empty);
        }
        if bytes.len() > LEN_MAX {
            return Err(InvalidHostname::TooLong);
        }
        let mut name = String::with_capacity(bytes.len());
        for label in bytes.split(|&byte| byte == b'.') {
            if !name.is_empty() {
                name.push('.');
            }
            check_label(label)?;
            name.extend(
                label
                    .iter()
                    .map(|byte| char::from(byte.to_ascii_lowercase())),
            );
        }
        let last_label = name.rsplit('.').next().unwrap_or_default();
        if is_number(last_label) {
            return Err(InvalidHostname::IpLiteral);
        }
        Ok(Self(name))
    }

    /// The name, lower-case and without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for Hostname {
    type Err = InvalidHostname;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(text.as_bytes())
    }
}

impl TryFrom<String> for Hostname {
    type Error = InvalidHostname;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Hostname> for String {
    fn from(hostname: Hostname) -> Self {
        hostname.0
    }
}

impl AsRef<str> for Hostname {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Sound because equality, order and hash of a [`Hostname`] are those of its text.
impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Why some bytes are no [`Hostname`]. It never repeats the name, so it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostname {
    /// A byte that no host name has: NUL, `_`, a space, anything that is not ASCII.
    #[error(
        "a host name has only letters, digits, '-' and '.', not '{}' (write a name in another script in its xn-- form)",
        .0.escape_ascii()
    )]
    Character(u8),
    /// Nothing at all, or only a dot.
    #[error("the host name is empty")]
    Empty,
    /// Two dots in a row, or a dot at the start.
    #[error("the host name has an empty label (two dots in a row, or one at the start)")]
    EmptyLabel,
    /// A label that starts or ends with `-`.
    #[error("a label of the host name starts or ends with '-'")]
    Hyphen,
    /// An IPv4 address, or a name that URL parsers read as one.
    #[error("an IP address is no host name")]
    IpLiteral,
    /// A label longer than 63 bytes.
    #[error("a label of the host name is longer than {LABEL_LEN_MAX} bytes")]
    LabelTooLong,
    /// More than 253 bytes.
    #[error("the host name is longer than {LEN_MAX} bytes")]
    TooLong,
}

fn check_label(label: &[u8]) -> Result<(), InvalidHostname> {
    if label.is_empty() {
        return Err(InvalidHostname::EmptyLabel);
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if let Some(&byte) = label.iter().find(|byte| !allowed(byte)) {
        return Err(InvalidHostname::Character(byte));
    }
    if label.len() > LABEL_LEN_MAX {
        return Err(InvalidHostname::LabelTooLong);
    }
    if label.starts_with(b"-") || label.ends_with(b"-") {
        return Err(InvalidHostname::Hyphen);
    }
    Ok(())
}

/// Whether URL parsers take a name that ends in this lower-case label for an IPv4 address.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling() {
        for text in [
            "home.example.test",
            "HOME.Example.TEST",
            "home.example.test.",
        ] {
            let hostname: Hostname = text.parse().unwrap();
            assert_eq!(hostname.as_str(), "home.example.test");
        }
    }

    #[test]
    fn accepted() {
        let long_label = "a".repeat(63);
        let long_name = [long_label.as_str(); 3].join(".") + "." + &"b".repeat(61);
        assert_eq!(long_name.len(), 253);
        for text in [
            "localhost",
            "a",
            "xn--bcher-kva.example",
            "1.example",
            "4.3.in-addr.arpa",
        ] {
            assert_eq!(text.parse::<Hostname>().unwrap().as_str(), text);
        }
        assert!(long_name.parse::<Hostname>().is_ok());
        assert!((long_name.clone() + ".").parse::<Hostname>().is_ok());
        assert_eq!(
            (long_name + "b").parse::<Hostname>(),
            Err(InvalidHostname::TooLong)
        );
    }

    #[test]
    fn refused() {
        let long_label = "a".repeat(64);
        let long_name = ["a"; 128].join(".");
        let cases: &[(&[u8], InvalidHostname)] = &[
            (b"", InvalidHostname::Empty),
            (b".", InvalidHostname::Empty),
            (b"a..", InvalidHostname::EmptyLabel),
            (b".a", InvalidHostname::EmptyLabel),
            (b"a..b", InvalidHostname::EmptyLabel),
            (b"home.example.test\0", InvalidHostname::Character(0)),
            (
                b"home.example.test\0.evil.test",
                InvalidHostname::Character(0),
            ),
            (b"a_b.example", InvalidHostname::Character(b'_')),
            (b"a b", InvalidHostname::Character(b' ')),
            (b"a.example:443", InvalidHostname::Character(b':')),
            (b"*.example", InvalidHostname::Character(b'*')),
            (
                "bücher.example".as_bytes(),
                InvalidHostname::Character(0xc3),
            ),
            (b"\xff", InvalidHostname::Character(0xff)),
            (b"[::1]", InvalidHostname::Character(b'[')),
            (b"2001:db8::1", InvalidHostname::Character(b':')),
            (b"192.0.2.1", InvalidHostname::IpLiteral),
            (b"192.0.2.1.", InvalidHostname::IpLiteral),
            (b"3221225985", InvalidHostname::IpLiteral),
            (b"example.42", InvalidHostname::IpLiteral),
            (b"127.0.0.0X1", InvalidHostname::IpLiteral),
            (b"-a.example", InvalidHostname::Hyphen),
            (b"a-.example", InvalidHostname::Hyphen),
            (long_label.as_bytes(), InvalidHostname::LabelTooLong),
            (long_name.as_bytes(), InvalidHostname::TooLong),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                Hostname::from_bytes(bytes),
                Err(*expected),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn json_is_validated() {
        let hostname: Hostname = serde_json::from_str("\"Home.Example.\"").unwrap();
        assert_eq!(
            serde_json::to_string(&hostname).unwrap(),
            "\"home.example\""
        );
        assert!(serde_json::from_str::<Hostname>("\"192.0.2.1\"").is_err());
    }

    proptest! {
        #[test]
        fn accepted_names_are_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(hostname) = Hostname::from_bytes(&bytes) {
                prop_assert_eq!(hostname.as_str().parse::<Hostname>(), Ok(hostname.clone()));
                prop_assert_eq!(hostname.as_str(), hostname.as_str().to_ascii_lowercase());
            }
        }
    }
}
