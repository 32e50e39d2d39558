//! The keys that relay and home know each other by.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

const PREFIX: &str = "ed25519:";

/// The DER of a SubjectPublicKeyInfo up to the key itself (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The DER of a Name up to the text of its one common name (RFC 5280 section 4.1.2.4), which is a key
/// as text.
const NAME_PREFIX: [u8; 13] = [
    0x30, 0x3e, 0x31, 0x3c, 0x30, 0x3a, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x33,
];

/// An Ed25519 public key, which is the identity of a relay or a home.
///
/// As text it is `ed25519:` and 43 characters of unpadded base64url; in the TLS handshake it is
/// the SubjectPublicKeyInfo of RFC 7250.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The DER form that TLS carries as a raw public key (RFC 7250, RFC 8410).
    pub fn to_spki(&self) -> [u8; 44] {
        let mut spki = [0; 44];
        let (prefix, key) = spki.split_at_mut(SPKI_PREFIX.len());
        prefix.copy_from_slice(&SPKI_PREFIX);
        key.copy_from_slice(&self.0);
        spki
    }

    /// The key as the name of an authority, in DER. A home that trusts a relay by this key says so
    /// in the `certificate_authorities` of its ClientHello (RFC 8446 section 4.2.4), so that a relay
    /// with several keys knows which one to prove.
    pub fn to_authority(&self) -> Vec<u8> {
        [&NAME_PREFIX, self.to_string().as_bytes()].concat()
    }

    /// Reads the DER form; `None` when it is anything else than one Ed25519 key.
    pub fn from_spki(spki: &[u8]) -> Option<Self> {
        let key = spki.strip_prefix(&SPKI_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&self.0)))
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidPublicKey)?;
        let key = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|_| InvalidPublicKey)?;
        Ok(Self(key.try_into().map_err(|_| InvalidPublicKey)?))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidPublicKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// The text is no [`PublicKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is \"ed25519:\" and 43 characters of base64url")]
pub struct InvalidPublicKey;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The public key of RFC 8410 section 10.1.
    const RFC_8410_SPKI: &str = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

    #[test]
    fn the_example_of_rfc_8410() {
        let spki = data_encoding::BASE64
            .decode(RFC_8410_SPKI.as_bytes())
            .unwrap();
        let key = PublicKey::from_spki(&spki).unwrap();
        assert_eq!(
            key.to_string(),
            "ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"
        );
        assert_eq!(key.to_spki().as_slice(), spki);
    }

    #[test]
    fn an_authority_is_a_whole_name() {
        let authority = PublicKey([7; 32]).to_authority();
        // Each length counts what follows it.
        for at in [1, 3, 5, 12] {
            assert_eq!(usize::from(authority[at]), authority.len() - at - 1);
        }
        assert_ne!(authority, PublicKey([8; 32]).to_authority());
    }

    #[test]
    fn refused() {
        let spki = PublicKey([7; 32]).to_spki();
        assert_eq!(PublicKey::from_spki(&spki[..43]), None);
        assert_eq!(PublicKey::from_spki(&[&spki[..], &[0]].concat()), None);
        let mut x25519 = spki;
        x25519[8] = 0x6e;
        assert_eq!(PublicKey::from_spki(&x25519), None);

        let text = PublicKey([7; 32]).to_string();
        for wrong in [
            "",
            "ed25519:",
            &text[8..],
            &text[..50],
            &format!("{text}="),
            &format!("{text}A"),
        ] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(InvalidPublicKey), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_form_round_trips(key: [u8; 32]) {
            let key = PublicKey(key);
            prop_assert_eq!(PublicKey::from_spki(&key.to_spki()), Some(key));
            prop_assert_eq!(key.to_string().parse(), Ok(key));
            let json = serde_json::to_string(&key).unwrap();
            prop_assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
        }
    }
}
