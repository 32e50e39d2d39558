//! A certificate that somebody else renews: the owner's own files, looked at again and again.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::CertificateError;
use super::pair::Pair;

/// Longer files hold something else.
const FILE_MAX: u64 = 1024 * 1024;

/// The files of one name, in PEM: the chain, the leaf first, and the leaf's key. They may be the same
/// file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// What is known of both files without reading them. It changes whenever one is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([FileStamp; 2]);

/// Device, inode, length, and the time of the last change in seconds and nanoseconds.
type FileStamp = (u64, u64, u64, i64, i64);

impl CertificateFiles {
    /// # Errors
    /// One of them is not there, or may not be looked at.
    pub(super) fn stamp(&self) -> Result<Stamp, CertificateError> {
        Ok(Stamp([stamp(&self.certificate)?, stamp(&self.key)?]))
    }

    /// Reads both.
    ///
    /// # Errors
    /// One of them cannot be read, or they are no certificate and no key.
    pub(super) fn load(&self) -> Result<Pair, CertificateError> {
        let chain = read(&self.certificate)?;
        let key = read(&self.key)?;
        Pair::from_pem(&chain, &key).map_err(|source| CertificateError::Files {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })
    }
}

fn stamp(path: &Path) -> Result<FileStamp, CertificateError> {
    let metadata = metadata(path)?;
    Ok((
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}

fn metadata(path: &Path) -> Result<Metadata, CertificateError> {
    std::fs::metadata(path).map_err(|source| read_error(path, source))
}

fn read(path: &Path) -> Result<Zeroizing<String>, CertificateError> {
    if metadata(path)?.len() > FILE_MAX {
        return Err(read_error(path, io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read_to_string(path);
    text.map(Zeroizing::new)
        .map_err(|source| read_error(path, source))
}

fn read_error(path: &Path, source: io::Error) -> CertificateError {
    CertificateError::Read {
        path: path.to_owned(),
        source,
    }
}
