//! A certificate chain and its key, as TLS uses them.

use std::sync::Arc;
use std::time::SystemTime;

use cloudless_proto::Hostname;
use data_encoding::HEXLOWER;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ParsedCertificate, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::CertificateError;
use super::acme::schedule::Life;
use super::authority::validity;
use super::ledger::SpkiHash;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Of a chain, more certificates than this are none that a client would follow.
const CHAIN_MAX: usize = 10;

/// A chain, the leaf first, with the leaf's key and its time.
#[derive(Debug)]
pub(super) struct Pair {
    certificates: Vec<CertificateDer<'static>>,
    key: Zeroizing<PrivateKeyDer<'static>>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

/// What people compare and programs look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) issuer: String,
    pub(super) serial: String,
    pub(super) sha256: String,
    pub(super) spki_sha256: SpkiHash,
}

impl Pair {
    /// Reads a chain and a key, both in PEM; they may be the same text.
    pub(super) fn from_pem(chain: &str, key: &str) -> Result<Self, Cause> {
        let certificates = CertificateDer::pem_slice_iter(chain.as_bytes())
            .take(CHAIN_MAX)
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        Self::new(certificates, key)
    }

    /// A chain with the key of its first certificate.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Cause> {
        let leaf = certificates.first().ok_or("it holds no certificate")?;
        let (not_before, not_after) = validity(leaf)?;
        Ok(Self {
            certificates,
            key: Zeroizing::new(key),
            not_before,
            not_after,
        })
    }

    /// TLS 1.2 and 1.3 with this certificate, HTTP/2 and HTTP/1.1, and tickets, because some
    /// clients open a connection for each request.
    ///
    /// # Errors
    /// The key is another certificate's, or the certificate is not for this name.
    pub(super) fn server_config(
        &self,
        hostname: &Hostname,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Arc<ServerConfig>, CertificateError> {
        let tls = |source| CertificateError::Tls {
            hostname: hostname.clone(),
            source,
        };
        self.verify_name(hostname).map_err(tls)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        // No copy of the key is left behind.
        let signer = aws_lc_rs::sign::any_supported_type(&self.key).map_err(tls)?;
        let certified = CertifiedKey::new(self.certificates.clone(), signer);
        certified.keys_match().map_err(tls)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = tickets;
        Ok(Arc::new(config))
    }

    /// The time for which it is good.
    pub(super) fn life(&self) -> Life {
        Life {
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }

    /// The certificate that the others vouch for.
    pub(super) fn leaf(&self) -> &CertificateDer<'static> {
        &self.certificates[0]
    }

    pub(super) fn details(&self) -> Result<Details, Cause> {
        details(self.leaf())
    }

    fn verify_name(&self, hostname: &Hostname) -> Result<(), rustls::Error> {
        let leaf = ParsedCertificate::try_from(self.leaf())?;
        let name = ServerName::try_from(hostname.as_str())
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verify_server_name(&leaf, &name)
    }
}

fn details(leaf: &CertificateDer<'_>) -> Result<Details, Cause> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf)?;
    Ok(Details {
        issuer: certificate.issuer().to_string(),
        serial: HEXLOWER.encode(certificate.raw_serial()),
        sha256: HEXLOWER.encode(&Sha256::digest(leaf)),
        spki_sha256: SpkiHash::of_spki(certificate.public_key().raw),
    })
}
