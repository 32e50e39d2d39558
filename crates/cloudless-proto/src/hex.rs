//! 128-bit values as 32 lower-case hexadecimal digits in JSON, for `#[serde(with = "crate::hex")]`.

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[u8; 16], D::Error> {
    let text = String::deserialize(deserializer)?;
    // The text may be a secret, so the message does not repeat it.
    decode(&text).ok_or_else(|| D::Error::custom("expected 32 hexadecimal digits"))
}

pub(crate) fn encode(bytes: &[u8; 16]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn decode(text: &str) -> Option<[u8; 16]> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}

/// The same for values that are secret.
pub(crate) mod secret {
    use serde::{Deserializer, Serializer};

    use crate::Redacted;

    pub(crate) fn serialize<S: Serializer>(
        bytes: &Redacted<[u8; 16]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize(bytes.expose(), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Redacted<[u8; 16]>, D::Error> {
        super::deserialize(deserializer).map(Redacted::new)
    }
}
