//! What proves to a push service that a message comes from this home (RFC 8292).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// How long a push service may take a signature for good, in seconds; a day is the most (§2).
const LIFE: u64 = 12 * 60 * 60;

/// The file holds no P-256 key.
#[derive(Debug, thiserror::Error)]
#[error("the push key (push.key) is no P-256 key; remove it, and devices register anew")]
pub struct PushKeyError;

/// The home's P-256 key for push services.
pub(super) struct Vapid {
    key: EcdsaKeyPair,
    public_key: [u8; 65],
    topic_secret: [u8; 32],
    contact: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

impl Vapid {
    /// `contact` is the `mailto:` or `https:` URL that push services are told.
    pub(super) fn new(
        key: &PrivatePkcs8KeyDer<'_>,
        contact: Option<String>,
    ) -> Result<Self, PushKeyError> {
        let pkcs8 = key.secret_pkcs8_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|_| PushKeyError)?;
        let public_key = key.public_key().as_ref();
        Ok(Self {
            public_key: public_key.try_into().map_err(|_| PushKeyError)?,
            topic_secret: Sha256::new()
                .chain_update(b"cloudless push topics\0")
                .chain_update(pkcs8)
                .finalize()
                .into(),
            key,
            contact,
        })
    }

    /// An uncompressed point.
    pub(super) fn public_key(&self) -> [u8; 65] {
        self.public_key
    }

    /// As secret and as lasting as the key.
    pub(super) fn topic_secret(&self) -> [u8; 32] {
        self.topic_secret
    }

    /// The `Authorization` of a message to the push service of this origin; `now` in Unix seconds.
    /// `None` when the library cannot sign.
    pub(super) fn authorization(&self, origin: &str, now: u64) -> Option<String> {
        let claims = Claims {
            aud: origin,
            exp: now.saturating_add(LIFE),
            sub: self.contact.as_deref(),
        };
        let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ES256"}"#);
        let claims = BASE64URL_NOPAD.encode(&serde_json::to_vec(&claims).ok()?);
        let signed = format!("{header}.{claims}");
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .ok()?;
        let signature = BASE64URL_NOPAD.encode(signature.as_ref());
        let key = BASE64URL_NOPAD.encode(&self.public_key);
        Some(format!("vapid t={signed}.{signature}, k={key}"))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn vapid(contact: Option<&str>) -> Vapid {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.as_ref());
        Vapid::new(&key, contact.map(str::to_owned)).unwrap()
    }

    fn decode(text: &str) -> Vec<u8> {
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_push_service_can_check_the_signature() {
        let vapid = vapid(Some("mailto:me@example.org"));
        let authorization = vapid
            .authorization("https://push.example:8443", 1_000)
            .unwrap();
        let (token, key) = authorization
            .strip_prefix("vapid t=")
            .unwrap()
            .split_once(", k=")
            .unwrap();
        assert_eq!(decode(key), vapid.public_key());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decode(key))
            .verify(signed.as_bytes(), &decode(signature))
            .unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let header: serde_json::Value = serde_json::from_slice(&decode(header)).unwrap();
        assert_eq!(header["alg"], "ES256");
        let claims: serde_json::Value = serde_json::from_slice(&decode(claims)).unwrap();
        let expected = serde_json::json!({
            "aud": "https://push.example:8443",
            "exp": 1_000 + 12 * 60 * 60,
            "sub": "mailto:me@example.org",
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn without_a_contact_none_is_told() {
        let authorization = vapid(None)
            .authorization("https://push.example", 0)
            .unwrap();
        let claims = decode(authorization.split('.').nth(1).unwrap());
        assert!(!String::from_utf8(claims).unwrap().contains("sub"));
    }

    #[test]
    fn another_kind_of_key_is_refused() {
        let key = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let key = key.to_pkcs8v1().unwrap();
        assert!(Vapid::new(&PrivatePkcs8KeyDer::from(key.as_ref()), None).is_err());
    }
}
