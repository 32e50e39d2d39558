//! The configuration of both ends: raw public keys, as relay and home have them, and anybody's.

use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

/// The private key of seven times seven (RFC 8410 section 7).
const KEY: [u8; 48] = {
    let mut key = [7; 48];
    let head = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let mut n = 0;
    while n < head.len() {
        key[n] = head[n];
        n += 1;
    }
    key
};

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(cloudless_tls::provider()));
static SERVER: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let key = PrivatePkcs8KeyDer::from(&KEY[..]).into();
    let signer = PROVIDER.key_provider.load_private_key(key).expect("a key");
    let public = signer.public_key().expect("it has one").to_vec();
    let key = Arc::new(CertifiedKey::new(vec![public.into()], signer));
    let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("its ciphers are those of TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    config.enable_secret_extraction = true;
    Arc::new(config)
});
static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("its ciphers are those of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Arc::new(config)
});

pub(super) fn server() -> Arc<ServerConfig> {
    SERVER.clone()
}

pub(super) fn client() -> Arc<ClientConfig> {
    CLIENT.clone()
}

pub(super) fn name() -> ServerName<'static> {
    "relay.example".try_into().expect("a name")
}

/// Trusts every key. Who is trusted is not what is looked at here.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::HandshakeNotComplete)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
