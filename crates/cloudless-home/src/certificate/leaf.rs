//! A hostname's certificate and key, as TLS uses them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cloudless_proto::Hostname;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::authority::{Authority, BACKDATED, validity, whole_seconds};
use super::{CertificateError, file};

/// With the backdating 397 days, which is all that some clients accept.
const LIFE: Duration = Duration::from_secs(396 * 24 * 60 * 60);

/// One certificate, its key and its time.
pub(super) struct Leaf {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Leaf {
    /// The certificate in `HOST.pem`. A new one, with a new key, takes its place when it is due,
    /// damaged or another authority's.
    pub(super) fn open_or_issue(
        directory: &Path,
        hostname: &Hostname,
        authority: &Authority,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let path = directory.join(format!("{hostname}.pem"));
        let present = file::read(&path)?.and_then(|text| Self::parse(&text, authority).ok());
        if let Some(leaf) = present.filter(|leaf| leaf.not_before <= now && !leaf.is_due(now)) {
            return Ok(leaf);
        }
        let text = issue(hostname, authority, now).map_err(|source| CertificateError::Issue {
            hostname: hostname.clone(),
            source,
        })?;
        file::write(&path, text.as_bytes(), file::SECRET)?;
        Self::parse(&text, authority).map_err(|source| CertificateError::Damaged { path, source })
    }

    /// TLS 1.2 and 1.3 with this certificate, HTTP/2 and HTTP/1.1, and tickets, because some
    /// clients open a connection for each request.
    pub(super) fn server_config(
        &self,
        hostname: &Hostname,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Arc<ServerConfig>, CertificateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            })
            .map_err(|source| CertificateError::Tls {
                hostname: hostname.clone(),
                source,
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = tickets;
        Ok(Arc::new(config))
    }

    fn is_due(&self, now: SystemTime) -> bool {
        is_due(self.not_before, self.not_after, now)
    }

    /// Reads key, certificate and the authority that signed it, which must be the present one.
    fn parse(
        text: &str,
        authority: &Authority,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())?;
        let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes());
        let certificate = certificates.next().ok_or("no certificate")??;
        if certificates.next().ok_or("no authority")?? != authority.certificate {
            return Err("another authority".into());
        }
        let (not_before, not_after) = validity(&certificate)?;
        Ok(Self {
            certificate,
            key,
            not_before,
            not_after,
        })
    }
}

/// Whether a third of the life or less is left.
pub(super) fn is_due(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> bool {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    not_after.duration_since(now).unwrap_or_default() <= life / 3
}

/// A new key and certificate and, to tell whose it is, the authority, in PEM.
pub(super) fn issue(
    hostname: &Hostname,
    authority: &Authority,
    now: SystemTime,
) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.not_before = whole_seconds(now - BACKDATED);
    params.not_after = whole_seconds((now + LIFE).min(authority.not_after));
    params.distinguished_name = DistinguishedName::new();
    // A common name has at most 64 characters; the alternative name is what counts.
    if hostname.as_str().len() <= 64 {
        params
            .distinguished_name
            .push(DnType::CommonName, hostname.to_string());
    }
    params.subject_alt_names = vec![SanType::DnsName(hostname.to_string().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority.issuer)?;
    Ok(format!(
        "{}{}{}",
        key.serialize_pem(),
        certificate.pem(),
        authority.certificate_pem()
    ))
}
