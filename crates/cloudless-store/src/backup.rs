use std::fs;
use std::path::{Path, PathBuf};

use crate::schema::copy;
use crate::{Store, StoreError};

/// Why a backup could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A backup never replaces a file.
    #[error("{path} exists: name a new file")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The copy could not be written.
    #[error("cannot write the backup {path}: check its directory and the room on the disk")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system or SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl Store {
    /// Copies everything as it is at this moment to a new file, for this user alone. It is on disk on
    /// return, and others read and write meanwhile. Put in the place of `store.sqlite`, without the
    /// files beside that, it is opened like any other; every device then syncs anew.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; there is no file of this name then.
    pub fn back_up(&self, path: &Path) -> Result<(), BackupError> {
        if fs::exists(path).unwrap_or(true) {
            return Err(BackupError::Exists {
                path: path.to_owned(),
            });
        }
        self.read(|snapshot| {
            // A snapshot begins with the first read.
            snapshot.query_row("SELECT count(*) FROM settings", [], |_| Ok(()))?;
            Ok(copy::to_file(snapshot, path))
        })
        .map_err(BackupError::Store)?
        .map_err(|source| BackupError::Write {
            path: path.to_owned(),
            source,
        })
    }
}
