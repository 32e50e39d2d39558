//! `/.well-known/carddav` (RFC 6764 §5): where the service is.

use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Response, StatusCode};

use crate::Body;
use crate::resource::CONTEXT_PATH;

/// Redirects any method, without asking for a login: clients come here before they have one.
pub(crate) fn redirect() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static(CONTEXT_PATH));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
