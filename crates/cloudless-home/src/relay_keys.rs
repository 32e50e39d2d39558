//! The keys by which home trusts its relays, when they are others than those it joined with.
//!
//! A relay that rotates its key announces the next one over the control stream. Home puts it on the
//! disk before it says so, because the relay lets the older key go after that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cloudless_proto::{PinnedKeys, PublicKey};
use serde::{Deserialize, Serialize};

/// The file in home's state directory.
pub const FILE: &str = "relay-keys.json";

/// The keys by which each relay is trusted.
#[derive(Debug)]
pub struct RelayKeys {
    path: PathBuf,
    /// By the key that home joined with.
    pinned: Mutex<BTreeMap<PublicKey, PinnedKeys>>,
}

/// What became of one relay's key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The key that home joined with.
    joined_with: PublicKey,
    /// Those that the relay may prove now, the newest first.
    trusted: PinnedKeys,
}

impl RelayKeys {
    /// Reads the file in `state_dir`; there is none before the first rotation.
    ///
    /// # Errors
    /// [`RelayKeysError`] when it cannot be read, or is something else.
    pub fn open(state_dir: &Path) -> Result<Self, RelayKeysError> {
        let path = state_dir.join(FILE);
        let rows: Vec<Row> = match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(rows) => rows,
                Err(source) => return Err(RelayKeysError::Damaged { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(RelayKeysError::Read { path, source }),
        };
        let rows = rows.into_iter().map(|row| (row.joined_with, row.trusted));
        Ok(Self {
            path,
            pinned: Mutex::new(rows.collect()),
        })
    }

    /// The keys by which the relay is trusted that home joined with `joined_with`.
    pub fn of(&self, joined_with: PublicKey) -> PinnedKeys {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pinned.get(&joined_with).cloned();
        found.unwrap_or_else(|| PinnedKeys::new(joined_with))
    }

    /// Trusts that relay by these keys from now on; they are on the disk on return. Blocks on it.
    pub(crate) fn pin(
        &self,
        joined_with: PublicKey,
        keys: PinnedKeys,
    ) -> Result<(), RelayKeysError> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = pinned.clone();
        changed.insert(joined_with, keys);
        let rows = changed.iter().map(|(joined_with, trusted)| Row {
            joined_with: *joined_with,
            trusted: trusted.clone(),
        });
        let rows: Vec<_> = rows.collect();
        let write = || replace(&self.path, &serde_json::to_vec_pretty(&rows)?);
        write().map_err(|source| RelayKeysError::Write {
            path: self.path.clone(),
            source,
        })?;
        *pinned = changed;
        Ok(())
    }
}

/// Replaces the file so that a crash leaves the old or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Why the relays' keys are not known, or not kept.
#[derive(Debug, thiserror::Error)]
pub enum RelayKeysError {
    /// The file is something else.
    #[error(
        "{} is damaged: restore it from a backup, or remove it and join again if the relay is not \
         reached then", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(
        "the relay's next key cannot be kept in {}: make room, or it is not trusted when the \
         relay's key of now goes", path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey([byte; 32])
    }

    fn keys(bytes: &[u8]) -> PinnedKeys {
        let keys: Vec<_> = bytes.iter().copied().map(key).collect();
        keys.try_into().unwrap()
    }

    #[test]
    fn what_is_pinned_is_there_after_a_restart() {
        let directory = TempDir::new().unwrap();
        let relays = RelayKeys::open(directory.path()).unwrap();
        assert_eq!(relays.of(key(1)), keys(&[1]));
        relays.pin(key(1), keys(&[2, 1])).unwrap();
        relays.pin(key(7), keys(&[8])).unwrap();
        // What a crash before the rename leaves is no harm.
        fs::write(directory.path().join("relay-keys.json.new"), "[{").unwrap();
        for relays in [relays, RelayKeys::open(directory.path()).unwrap()] {
            assert_eq!(relays.of(key(1)), keys(&[2, 1]));
            assert_eq!(relays.of(key(7)), keys(&[8]));
            assert_eq!(relays.of(key(3)), keys(&[3]));
        }
    }

    #[test]
    fn what_cannot_be_kept_is_not_trusted() {
        let directory = TempDir::new().unwrap();
        let relays = RelayKeys::open(directory.path()).unwrap();
        fs::create_dir(directory.path().join("relay-keys.json.new")).unwrap();
        let failed = relays.pin(key(1), keys(&[2, 1])).unwrap_err();
        assert!(matches!(failed, RelayKeysError::Write { .. }));
        assert_eq!(relays.of(key(1)), keys(&[1]));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = TempDir::new().unwrap();
        for text in ["", "{}", "[{\"joined_with\":\"x\"}]"] {
            fs::write(directory.path().join(FILE), text).unwrap();
            let error = RelayKeys::open(directory.path()).unwrap_err();
            assert!(error.to_string().contains(FILE), "{error}");
        }
    }
}
