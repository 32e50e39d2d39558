//! The `Depth` header (RFC 4918 §10.2).

use cloudless_dav_proto::header::Depth;
use http::{HeaderMap, StatusCode};

use crate::refusal::Refusal;

/// Reads the header. None when there is none: each method has its own default.
///
/// # Errors
/// 400 for any other value than 0, 1 and infinity.
pub(crate) fn depth(headers: &HeaderMap) -> Result<Option<Depth>, Refusal> {
    let Some(value) = headers.get("depth") else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(Depth::parse) {
        Some(depth) => Ok(Some(depth)),
        None => {
            let reason = "Depth must be 0, 1 or infinity.";
            Err(Refusal::text(StatusCode::BAD_REQUEST, reason))
        }
    }
}
