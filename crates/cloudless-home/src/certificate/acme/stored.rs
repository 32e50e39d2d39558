//! What is kept of a name's orders: the certificate with its key, and what went wrong.

use std::path::{Path, PathBuf};

use cloudless_proto::Hostname;

use super::schedule::Trouble;
use crate::certificate::file::{self, SECRET, create_directory};
use crate::certificate::{CertificateError, directory};

/// The certificate from before, key and chain in PEM.
pub(in crate::certificate) fn read(
    state_dir: &Path,
    hostname: &Hostname,
) -> Result<Option<String>, CertificateError> {
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
