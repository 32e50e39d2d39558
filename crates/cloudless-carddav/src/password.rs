//! App passwords: one per device, generated, never chosen.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// Hashes a device's password as the store keeps it.
///
/// A fast hash is enough because the password is 128 random bits: there is nothing to guess. A slow
/// one would cost tens of milliseconds per request, as DAV clients send the password each time.
pub fn hash_password(password: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(password.as_bytes());
    // In place: the block with the password in it is wiped, not moved.
    hash.finalize_reset().into()
}

/// Spells 128 random bits as a password: 26 characters of `a-z2-7`.
///
/// There is no `:` in it, at which some clients cut, nothing that a URL would escape, and neither
/// `0` nor `1`, which people misread.
pub fn generate_password(random: [u8; 16]) -> String {
    BASE32_NOPAD.encode(&random).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_26_characters_that_no_client_mangles() {
        for random in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let password = generate_password(random);
            assert_eq!(password.len(), 26);
            assert!(
                password
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
            );
        }
        assert_ne!(generate_password([0; 16]), generate_password([1; 16]));
    }

    #[test]
    fn the_hash_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            data_encoding::HEXLOWER.encode(&hash_password("abc")),
            expected
        );
    }
}
