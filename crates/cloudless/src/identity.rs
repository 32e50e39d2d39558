//! The Ed25519 key of a role, kept as PEM in its state directory.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::atomic_file;
use crate::config::ConfigError;

/// Makes a key file (mode 0600) unless there is one, and returns whether it was made.
pub(crate) fn create(path: &Path) -> anyhow::Result<bool> {
    let key = Ed25519KeyPair::generate().context("cannot generate a key")?;
    let pkcs8 = key.to_pkcs8v1().context("cannot encode the key")?;
    atomic_file::create(path, pem(pkcs8.as_ref()).as_bytes())
}

/// A private key as PEM (RFC 7468 §10).
pub(crate) fn pem(pkcs8: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(BASE64.encode(pkcs8));
    // Room for all of it: what grows leaves copies behind.
    let mut pem = Zeroizing::new(String::with_capacity(
        128 + base64.len() / 64 + base64.len(),
    ));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for line in base64.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// Reads a key file. `advice` says what to do when there is none.
pub(crate) fn read(path: &Path, advice: &str) -> Result<PrivatePkcs8KeyDer<'static>, ConfigError> {
    let pem = match fs::read(path) {
        Ok(pem) => Zeroizing::new(pem),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConfigError::Missing {
                path: path.to_owned(),
                advice: advice.to_owned(),
            });
        }
        Err(source) => {
            return Err(ConfigError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    };
    PrivatePkcs8KeyDer::from_pem_slice(&pem)
        .ok()
        .filter(|key| Ed25519KeyPair::from_pkcs8(key.secret_pkcs8_der()).is_ok())
        .ok_or_else(|| ConfigError::NotAKey {
            path: path.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        assert!(create(&path).unwrap());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let first = read(&path, "").unwrap();
        assert!(!create(&path).unwrap());
        assert_eq!(
            read(&path, "").unwrap().secret_pkcs8_der(),
            first.secret_pkcs8_der()
        );
    }

    #[test]
    fn a_cut_off_key_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        create(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(read(&path, ""), Err(ConfigError::NotAKey { .. })));
        assert!(matches!(
            read(&directory.path().join("none"), "run this"),
            Err(ConfigError::Missing { .. })
        ));
    }
}
