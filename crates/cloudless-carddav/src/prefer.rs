//! The `Prefer` header (RFC 7240).

use http::{HeaderMap, HeaderName};

/// The header that a preference comes in.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Tells whether the client asks for `return=minimal`: in a multistatus, to leave out the
/// properties that were not found (RFC 8144 §2.1).
pub(crate) fn is_minimal(headers: &HeaderMap) -> bool {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("return")
                && value
                    .trim()
                    .trim_matches('"')
                    .eq_ignore_ascii_case("minimal")
        })
}
