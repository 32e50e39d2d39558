use std::fmt;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use sha2::{Digest, Sha256};

/// A strong entity tag, without its quotes (RFC 9110 section 8.8.3).
///
/// The tag of a stored card is made from its bytes alone, so it can never be wrong about them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ETag(String);

impl ETag {
    /// The tag of a card with these bytes: the first 128 bits of their SHA-256, in hex.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let mut text = String::with_capacity(32);
        for byte in &digest[..16] {
            for nibble in [byte >> 4, byte & 0xf] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        Self(text)
    }

    /// The tag as text, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Takes what a client sent between the quotes, to be compared in a [`Precondition`].
///
/// [`Precondition`]: crate::Precondition
impl From<String> for ETag {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for ETag {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl ToSql for ETag {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for ETag {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        String::column_result(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::ETag;

    #[test]
    fn is_the_first_half_of_the_sha256() {
        assert_eq!(
            ETag::of(b"abc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223"
        );
    }
}
