//! The certificates of home's own authorities, for devices to trust: in one file, and each in its own
//! for programs that take the first one of a file only.

use std::path::{Path, PathBuf};

use cloudless_proto::Hostname;

use super::{CertificateError, file};

/// Where all of them are: PEM, one after another.
pub fn ca_file(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.pem")
}

/// Where that of one name is.
pub fn ca_file_of(state_dir: &Path, hostname: &Hostname) -> PathBuf {
    state_dir.join(format!("ca-{hostname}.pem"))
}

/// Writes what is not there yet of these names' authorities.
pub(super) fn write(
    state_dir: &Path,
    authorities: &[(Hostname, String)],
) -> Result<(), CertificateError> {
    let all: String = authorities.iter().map(|(_, pem)| pem.as_str()).collect();
    put(&ca_file(state_dir), &all)?;
    authorities
        .iter()
        .try_for_each(|(hostname, pem)| put(&ca_file_of(state_dir, hostname), pem))
}

fn put(path: &Path, pem: &str) -> Result<(), CertificateError> {
    let is_same = std::fs::read_to_string(path).is_ok_and(|present| present == pem);
    if is_same {
        return Ok(());
    }
    file::write(path, pem.as_bytes(), file::PUBLIC)
}
