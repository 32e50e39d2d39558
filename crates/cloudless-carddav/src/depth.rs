//! The `Depth` header (RFC 4918 §10.2).

use http::{HeaderMap, StatusCode};

use crate::refusal::Refusal;

/// How far down a request reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The resource alone.
    Zero,
    /// The resource and its members.
    One,
    /// Everything below the resource.
    Infinity,
}

impl Depth {
    /// Reads the header. None when there is none: each method has its own default.
    ///
    /// # Errors
    /// 400 for any other value.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let Some(value) = headers.get("depth") else {
            return Ok(None);
        };
        match value.as_bytes().trim_ascii() {
            b"0" => Ok(Some(Self::Zero)),
            b"1" => Ok(Some(Self::One)),
            value if value.eq_ignore_ascii_case(b"infinity") => Ok(Some(Self::Infinity)),
            _ => {
                let reason = "Depth must be 0, 1 or infinity.";
                Err(Refusal::text(StatusCode::BAD_REQUEST, reason))
            }
        }
    }
}
