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

/// What `Preference-Applied` says about `depth-noroot`.
pub(crate) const NOROOT: HeaderValue = HeaderValue::from_static("depth-noroot");

/// Tells whether the client asks for `depth-noroot`: in a PROPFIND with Depth 1, to leave the
/// collection itself out (RFC 8144 §2.2).
pub(crate) fn is_noroot(headers: &HeaderMap) -> bool {
    read(headers).depth_noroot
}

/// Tells whether the client asks for `return=minimal`: in a multistatus, to leave out the
/// properties that were not found (RFC 8144 §2.1).
pub(crate) fn is_minimal(headers: &HeaderMap) -> bool {
    read(headers).returns == Some(Return::Minimal)
}

/// Tells whether the client asks for `return=representation`: to get the card that is there after a
/// PUT, or that kept it from happening (RFC 8144 §3).
pub(crate) fn is_representation(headers: &HeaderMap) -> bool {
    read(headers).returns == Some(Return::Representation)
}

/// Tells the client that its preference was honored.
pub(crate) fn applied(response: &mut Response<Body>, preference: HeaderValue) {
    let header = HeaderName::from_static("preference-applied");
    response.headers_mut().append(header, preference);
}

fn read(headers: &HeaderMap) -> Prefer {
    let values = headers.get_all(PREFER).iter();
    Prefer::parse(values.filter_map(|value| value.to_str().ok()))
}
