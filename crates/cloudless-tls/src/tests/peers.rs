//! Two ends with raw public keys, as relay and home have them.

use std::io;
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ED25519};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme, version,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

use crate::{Peer, Stream, accept, connect};

pub(super) const ALPN: &[u8] = b"a tunnel";

/// What both ends need.
pub(super) struct Peers {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server_key: CertificateDer<'static>,
    pub(super) client_key: CertificateDer<'static>,
}

fn key() -> Arc<CertifiedKey> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let der = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    let provider = aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(der).unwrap();
    let spki = signer.public_key().unwrap().to_vec();
    Arc::new(CertifiedKey::new(vec![spki.into()], signer))
}

impl Peers {
    pub(super) fn new() -> Self {
        Self::by(crate::provider())
    }

    /// With these ciphers.
    pub(super) fn by(provider: CryptoProvider) -> Self {
        let (server_key, client_key) = (key(), key());
        Self::with(provider, &server_key, &client_key, &client_key)
    }

    /// The server trusts another key than the client has.
    pub(super) fn strangers() -> Self {
        Self::with(crate::provider(), &key(), &key(), &key())
    }

    fn with(
        provider: CryptoProvider,
        server_key: &Arc<CertifiedKey>,
        client_key: &Arc<CertifiedKey>,
        trusted: &Arc<CertifiedKey>,
    ) -> Self {
        let only = |key: &CertifiedKey| Arc::new(Only(key.cert[0].clone()));
        let provider = Arc::new(provider);
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_client_cert_verifier(only(trusted))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                server_key.clone(),
            )));
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(only(server_key))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                client_key.clone(),
            )));
        server.alpn_protocols = vec![ALPN.to_vec()];
        client.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = 0;
        server.enable_secret_extraction = true;
        client.enable_secret_extraction = true;
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
            server_key: server_key.cert[0].clone(),
            client_key: client_key.cert[0].clone(),
        }
    }

    /// Ours at both ends, the client's first.
    pub(super) async fn connected<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        client: S,
        server: S,
    ) -> io::Result<((Stream<S>, Peer), (Stream<S>, Peer))> {
        tokio::try_join!(
            connect(self.client.clone(), name(), client),
            accept(self.server.clone(), server),
        )
    }
}

/// Ours at both ends of a pipe that holds so much, the client's first.
pub(super) async fn pair(len: usize) -> (Stream<DuplexStream>, Stream<DuplexStream>) {
    let (near, far) = duplex(len);
    let ((near, _), (far, _)) = Peers::new().connected(near, far).await.unwrap();
    (near, far)
}

pub(super) fn name() -> ServerName<'static> {
    "relay.example".try_into().unwrap()
}

/// Trusts one raw key.
#[derive(Debug)]
struct Only(CertificateDer<'static>);

impl Only {
    fn verify(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if *shown == self.0 {
            return Ok(());
        }
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_signature(
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &spki, signature, &algorithms)
    }
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(shown)?;
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
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Only {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(shown)?;
        Ok(ClientCertVerified::assertion())
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
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
