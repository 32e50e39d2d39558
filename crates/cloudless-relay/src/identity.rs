use std::sync::Arc;

use cloudless_proto::PublicKey;
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
