//! The authority that signs the certificates of a home's devices.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::ClientCertificateError;
use crate::certificate::file;

/// No hostname has an underscore, so this is no name's certificate.
const FILE: &str = "certificates/client_authority.pem";
/// Before this program: no clock has to be right for a certificate to be good. What ends it is that
/// its device is revoked.
const NOT_BEFORE: (i32, u8, u8) = (2026, 1, 1);
/// RFC 5280 section 4.1.2.5: no end.
const NOT_AFTER: (i32, u8, u8) = (9999, 12, 31);

/// Signs a certificate for each device.
pub(crate) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A device's certificate and key, which home does not keep.
pub(crate) struct Issued {
    pub(super) certificate: CertificateDer<'static>,
    /// In PKCS#8.
    pub(super) key: Zeroizing<Vec<u8>>,
}

impl Issued {
    /// By what the store knows it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        super::hash(&self.certificate)
    }
}

impl Authority {
    /// The one in the state directory, made now if there is none. Blocks on the disk.
    pub(crate) fn open_or_create(state_dir: &Path) -> Result<Self, ClientCertificateError> {
        let path = state_dir.join(FILE);
        let present = file::read(&path).map_err(ClientCertificateError::File)?;
        let text = match present {
            Some(text) => text,
            None => {
                let text = create().map_err(ClientCertificateError::Issue)?;
                if let Some(directory) = path.parent() {
                    file::create_directory(directory).map_err(ClientCertificateError::File)?;
                }
                file::write(&path, text.as_bytes(), file::SECRET)
                    .map_err(ClientCertificateError::File)?;
                text
            }
        };
        Self::parse(&text).map_err(|source| ClientCertificateError::Damaged { path, source })
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let key = KeyPair::from_pem(text)?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// Makes a key and a certificate for it. The name is for people who choose among certificates.
    pub(crate) fn issue(&self, name: &str) -> Result<Issued, ClientCertificateError> {
        let issue = || -> Result<Issued, rcgen::Error> {
            let key = KeyPair::generate()?;
            let mut params = params(name);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.use_authority_key_identifier_extension = true;
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok(Issued {
                certificate: certificate.der().clone(),
                key: Zeroizing::new(key.serialize_der()),
            })
        };
        issue().map_err(ClientCertificateError::Issue)
    }
}

/// A new authority: its key, then its certificate, in PEM.
fn create() -> Result<Zeroizing<String>, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params("cloudless devices");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key)?;
    let key = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new([key.as_str(), &certificate.pem()].concat()))
}

fn params(name: &str) -> CertificateParams {
    let date = |(year, month, day)| date_time_ymd(year, month, day);
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date(NOT_BEFORE), date(NOT_AFTER));
    params.distinguished_name = DistinguishedName::new();
    // A common name has at most 64 characters.
    let name: String = name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
