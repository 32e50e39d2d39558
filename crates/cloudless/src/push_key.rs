//! The P-256 key that push services know a home by, kept as PEM in its state directory.

use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::{atomic_file, identity};

/// The file in home's state directory.
const FILE: &str = "push.key";

/// The key in a state directory. One is made (mode 0600) when there is none: nobody has to be told
/// of a new one, as devices see it and register anew.
pub(crate) fn read_or_create(state: &Path) -> anyhow::Result<PrivatePkcs8KeyDer<'static>> {
    let path = state.join(FILE);
    if !path.exists() {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .context("cannot generate a key")?;
        atomic_file::create(&path, identity::pem(key.as_ref()).as_bytes())?;
    }
    let pem = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let pem = Zeroizing::new(pem);
    PrivatePkcs8KeyDer::from_pem_slice(&pem)
        .ok()
        .filter(|key| {
            let pkcs8 = key.secret_pkcs8_der();
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).is_ok()
        })
        .with_context(|| {
            format!(
                "{} is no P-256 private key in PEM (PKCS#8); remove it, a new one is made and \
                 devices register anew",
                path.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_this_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let first = read_or_create(directory.path()).unwrap();
        let again = read_or_create(directory.path()).unwrap();
        assert_eq!(first.secret_pkcs8_der(), again.secret_pkcs8_der());
        let path = directory.path().join(FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "no key").unwrap();
        let error = read_or_create(directory.path()).unwrap_err();
        assert!(error.to_string().contains("remove it"), "{error}");
    }
}
