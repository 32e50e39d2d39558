use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use zeroize::Zeroizing;

use crate::registry::replace_file;

/// The relay's SSH host key in its state directory, in OpenSSH's format.
pub const HOST_KEY_FILE: &str = "ssh_host_ed25519_key";

/// The key that proves the relay to SSH clients.
#[derive(Clone)]
pub struct HostKey(PrivateKey);

impl HostKey {
    /// Reads the host key in `directory`, the relay's state, and makes it when there is none. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// When the file cannot be read or made, or is no Ed25519 key.
    pub fn open(directory: &Path) -> Result<Self, HostKeyError> {
        let path = directory.join(HOST_KEY_FILE);
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => {
                let key = PrivateKey::from_openssh(text.as_str());
                let key = key.ok().filter(|key| key.algorithm() == Algorithm::Ed25519);
                key.map(Self).ok_or(HostKeyError::NotEd25519 { path })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(directory, path),
            Err(source) => Err(HostKeyError::Read { path, source }),
        }
    }

    fn make(directory: &Path, path: PathBuf) -> Result<Self, HostKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(HostKeyError::Random)?;
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        // An Ed25519 key has this form.
        let text = key
            .to_openssh(LineEnding::LF)
            .map_err(|_| HostKeyError::NotEd25519 { path: path.clone() })?;
        match replace_file(directory, HOST_KEY_FILE, &text) {
            Ok(()) => Ok(Self(key)),
            Err(source) => Err(HostKeyError::Write { path, source }),
        }
    }

    pub(super) fn private(&self) -> &PrivateKey {
        &self.0
    }

    /// Its public half as known_hosts has it after the host: algorithm and key.
    pub fn public(&self) -> String {
        // An Ed25519 key has this form.
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    /// What `ssh` shows when it connects for the first time.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostKey").field(&self.fingerprint()).finish()
    }
}

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// Something else is in the file.
    #[error(
        "{} is no Ed25519 key without a passphrase: put it back, or remove it and the relay makes another \
         one, which each SSH home has to be told", path.display()
    )]
    NotEd25519 {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for an SSH host key")]
    Random(#[source] getrandom::Error),
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("cannot write {}", path.display())]
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let made = HostKey::open(directory.path()).unwrap();
        let path = directory.path().join(HOST_KEY_FILE);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let read = HostKey::open(directory.path()).unwrap();
        assert_eq!(read.fingerprint(), made.fingerprint());
        assert!(
            made.public().starts_with("ssh-ed25519 AAAA"),
            "{}",
            made.public()
        );
        assert!(!format!("{made:?}").contains("PRIVATE"));

        fs::write(&path, "nonsense").unwrap();
        let error = HostKey::open(directory.path()).unwrap_err();
        assert!(matches!(error, HostKeyError::NotEd25519 { .. }), "{error}");
        fs::remove_file(&path).unwrap();
        let other = HostKey::open(directory.path()).unwrap();
        assert_ne!(other.fingerprint(), made.fingerprint());
    }
}
