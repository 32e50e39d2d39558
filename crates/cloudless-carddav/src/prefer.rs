//! The `Prefer` header (RFC 7240).

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::Body;

/// The header that a preference comes in.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What `Preference-Applied` says about `return=minimal`.
pub(crate) const MINIMAL: HeaderValue = HeaderValue::from_static("return=minimal");

/// What `Preference-Applied` says about `return=representation`.
pub(crate) const REPRESENTATION: HeaderValue = HeaderValue::from_static("return=representation");

/// Tells whether the client asks for `return=minimal`: in a multistatus, to leave out the
/// properties that were not found (RFC 8144 §2.1).
pub(crate) fn is_minimal(headers: &HeaderMap) -> bool {
    returns(headers, "minimal")
}

/// Tells whether the client asks for `return=representation`: to get the card that is there after a
/// PUT, or that kept it from happening (RFC 8144 §3).
pub(crate) fn is_representation(headers: &HeaderMap) -> bool {
    returns(headers, "representation")
}

/// Tells the client that its preference was honored.
pub(crate) fn applied(response: &mut Response<Body>, preference: HeaderValue) {
    let header = HeaderName::from_static("preference-applied");
    response.headers_mut().insert(header, preference);
}

/// What the first `return` preference says; later ones count for nothing (RFC 7240 §2).
fn returns(headers: &HeaderMap, wanted: &str) -> bool {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("return"))
        .is_some_and(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case(wanted))
}
