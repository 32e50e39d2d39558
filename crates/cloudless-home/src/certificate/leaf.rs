//! A hostname's certificate that home's own authority signs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cloudless_proto::Hostname;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::authority::{Authority, BACKDATED, whole_seconds};
use super::pair::Pair;
use super::{CertificateError, file};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a leaf lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeafKind {
    /// For devices that trust the authority.
    Renewed,
    /// For devices that trust this very certificate, and ask a person about each other one.
    Pinned,
}

impl LeafKind {
    fn life(self) -> Duration {
        match self {
            // With the backdating 397 days, which is all that some clients accept.
            Self::Renewed => 396 * DAY,
            // As long as the authority.
            Self::Pinned => 3650 * DAY,
        }
    }

    /// Whether so little of the life is left that a new one is made.
    pub(super) fn is_due(
        self,
        not_before: SystemTime,
        not_after: SystemTime,
        now: SystemTime,
    ) -> bool {
        let whole = not_after.duration_since(not_before).unwrap_or_default();
        let left = not_after.duration_since(now).unwrap_or_default();
        match self {
            Self::Renewed => left <= whole / 3,
            Self::Pinned => left <= 30 * DAY,
        }
    }

    pub(super) fn file_name(self, hostname: &Hostname) -> String {
        match self {
            Self::Renewed => format!("{hostname}.pem"),
            // No hostname has an underscore, so this is no other name's leaf.
            Self::Pinned => format!("{hostname}_pinned.pem"),
        }
    }
}

/// The certificate in the kind's file, or a new one with a new key where there is none. One that is due
/// is replaced; one that devices trust through the authority also when it is damaged, another
/// authority's or not good yet. One that they trust alone is not: each would ask about another.
pub(super) fn open_or_issue(
    directory: &Path,
    hostname: &Hostname,
    authority: &Authority,
    kind: LeafKind,
    now: SystemTime,
) -> Result<Pair, CertificateError> {
    let path = directory.join(kind.file_name(hostname));
    let kept = match (file::read(&path)?, kind) {
        (None, _) => None,
        (Some(text), LeafKind::Renewed) => parse(&text, Some(authority)).ok().filter(|leaf| {
            leaf.not_before <= now && !kind.is_due(leaf.not_before, leaf.not_after, now)
        }),
        (Some(text), LeafKind::Pinned) => {
            let leaf = parse(&text, None).map_err(|source| CertificateError::Damaged {
                path: path.clone(),
                source,
            })?;
            if now < leaf.not_before {
                return Err(CertificateError::NotYetValid {
                    hostname: hostname.clone(),
                    from: time::OffsetDateTime::from(leaf.not_before).date(),
                    path,
                });
            }
            // One of an authority that ends with it would be due at once, again and again.
            let is_due = kind.is_due(leaf.not_before, leaf.not_after, now)
                && leaf.not_after < authority.not_after;
            Some(leaf).filter(|_| !is_due)
        }
    };
    match kept {
        Some(leaf) => Ok(leaf),
        None => replace(directory, hostname, authority, kind, now),
    }
}

/// Makes a new certificate with a new key, whatever there is.
pub(super) fn replace(
    directory: &Path,
    hostname: &Hostname,
    authority: &Authority,
    kind: LeafKind,
    now: SystemTime,
) -> Result<Pair, CertificateError> {
    let path = directory.join(kind.file_name(hostname));
    let text = issue(hostname, authority, kind, now).map_err(|source| CertificateError::Issue {
        hostname: hostname.clone(),
        source,
    })?;
    file::write(&path, text.as_bytes(), file::SECRET)?;
    parse(&text, Some(authority)).map_err(|source| CertificateError::Damaged { path, source })
}

/// Reads key, certificate and the authority that signed it, which must be this one where it matters
/// and is not shown: devices have it.
fn parse(
    text: &str,
    authority: Option<&Authority>,
) -> Result<Pair, Box<dyn std::error::Error + Send + Sync>> {
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes())?;
    let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes());
    let certificate = certificates.next().ok_or("no certificate")??;
    let signer = certificates.next().ok_or("no authority")??;
    if authority.is_some_and(|it| it.certificate != signer) {
        return Err("another authority".into());
    }
    Pair::new(vec![certificate], key)
}

/// A new key and certificate and, to tell whose it is, the authority, in PEM.
pub(super) fn issue(
    hostname: &Hostname,
    authority: &Authority,
    kind: LeafKind,
    now: SystemTime,
) -> Result<Zeroizing<String>, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.not_before = whole_seconds(now - BACKDATED);
    params.not_after = whole_seconds((now + kind.life()).min(authority.not_after));
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
    let key = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new(
        [
            key.as_str(),
            &certificate.pem(),
            authority.certificate_pem(),
        ]
        .concat(),
    ))
}
