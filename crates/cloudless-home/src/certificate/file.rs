//! Files that are either the old or the new ones, whole, whatever happens meanwhile.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::CertificateError;

/// The mode of a file with a key in it.
pub(crate) const SECRET: u32 = 0o600;
/// The mode of a file for everybody to read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Makes a directory that only its owner can enter, unless it is there.
pub(crate) fn create_directory(path: &Path) -> Result<(), CertificateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| CertificateError::Write {
            path: path.to_owned(),
            source,
        })
}

/// The file's text, which may be a key's; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, CertificateError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertificateError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces the file; when this returns the new one is on the disk.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    replace(path, bytes, mode).map_err(|source| CertificateError::Write {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    // A file left by a crash could have another mode.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
