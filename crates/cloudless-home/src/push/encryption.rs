//! Encryption of push messages (RFC 8291): only the device that registered can read them.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// The size of the one record that a message is (RFC 8188 §2). Readers on Android take no other.
const RECORD: u32 = 4096;
/// What a record needs beside the message: a delimiter and the tag.
const OVERHEAD: usize = 1 + 16;

/// A message could not be encrypted: the device's key is no point on the curve, or the message is
/// longer than a record.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be encrypted for the device")]
pub(super) struct EncryptionError;

/// For whom a message is.
pub(super) struct Recipient<'a> {
    /// An uncompressed point on P-256.
    pub(super) public_key: &'a [u8],
    /// 16 bytes that the push service does not know.
    pub(super) auth_secret: &'a [u8],
}

/// Encrypts a message as `aes128gcm`, padded to at least `length` bytes, so that its kind does not
/// show. `salt` and `sender` are random and used once.
pub(super) fn encrypt(
    message: &[u8],
    length: usize,
    recipient: &Recipient<'_>,
    salt: [u8; 16],
    sender: &PrivateKey,
) -> Result<Vec<u8>, EncryptionError> {
    let sender_public = sender.compute_public_key().map_err(|_| EncryptionError)?;
    let sender_public = sender_public.as_ref();
    let input = key_material(recipient, sender, sender_public)?;
    let prk = Salt::new(HKDF_SHA256, &salt).extract(&input);
    let key: [u8; 16] = expand(&prk, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = expand(&prk, &[b"Content-Encoding: nonce\0"])?;

    let mut record = message.to_vec();
    // The delimiter of the last record; padding comes after it.
    record.push(2);
    record.resize(record.len().max(length + 1), 0);
    if record.len() + OVERHEAD - 1 > RECORD as usize {
        return Err(EncryptionError);
    }
    let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| EncryptionError)?;
    LessSafeKey::new(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut record,
        )
        .map_err(|_| EncryptionError)?;

    let id_length = u8::try_from(sender_public.len()).map_err(|_| EncryptionError)?;
    let mut body = Vec::with_capacity(16 + 4 + 1 + sender_public.len() + record.len());
    body.extend_from_slice(&salt);
    body.extend_from_slice(&RECORD.to_be_bytes());
    body.push(id_length);
    body.extend_from_slice(sender_public);
    body.extend_from_slice(&record);
    Ok(body)
}

/// Combines both keys and the secret (RFC 8291 §3.4).
fn key_material(
    recipient: &Recipient<'_>,
    sender: &PrivateKey,
    sender_public: &[u8],
) -> Result<[u8; 32], EncryptionError> {
    let peer = UnparsedPublicKey::new(&ECDH_P256, recipient.public_key);
    agreement::agree(sender, peer, EncryptionError, |shared| {
        let prk = Salt::new(HKDF_SHA256, recipient.auth_secret).extract(shared);
        expand(
            &prk,
            &[b"WebPush: info\0", recipient.public_key, sender_public],
        )
    })
}

fn expand<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Result<[u8; N], EncryptionError> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut bytes = [0; N];
    prk.expand(info, Length(N))
        .and_then(|okm| okm.fill(&mut bytes))
        .map_err(|_| EncryptionError)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;

    use super::*;

    fn decode(text: &str) -> Vec<u8> {
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
    }

    fn sender() -> PrivateKey {
        let private = decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        PrivateKey::from_private_key(&ECDH_P256, &private).unwrap()
    }

    fn encrypt_for(public_key: &[u8], message: &[u8], length: usize) -> Option<Vec<u8>> {
        let salt = decode("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let recipient = Recipient {
            public_key,
            auth_secret: &decode("BTBZMqHH6r4Tts7J_aSIgg"),
        };
        encrypt(message, length, &recipient, salt, &sender()).ok()
    }

    fn public_key() -> Vec<u8> {
        decode(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIA\
             iw4",
        )
    }

    #[test]
    fn rfc_8291_section_5_example() {
        let message = b"When I grow up, I want to be a watermelon";
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIg\
             Dll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuw\
             XPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        let body = encrypt_for(&public_key(), message, 0).unwrap();
        assert_eq!(BASE64URL_NOPAD.encode(&body), expected);
    }

    #[test]
    fn every_message_has_the_same_length() {
        let length = |message: &[u8]| encrypt_for(&public_key(), message, 512).unwrap().len();
        assert_eq!(length(b"a"), length(&[b'a'; 512]));
        assert_eq!(length(b""), 16 + 4 + 1 + 65 + 512 + 1 + 16);
    }

    #[test]
    fn a_point_that_is_not_on_the_curve_is_refused_and_an_endless_message() {
        let mut point = public_key();
        point[64] ^= 1;
        assert!(encrypt_for(&point, b"a", 0).is_none());
        assert!(encrypt_for(b"", b"a", 0).is_none());
        assert!(encrypt_for(&public_key(), &[b'a'; 4096 - 17], 0).is_some());
        assert!(encrypt_for(&public_key(), &[b'a'; 4096 - 16], 0).is_none());
    }
}
