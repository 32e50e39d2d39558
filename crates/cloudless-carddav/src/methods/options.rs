//! OPTIONS (RFC 9110 §9.3.7; RFC 4918 §9.1, §10.1; RFC 6352 §6.1).

use http::header::ALLOW;
use http::{HeaderValue, Response};

use super::{allowed, plain};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::resource::Resource;
use crate::{Body, blocking};

/// Class 2 would be locks, and `access-control` the ACL method and the reports of RFC 3744. Clients
/// open no address book without `addressbook` here; `extended-mkcol` is RFC 5689 §3.1.
const DAV: HeaderValue = HeaderValue::from_static("1, 3, addressbook, extended-mkcol");

/// The same where devices can be told of changes (draft-bitfire-webdav-push-00 §2).
const DAV_WITH_PUSH: HeaderValue =
    HeaderValue::from_static("1, 3, addressbook, extended-mkcol, webdav-push");

/// Tells what can be done with a resource. A card need not exist, its address book must.
pub(super) async fn respond(request: Request) -> Result<Response<Body>, Refusal> {
    let has_push = request.push.is_some();
    let mut response = blocking::run(move || match &request.resource {
        Resource::AddressBook { book, .. } | Resource::Card { book, .. }
            if request.address_book(book)?.is_none() =>
        {
            Err(Refusal::not_found())
        }
        Resource::Plain { .. } => plain::options(&request),
        resource => Ok(response(allowed(resource))),
    })
    .await?;
    if has_push {
        response.headers_mut().insert("dav", DAV_WITH_PUSH);
    }
    Ok(response)
}

/// The answer for the server as a whole, `*`: it is there, and somewhere on it are these classes.
pub(super) fn in_general() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert("dav", DAV);
    response
}

/// The answer for a resource with these methods.
pub(super) fn response(allow: HeaderValue) -> Response<Body> {
    let mut response = in_general();
    response.headers_mut().insert(ALLOW, allow);
    response
}
