use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::OpenError;

const LOCK_RETRY: Duration = Duration::from_millis(10);

/// The store's directory, locked for this process until it is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    database: PathBuf,
    _lock: File,
}

impl Directory {
    /// Creates what is missing, for this user alone, and takes the lock, for which it waits so long.
    pub(crate) fn open(path: &Path, wait: Duration) -> Result<Self, OpenError> {
        create(path).map_err(|source| OpenError::CreateDirectory {
            path: path.to_owned(),
            source,
        })?;
        let lock_path = path.join("store.lock");
        let prepare = |path: &Path| {
            private_file(path).map_err(|source| OpenError::PrepareFile {
                path: path.to_owned(),
                source,
            })
        };
        let lock = prepare(&lock_path)?;
        let deadline = Instant::now() + wait;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: lock_path }),
                Err(TryLockError::Error(source)) => {
                    return Err(OpenError::Lock {
                        path: lock_path,
                        source,
                    });
                }
            }
        }
        // SQLite gives its write-ahead log the permissions of the database file.
        let database = path.join("store.sqlite");
        prepare(&database)?;
        Ok(Self {
            database,
            _lock: lock,
        })
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }
}

fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync_parent(path)
}

/// Makes the name `path` durable: it is only when its directory is.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Opens or creates a file that only this user can read.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}
