//! What is kept of a name's orders: the certificate with its key, and what went wrong.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cloudless_proto::Hostname;
use zeroize::Zeroizing;

use super::accounts::account_uri;
use super::schedule::{Life, Schedule, Trouble};
use crate::certificate::file::{self, SECRET, create_directory};
use crate::certificate::{CertificateError, ValidationMethod, directory};
use crate::config::unix_ms;
use crate::status::{AcmeStatus, chain};

/// The certificate from before, key and chain in PEM.
pub(in crate::certificate) fn read(
    state_dir: &Path,
    hostname: &Hostname,
) -> Result<Option<Zeroizing<String>>, CertificateError> {
    file::read(&certificate_file(state_dir, hostname))
}

/// Replaces it; when this returns the new one is on the disk.
pub(in crate::certificate) fn write(
    state_dir: &Path,
    hostname: &Hostname,
    pem: &str,
) -> Result<(), CertificateError> {
    create_directory(&directory(state_dir))?;
    file::write(
        &certificate_file(state_dir, hostname),
        pem.as_bytes(),
        SECRET,
    )
}

/// What is known of a name's orders while home does not run, and what went wrong with the last.
pub(in crate::certificate) fn orders(
    state_dir: &Path,
    hostname: &Hostname,
    (directory, method): (&str, ValidationMethod),
    life: Option<Life>,
    now: SystemTime,
) -> (AcmeStatus, Option<String>) {
    let mut schedule = Schedule::new(read_trouble(state_dir, hostname));
    if let Some(life) = life {
        // In the middle of what chance may make of it.
        schedule.found(life, 0.5);
    }
    let account = account_uri(state_dir, directory);
    let status = AcmeStatus {
        directory: directory.to_owned(),
        account: account.as_ref().ok().cloned().flatten(),
        method: method.to_string(),
        is_ordering: false,
        next_order: Some(unix_ms(schedule.planned(now))),
        failures: schedule.failures(),
    };
    let error = schedule.message().map(str::to_owned);
    (status, account.err().map(|error| chain(&error)).or(error))
}

/// What went wrong before. A file that cannot be read is none: it only spares the authority.
pub(super) fn read_trouble(state_dir: &Path, hostname: &Hostname) -> Trouble {
    let text = file::read(&trouble_file(state_dir, hostname));
    let trouble = text.ok().flatten().map(|text| serde_json::from_str(&text));
    trouble.and_then(Result::ok).unwrap_or_default()
}

/// Keeps what went wrong, or forgets it.
pub(super) fn write_trouble(
    state_dir: &Path,
    hostname: &Hostname,
    trouble: &Trouble,
) -> Result<(), CertificateError> {
    let path = trouble_file(state_dir, hostname);
    let Some(text) = trouble.to_keep().and_then(|it| serde_json::to_vec(it).ok()) else {
        return match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(CertificateError::Write { path, source })
            }
            _ => Ok(()),
        };
    };
    create_directory(&directory(state_dir))?;
    file::write(&path, &text, SECRET)
}

fn certificate_file(state_dir: &Path, hostname: &Hostname) -> PathBuf {
    // No hostname has an underscore, so this is no other name's file.
    directory(state_dir).join(format!("{hostname}_acme.pem"))
}

fn trouble_file(state_dir: &Path, hostname: &Hostname) -> PathBuf {
    directory(state_dir).join(format!("{hostname}_acme.json"))
}
