//! The ciphers of records, which are sealed and opened where they lie (RFC 8446 sections 5.2 and 5.3).

use aws_lc_rs::aead as aws_lc;
#[cfg(target_arch = "x86_64")]
use ring::aead as ring;
use rustls::crypto::cipher::{Iv, Nonce};
use rustls::{ConnectionTrafficSecrets, Error};

use crate::record::HEADER_LEN;

/// What each cipher of TLS 1.3 that is spoken here adds.
pub(crate) const TAG_LEN: usize = 16;

/// One key of one direction.
pub(crate) struct Cipher {
    aead: Aead,
    iv: Iv,
}

/// The same ciphers by two libraries, of which one may be faster. Either has the key itself on the heap,
/// so that no copy of it stays behind when a connection is moved.
enum Aead {
    AwsLc(aws_lc::LessSafeKey),
    #[cfg(target_arch = "x86_64")]
    Ring(Box<ring::LessSafeKey>),
}

impl Cipher {
    pub(crate) fn new(secrets: ConnectionTrafficSecrets) -> Result<Self, Error> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Algorithm::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Algorithm::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (Algorithm::ChaCha20Poly1305, key, iv)
            }
            _ => return Err(Error::General("a cipher that is not known".to_owned())),
        };
        let aead = algorithm.aead(algorithm.fastest(), key.as_ref());
        let aead = aead.ok_or_else(|| Error::General("a key of the wrong length".to_owned()))?;
        Ok(Self { aead, iv })
    }

    /// Encrypts what the record of this number holds; returns what comes behind that.
    pub(crate) fn seal(
        &self,
        number: u64,
        header: [u8; HEADER_LEN],
        inner: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        let Nonce(nonce) = Nonce::new(&self.iv, number);
        let mut sealed = [0; TAG_LEN];
        match &self.aead {
            Aead::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, aws_lc::Aad::from(header), inner);
                sealed.copy_from_slice(tag.map_err(|_| Error::EncryptError)?.as_ref());
            }
            #[cfg(target_arch = "x86_64")]
            Aead::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, ring::Aad::from(header), inner);
                sealed.copy_from_slice(tag.map_err(|_| Error::EncryptError)?.as_ref());
            }
        }
        Ok(sealed)
    }

    /// Decrypts what the record of this number holds, its tag included; returns what was sealed.
    pub(crate) fn open<'a>(
        &self,
        number: u64,
        header: [u8; HEADER_LEN],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Error> {
        let Nonce(nonce) = Nonce::new(&self.iv, number);
        match &self.aead {
            Aead::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                let opened = key.open_in_place(nonce, aws_lc::Aad::from(header), sealed);
                opened.map_err(|_| Error::DecryptError)
            }
            #[cfg(target_arch = "x86_64")]
            Aead::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let opened = key.open_in_place(nonce, ring::Aad::from(header), sealed);
                opened.map_err(|_| Error::DecryptError)
            }
        }
    }
}

/// What RFC 8446 has for records (appendix B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Algorithm {
    /// ring has AES for processors with instructions for two blocks at a time; AWS-LC for those with four
    /// and with one.
    fn fastest(self) -> Library {
        #[cfg(target_arch = "x86_64")]
        if self != Self::ChaCha20Poly1305
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("avx2")
            && !is_x86_feature_detected!("avx512f")
        {
            return Library::Ring;
        }
        Library::AwsLc
    }

    /// `None` when the key has the wrong length.
    fn aead(self, library: Library, key: &[u8]) -> Option<Aead> {
        Some(match library {
            Library::AwsLc => {
                let algorithm = match self {
                    Self::Aes128Gcm => &aws_lc::AES_128_GCM,
                    Self::Aes256Gcm => &aws_lc::AES_256_GCM,
                    Self::ChaCha20Poly1305 => &aws_lc::CHACHA20_POLY1305,
                };
                let key = aws_lc::UnboundKey::new(algorithm, key).ok()?;
                Aead::AwsLc(aws_lc::LessSafeKey::new(key))
            }
            #[cfg(target_arch = "x86_64")]
            Library::Ring => {
                let algorithm = match self {
                    Self::Aes128Gcm => &ring::AES_128_GCM,
                    Self::Aes256Gcm => &ring::AES_256_GCM,
                    Self::ChaCha20Poly1305 => &ring::CHACHA20_POLY1305,
                };
                let key = ring::UnboundKey::new(algorithm, key).ok()?;
                Aead::Ring(Box::new(ring::LessSafeKey::new(key)))
            }
        })
    }
}

/// Whose code is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    AwsLc,
    #[cfg(target_arch = "x86_64")]
    Ring,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHMS: [(Algorithm, usize); 3] = [
        (Algorithm::Aes128Gcm, 16),
        (Algorithm::Aes256Gcm, 32),
        (Algorithm::ChaCha20Poly1305, 32),
    ];
    const LIBRARIES: &[Library] = &[
        Library::AwsLc,
        #[cfg(target_arch = "x86_64")]
        Library::Ring,
    ];

    fn cipher(algorithm: Algorithm, key_len: usize, library: Library) -> Cipher {
        let key: Vec<u8> = (0..key_len).map(|n| n as u8).collect();
        Cipher {
            aead: algorithm.aead(library, &key).unwrap(),
            iv: Iv::new([9; 12]),
        }
    }

    /// Each library at either end. Which bytes go over the wire is seen by rustls in the tests of whole
    /// connections.
    #[test]
    fn what_one_library_seals_the_other_opens_and_only_as_it_was_and_where_it_was() {
        for (algorithm, key_len) in ALGORITHMS {
            for (sealer, opener) in LIBRARIES
                .iter()
                .flat_map(|one| LIBRARIES.iter().map(move |other| (*one, *other)))
            {
                let sealer = cipher(algorithm, key_len, sealer);
                let opener = cipher(algorithm, key_len, opener);
                for len in [0, 1, 15, 16, 17, 1000, 16 * 1024 + 1] {
                    let plain: Vec<u8> = (0..len).map(|n| (n / 3) as u8).collect();
                    let number = 1 << 40 | len as u64;
                    let header = [23, 3, 3, 1, 2];
                    let mut sealed = plain.clone();
                    let tag = sealer.seal(number, header, &mut sealed).unwrap();
                    assert!(len < 15 || sealed != plain);
                    sealed.extend(tag);
                    let mut cut = sealed.clone();
                    cut[len / 2] ^= 1;
                    for (number, header, record) in [
                        (number + 1, header, &sealed),
                        (number, [23, 3, 3, 1, 3], &sealed),
                        (number, header, &cut),
                    ] {
                        let mut record = record.clone();
                        let opened = opener.open(number, header, &mut record);
                        assert!(matches!(opened, Err(Error::DecryptError)));
                    }
                    let opened = opener.open(number, header, &mut sealed).unwrap();
                    assert_eq!(opened, plain);
                }
                let mut short = [0; TAG_LEN - 1];
                let opened = opener.open(0, [0; HEADER_LEN], &mut short);
                assert!(matches!(opened, Err(Error::DecryptError)));
            }
        }
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        for (algorithm, key_len) in ALGORITHMS {
            for library in LIBRARIES {
                assert!(algorithm.aead(*library, &vec![0; key_len - 1]).is_none());
            }
        }
    }
}
