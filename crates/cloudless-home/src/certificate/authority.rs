//! The certificate authority of one hostname.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cloudless_proto::Hostname;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::{CertificateError, file};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years: devices are told to trust it by hand.
const LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Devices whose clocks are late shall accept a certificate made just now.
pub(super) const BACKDATED: Duration = DAY;

/// Signs leaf certificates for its hostname.
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    certificate_pem: String,
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) not_after: SystemTime,
}

impl Authority {
    /// The authority in `HOST_ca.pem`, which is made if there is none.
    pub(super) fn open_or_create(
        directory: &Path,
        hostname: &Hostname,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        // No hostname has an underscore, so this is no other name's leaf.
        let path = directory.join(format!("{hostname}_ca.pem"));
        let text = match file::read(&path)? {
            Some(text) => text,
            None => {
                let text = create(hostname, now).map_err(|source| CertificateError::Issue {
                    hostname: hostname.clone(),
                    source,
                })?;
                file::write(&path, text.as_bytes(), file::SECRET)?;
                text
            }
        };
        let authority = Self::parse(&text).map_err(|source| CertificateError::Damaged {
            path: path.clone(),
            source,
        })?;
        let (not_before, not_after) =
            validity(&authority.certificate).map_err(|source| CertificateError::Damaged {
                path: path.clone(),
                source,
            })?;
        if now < not_before || now >= not_after {
            return Err(CertificateError::AuthorityNotValid {
                hostname: hostname.clone(),
                from: time::OffsetDateTime::from(not_before).date(),
                until: time::OffsetDateTime::from(not_after).date(),
                path,
            });
        }
        Ok(Self {
            not_after,
            ..authority
        })
    }

    /// The certificate that devices trust.
    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Reads the key and the certificate.
    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let key = KeyPair::from_pem(text)?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let start = text.find("-----BEGIN CERTIFICATE-----").unwrap_or_default();
        Ok(Self {
            certificate_pem: text[start..].to_owned(),
            certificate,
            issuer,
            not_after: SystemTime::UNIX_EPOCH,
        })
    }
}

/// A new authority: its key, then its certificate, in PEM.
fn create(hostname: &Hostname, now: SystemTime) -> Result<Zeroizing<String>, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.not_before = whole_seconds(now - BACKDATED);
    params.not_after = whole_seconds(now + LIFE);
    params.distinguished_name = DistinguishedName::new();
    // A common name has at most 64 characters.
    let name = format!("cloudless CA for {hostname}");
    let name = if name.len() <= 64 {
        name
    } else {
        "cloudless CA".to_owned()
    };
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(hostname.to_string())],
        // A constraint on one kind of name leaves the other kinds free.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    let certificate = params.self_signed(&key)?;
    let key = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new([key.as_str(), &certificate.pem()].concat()))
}

/// From when to when a certificate is valid.
pub(super) fn validity(
    certificate: &CertificateDer<'_>,
) -> Result<(SystemTime, SystemTime), Box<dyn std::error::Error + Send + Sync>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)?;
    let validity = certificate.validity();
    Ok((
        validity.not_before.to_datetime().into(),
        validity.not_after.to_datetime().into(),
    ))
}

/// Certificates tell time in seconds.
pub(super) fn whole_seconds(at: SystemTime) -> time::OffsetDateTime {
    let at = time::OffsetDateTime::from(at);
    at.replace_nanosecond(0).unwrap_or(at)
}
