//! A certificate and its key as a device imports them (PKCS#12, RFC 7292).

use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey,
    PrivateKeyChain,
};
use zeroize::Zeroizing;

use super::ClientCertificateError;
use super::authority::{Authority, Issued};

/// Slows guesses at the password down, for whoever finds the file.
const ITERATIONS: u32 = 50_000;

/// Packs a device's certificate, its key and the authority under a password.
///
/// By the encryption that every importer knows: Android before 12 takes none that is newer. The
/// password protects the file on its way to the device, and no longer.
pub(crate) fn pkcs12(
    issued: &Issued,
    authority: &Authority,
    name: &str,
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, ClientCertificateError> {
    let pack = || -> Result<_, p12_keystore::error::Error> {
        let chain = vec![
            Certificate::from_der(&issued.certificate)?,
            Certificate::from_der(&authority.certificate)?,
        ];
        let key = PrivateKey::from_der(&issued.key)?;
        let chain = PrivateKeyChain::new(issued.hash().as_slice(), key, chain);
        let mut store = KeyStore::new();
        store.add_entry(name, KeyStoreEntry::PrivateKeyChain(chain));
        store
            .writer(password)
            .encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc)
            .encryption_iterations(ITERATIONS)
            .mac_algorithm(MacAlgorithm::HmacSha1)
            .mac_iterations(ITERATIONS)
            .write()
    };
    pack()
        .map(Zeroizing::new)
        .map_err(|error| ClientCertificateError::Pack(error.into()))
}
