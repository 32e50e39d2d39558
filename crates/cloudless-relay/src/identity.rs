use std::sync::Arc;

use cloudless_proto::PublicKey;
use data_encoding::BASE64;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivatePkcs8KeyDer;

/// The public half of an Ed25519 identity key.
///
/// # Errors
/// When the key is not an Ed25519 key in PKCS #8 (RFC 8410).
pub fn public_key(identity: &PrivatePkcs8KeyDer<'_>) -> Result<PublicKey, IdentityError> {
    signing_key(identity).map(|(_, public_key)| public_key)
}

/// An Ed25519 private key in PKCS #8 up to the key itself (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The identity key made of these random bytes.
pub(crate) fn new_identity(random: [u8; 32]) -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &random].concat())
}

/// An identity key as PEM (RFC 7468 section 10).
pub(crate) fn pem(identity: &PrivatePkcs8KeyDer<'_>) -> String {
    // One line of 64 characters: the keys made here have 48 bytes.
    let base64 = BASE64.encode(identity.secret_pkcs8_der());
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

/// Why an identity key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no Ed25519 key.
    #[error("the identity key is not an Ed25519 key in PKCS #8")]
    NotEd25519(#[source] rustls::Error),
    /// The key does not yield its public half.
    #[error("the identity key has no public half")]
    NoPublicKey,
}

/// The key in the form that the TLS handshake signs with, and its public half.
pub(crate) fn signing_key(
    identity: &PrivatePkcs8KeyDer<'_>,
) -> Result<(Arc<dyn SigningKey>, PublicKey), IdentityError> {
    let key = any_eddsa_type(identity).map_err(IdentityError::NotEd25519)?;
    let public_key = key
        .public_key()
        .and_then(|spki| PublicKey::from_spki(&spki))
        .ok_or(IdentityError::NoPublicKey)?;
    Ok((key, public_key))
}
