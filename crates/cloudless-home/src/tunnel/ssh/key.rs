//! The key by which an SSH server knows home.

use std::fmt;
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, PrivateKey};
use zeroize::Zeroizing;

const ADVICE: &str = "make another one: ssh-keygen -t ed25519 -N '' -f FILE, or leave key_file out and \
     run `cloudless home ssh key`";

/// Why a private key is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SshKeyError {
    /// It needs a passphrase, and home starts with nobody there to type it.
    #[error("the private key needs a passphrase, which nobody types for home; {ADVICE}")]
    Encrypted,
    /// A kind of key that home does not sign with.
    #[error("home does not sign with keys of the kind {0}; {ADVICE}")]
    Kind(String),
    /// No random bytes for a new one.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// Not a private key in OpenSSH's format.
    #[error("this is no private key in OpenSSH's format; {ADVICE}")]
    Unreadable(#[source] russh::keys::ssh_key::Error),
}

/// A private key in OpenSSH's format: Ed25519, or ECDSA on a NIST curve. RSA is refused, as its
/// implementation in Rust lets whoever measures its time learn about the key (RUSTSEC-2023-0071).
#[derive(Clone)]
pub struct SshKey(pub(super) Arc<PrivateKey>);

impl SshKey {
    /// Reads a key file's contents.
    ///
    /// # Errors
    /// When the key is of no use; the message says how to make another one.
    pub fn from_openssh(text: &[u8]) -> Result<Self, SshKeyError> {
        let key = PrivateKey::from_openssh(text).map_err(SshKeyError::Unreadable)?;
        if key.is_encrypted() {
            return Err(SshKeyError::Encrypted);
        }
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(Self(Arc::new(key))),
            Algorithm::Rsa { .. } => Err(SshKeyError::Kind("RSA".to_owned())),
            other => Err(SshKeyError::Kind(other.as_str().to_owned())),
        }
    }

    /// A new Ed25519 key as the contents of a key file.
    ///
    /// # Errors
    /// When the system gives no random bytes, or the key cannot be written down.
    pub fn generate(comment: &str) -> Result<Zeroizing<String>, SshKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(SshKeyError::Random)?;
        let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        key.set_comment(comment);
        key.to_openssh(LineEnding::LF)
            .map_err(SshKeyError::Unreadable)
    }

    /// The public key as a line of `authorized_keys`, without options.
    pub fn public(&self) -> String {
        let key = self.0.public_key();
        // Only a comment that is no text could be in the way.
        key.to_openssh()
            .unwrap_or_else(|_| key.algorithm().to_string())
    }
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SshKey").field(&self.public()).finish()
    }
}

impl PartialEq for SshKey {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl Eq for SshKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_made_is_read_again() {
        let text = SshKey::generate("cloudless home").unwrap();
        let key = SshKey::from_openssh(text.as_bytes()).unwrap();
        let public = key.public();
        assert!(public.starts_with("ssh-ed25519 AAAA"), "{public}");
        assert!(public.ends_with(" cloudless home"), "{public}");
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_key_is_told_how_to_get_one() {
        let error = SshKey::from_openssh(b"-----BEGIN PRIVATE KEY-----\n").unwrap_err();
        assert!(
            error.to_string().contains("ssh-keygen -t ed25519"),
            "{error}"
        );
    }
}
