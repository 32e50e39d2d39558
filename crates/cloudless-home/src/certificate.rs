//! The certificates that visitors see.
//!
//! Where a name's certificate comes from is set for each name ([`CertificateSource`]). A certificate
//! that is not valid at this moment, or is another name's, is never shown: the connection is closed
//! instead, so that nobody learns to tap "continue".
//!
//! Home's own: each hostname has a certificate authority of its own, made once and good for ten
//! years, that can sign for that name alone (RFC 5280 §4.2.1.10): a new name never disturbs a device
//! that trusts an old one, and a stolen authority is worth one name. The leaf is renewed when a third
//! of its life is left.
//!
//! In the state directory, for devices to trust: `ca.pem`, all authorities' certificates, and
//! `ca-HOST.pem` for each name, that of its own alone; and in
//! `certificates/` with mode 0600 for each name `HOST_ca.pem` and `HOST.pem` or `HOST_pinned.pem`,
//! with their keys; `HOST_acme.pem`, key and chain, and `HOST_acme.json`, what went wrong with the
//! orders; `acme-accounts.json`; and the ledger of keys.

pub(crate) mod acme;
mod authority;
mod authority_files;
mod error;
pub(crate) mod file;
mod files;
mod gate;
mod kept;
mod leaf;
mod ledger;
mod pair;
mod served;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloudless_proto::Hostname;

use self::authority::Authority;
use self::leaf::LeafKind;
use self::pair::Pair;

pub use self::acme::{
    AccountImportError, AcmeConfig, ExternalAccount, KnownAccount, account_file, account_uri,
    export_accounts, import_accounts, known_accounts,
};
pub use self::authority_files::{ca_file, ca_file_of};
pub use self::error::CertificateError;
pub use self::files::CertificateFiles;
pub use self::gate::{Gate, HonestRelay, IntendedOrder, Permission, Refusal, ValidationMethod};
pub use self::kept::kept;
pub use self::ledger::{
    KeyOrigin, KeyRecord, SpkiHash, ledger_file, read as read_ledger, record as record_key,
};
pub(crate) use self::served::{Certificates, keep_fresh, refresh};

/// Clocks that say an earlier time than this, 2026-01-01, are wrong.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// Where a name's certificate comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CertificateSource {
    /// A public authority, by ACME (RFC 8555).
    Acme,
    /// Files that somebody else renews.
    Files(CertificateFiles),
    /// Home's own authority for the name.
    #[default]
    Own,
    /// The same, for devices that trust this very certificate: it lasts ten years.
    Pinned,
}

impl CertificateSource {
    /// What home's own authority makes, if it makes one.
    fn leaf_kind(&self) -> Option<LeafKind> {
        match self {
            Self::Own => Some(LeafKind::Renewed),
            Self::Pinned => Some(LeafKind::Pinned),
            Self::Acme | Self::Files(_) => None,
        }
    }
}

/// Where certificates and their keys are.
fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("certificates")
}

/// Makes the certificates of home's own that are missing or due and writes [`ca_file`], whose path it
/// returns, and [`ca_file_of`] each name. A running home does this itself; call it to have the files
/// before. Blocks on the disk.
///
/// # Errors
/// The first hostname's [`CertificateError`]; the others have been tried.
pub fn prepare(
    state_dir: &Path,
    hostnames: &[Hostname],
    now: SystemTime,
) -> Result<PathBuf, CertificateError> {
    let mut failure = None;
    let mut authorities = Vec::new();
    for hostname in hostnames {
        match load_own(state_dir, hostname, LeafKind::Renewed, now) {
            Ok((authority, _)) => {
                authorities.push((hostname.clone(), authority.certificate_pem().to_owned()));
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    authority_files::write(state_dir, &authorities)?;
    failure.map_or_else(|| Ok(ca_file(state_dir)), Err)
}

/// The hostname's authority and a leaf that is not due, made now if need be.
fn load_own(
    state_dir: &Path,
    hostname: &Hostname,
    kind: LeafKind,
    now: SystemTime,
) -> Result<(Authority, Pair), CertificateError> {
    let directory = directory(state_dir);
    let authority = open_authority(state_dir, hostname, now)?;
    let leaf = leaf::open_or_issue(&directory, hostname, &authority, kind, now)?;
    Ok((authority, leaf))
}

/// The same with a leaf that is new.
fn renew_own(
    state_dir: &Path,
    hostname: &Hostname,
    kind: LeafKind,
    now: SystemTime,
) -> Result<(Authority, Pair), CertificateError> {
    let directory = directory(state_dir);
    let authority = open_authority(state_dir, hostname, now)?;
    let leaf = leaf::replace(&directory, hostname, &authority, kind, now)?;
    Ok((authority, leaf))
}

fn open_authority(
    state_dir: &Path,
    hostname: &Hostname,
    now: SystemTime,
) -> Result<Authority, CertificateError> {
    if now < UNIX_EPOCH + EARLIEST {
        return Err(CertificateError::Clock(
            time::OffsetDateTime::from(now).date(),
        ));
    }
    let directory = directory(state_dir);
    file::create_directory(&directory)?;
    Authority::open_or_create(&directory, hostname, now)
}

#[cfg(test)]
mod tests;
