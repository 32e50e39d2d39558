//! The tunnel's TLS: raw Ed25519 keys both ways (RFC 7250), the relay's pinned.

use std::fmt;
use std::sync::Arc;

use cloudless_proto::{PinnedKeys, PublicKey, control};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    SignatureScheme,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};

/// Why the home's own key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no usable private key.
    #[error("the home's key (home.key) cannot be read; restore it from a backup or join again")]
    Unreadable(#[source] Error),
    /// A key of another kind.
    #[error("the home's key (home.key) is not an Ed25519 key; restore it or join again")]
    NotEd25519,
    /// The TLS library refuses the protocol version, which a change of it could cause.
    #[error("cannot set up TLS 1.3 for the tunnel")]
    Tls(#[source] Error),
}

/// The home's key, ready to prove.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
}

impl Identity {
    pub(crate) fn new(key: &PrivatePkcs8KeyDer<'static>) -> Result<Self, IdentityError> {
        let provider = Arc::new(cloudless_tls::provider());
        let signer = provider
            .key_provider
            .load_private_key(PrivateKeyDer::Pkcs8(key.clone_key()))
            .map_err(IdentityError::Unreadable)?;
        let spki = signer
            .public_key()
            .filter(|spki| PublicKey::from_spki(spki).is_some())
            .ok_or(IdentityError::NotEd25519)?;
        let certificate = CertificateDer::from(spki.to_vec());
        Ok(Self {
            provider,
            key: Arc::new(CertifiedKey::new(vec![certificate], signer)),
        })
    }

    /// TLS 1.3 towards the one relay that proves one of `relay_keys`.
    pub(crate) fn client_config(
        &self,
        relay_keys: &PinnedKeys,
    ) -> Result<Arc<ClientConfig>, IdentityError> {
        let authority = |key: &PublicKey| DistinguishedName::from(key.to_authority());
        let verifier = Pinned {
            authorities: relay_keys.keys().iter().map(authority).collect(),
            keys: relay_keys.clone(),
            algorithms: self.provider.signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(IdentityError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.key.clone(),
            )));
        config.alpn_protocols = vec![control::ALPN.to_vec()];
        config.enable_secret_extraction = true;
        // Each session proves both keys anew.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// A raw key that is none of those by which the relay is trusted.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} is not trusted")]
pub(super) struct OtherKey(pub(super) PublicKey);

/// Accepts raw public keys that are pinned, and tells the relay which ones these are.
struct Pinned {
    keys: PinnedKeys,
    authorities: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pinned").field(&self.keys).finish()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let invalid = |error| Err(Error::InvalidCertificate(error));
        match PublicKey::from_spki(end_entity) {
            Some(key) if self.keys.contains(&key) => Ok(ServerCertVerified::assertion()),
            Some(key) => invalid(CertificateError::Other(OtherError(Arc::new(OtherKey(key))))),
            None => invalid(CertificateError::ApplicationVerificationFailure),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("the tunnel is TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        Some(&self.authorities)
    }
}
