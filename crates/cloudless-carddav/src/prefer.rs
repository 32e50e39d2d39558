//! The `Prefer` header (RFC 7240).

use cloudless_dav_proto::header::{Prefer, Return};
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
    returns(headers) == Some(Return::Minimal)
}

/// Tells whether the client asks for `return=representation`: to get the card that is there after a
/// PUT, or that kept it from happening (RFC 8144 §3).
pub(crate) fn is_representation(headers: &HeaderMap) -> bool {
    returns(headers) == Some(Return::Representation)
}

/// Tells the client that its preference was honored.
pub(crate) fn applied(response: &mut Response<Body>, preference: HeaderValue) {
    let header = HeaderName::from_static("preference-applied");
    response.headers_mut().insert(header, preference);
}

fn returns(headers: &HeaderMap) -> Option<Return> {
    let values = headers.get_all(PREFER).iter();
    Prefer::parse(values.filter_map(|value| value.to_str().ok())).returns
}
