//! TLS that goes on only with the certificate of a device that is in use.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use cloudless_proto::Hostname;
use cloudless_store::Store;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

use super::authority::Authority;
use super::{ClientCertificateError, hash};

/// On which hostnames client certificates are demanded, and which ones are good.
pub(crate) struct Demand {
    hostnames: BTreeSet<Hostname>,
    /// There is one where a hostname demands it.
    verifier: Option<Arc<InUse>>,
    store: Store,
    devices: watch::Receiver<()>,
}

impl Demand {
    /// Makes the authority if one is needed and there is none. Blocks on the disk.
    pub(crate) fn new(
        state_dir: &Path,
        hostnames: BTreeSet<Hostname>,
        store: Store,
    ) -> Result<Self, ClientCertificateError> {
        let verifier = if hostnames.is_empty() {
            None
        } else {
            let authority = Authority::open_or_create(state_dir)?;
            Some(Arc::new(InUse::new(&authority, store.clone())?))
        };
        let (changed, devices) = watch::channel(());
        store.listen_to_devices(move || {
            changed.send_replace(());
        });
        Ok(Self {
            hostnames,
            verifier,
            store,
            devices,
        })
    }

    /// The same TLS, with the demand where the hostname has one. Sessions are not resumed then: a
    /// ticket would outlive the certificate. TLS 1.2 would show the certificate to the relay.
    pub(crate) fn applied_to(
        &self,
        config: Arc<ServerConfig>,
        hostname: &Hostname,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let verifier = self.verifier.as_ref();
        let Some(verifier) = verifier.filter(|_| self.hostnames.contains(hostname)) else {
            return Ok(config);
        };
        let provider = config.crypto_provider().clone();
        let mut demanding = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(config.cert_resolver.clone());
        demanding.alpn_protocols.clone_from(&config.alpn_protocols);
        demanding.session_storage = Arc::new(NoServerSessionStorage {});
        demanding.send_tls13_tickets = 0;
        Ok(Arc::new(demanding))
    }

    /// The hash of the certificate that a connection to this hostname has proven; `None` where none is
    /// demanded.
    pub(crate) fn proven<S>(&self, hostname: &Hostname, tls: &TlsStream<S>) -> Option<[u8; 32]> {
        if !self.hostnames.contains(hostname) {
            return None;
        }
        let (_, connection) = tls.get_ref();
        let certificates = connection.peer_certificates().unwrap_or_default();
        // No device has the hash of nothing: a connection without a certificate, which there is
        // not, could not log in.
        let certificate = certificates.first().map_or(&[][..], |it| it.as_ref());
        Some(hash(certificate))
    }

    /// Returns once no device in use has this certificate any more.
    pub(crate) async fn until_revoked(&self, certificate: [u8; 32]) {
        let mut devices = self.devices.clone();
        loop {
            devices.mark_unchanged();
            let store = self.store.clone();
            let known = move || store.knows_certificate(&certificate);
            match tokio::task::spawn_blocking(known).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = crate::status::chain(&error),
                        "Cannot read the devices"
                    );
                    return;
                }
            }
            if devices.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Takes a certificate of this home's authority whose device is in use.
#[derive(Debug)]
struct InUse {
    signed: Arc<dyn ClientCertVerifier>,
    store: Store,
}

impl InUse {
    fn new(authority: &Authority, store: Store) -> Result<Self, ClientCertificateError> {
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.certificate.clone())
            .map_err(|error| ClientCertificateError::Tls(error.into()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let signed = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| ClientCertificateError::Tls(error.into()))?;
        Ok(Self { signed, store })
    }
}

impl ClientCertVerifier for InUse {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    /// The store is read after a device was added or revoked; else its devices are in memory.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let signed = self
            .signed
            .verify_client_cert(end_entity, intermediates, now)?;
        match self.store.knows_certificate(&hash(end_entity)) {
            Ok(true) => Ok(signed),
            Ok(false) => Err(CertificateError::Revoked.into()),
            Err(error) => Err(rustls::Error::General(crate::status::chain(&error))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
