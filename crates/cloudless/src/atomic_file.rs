//! Files that are there whole or not at all.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use tempfile::NamedTempFile;

/// Replaces the file at `path` (mode 0600) so that a crash leaves the old or the new one.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> anyhow::Result<()> {
    replace_with_mode(path, contents, 0o600)
}

/// The same with a file that everybody may read (mode 0644).
pub(crate) fn publish(path: &Path, contents: &[u8]) -> anyhow::Result<()> {
    replace_with_mode(path, contents, 0o644)
}

fn replace_with_mode(path: &Path, contents: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || {
        let directory = directory_of(path);
        let file = written(directory, contents)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the file at `path` (mode 0600) unless there is one. Returns whether it was written.
pub(crate) fn create(path: &Path, contents: &[u8]) -> anyhow::Result<bool> {
    let write = || {
        let directory = directory_of(path);
        match written(directory, contents)?.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error.error),
        }
        File::open(directory)?.sync_all()?;
        Ok(true)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A synced temporary file beside the one that it becomes.
fn written(directory: &Path, contents: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The directory that a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
