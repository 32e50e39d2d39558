//! OPTIONS (RFC 4918 §9.1, §10.1; RFC 6352 §6.1).

use http::header::ALLOW;
use http::{HeaderValue, Response};

use super::allowed;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::resource::Resource;
use crate::{Body, blocking};

/// Class 2 would be locks. Clients open no address book without `addressbook` here.
const DAV: HeaderValue = HeaderValue::from_static("1, 3, addressbook");

/// The same where devices can be told of changes (draft-bitfire-webdav-push-00 §2).
const DAV_WITH_PUSH: HeaderValue = HeaderValue::from_static("1, 3, addressbook, webdav-push");

/// Tells what can be done with a resource. A card need not exist, its address book must.
pub(super) async fn respond(request: Request) -> Result<Response<Body>, Refusal> {
    let allow = allowed(&request.resource);
    let has_push = request.push.is_some();
    blocking::run(move || match &request.resource {
        Resource::AddressBook { book, .. } | Resource::Card { book, .. }
            if request.address_book(book)?.is_none() =>
        {
            Err(Refusal::not_found())
        }
        _ => Ok(()),
    })
    .await?;
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(ALLOW, allow);
    let dav = if has_push { DAV_WITH_PUSH } else { DAV };
    response.headers_mut().insert("dav", dav);
    Ok(response)
}
