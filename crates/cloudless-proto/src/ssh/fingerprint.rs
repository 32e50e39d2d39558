use std::{fmt, str::FromStr};

use data_encoding::BASE64_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const PREFIX: &str = "SHA256:";

/// A public key of SSH by its SHA-256, as `ssh-keygen -l` prints it: whoever wants another key with the
/// same one has to break SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a key in the form that goes over the wire (RFC 4253 section 6.6).
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{PREFIX}{}", BASE64_NOPAD.encode(&self.0)))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidFingerprint)?;
        let hash = BASE64_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|_| InvalidFingerprint)?;
        Ok(Self(hash.try_into().map_err(|_| InvalidFingerprint)?))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// The text is no [`Fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is \"SHA256:\" and 43 characters of base64, as `ssh-keygen -l` prints it")]
pub struct InvalidFingerprint;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refused() {
        let text = Fingerprint([7; 32]).to_string();
        for wrong in [
            "",
            "SHA256:",
            &text[7..],
            &text[..49],
            &format!("{text}="),
            &format!("{text}A"),
            "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
        ] {
            assert_eq!(
                wrong.parse::<Fingerprint>(),
                Err(InvalidFingerprint),
                "{wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn its_text_is_read_back(hash: [u8; 32]) {
            let fingerprint = Fingerprint(hash);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }
    }
}
