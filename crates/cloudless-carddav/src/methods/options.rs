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

/// Tells what can be done with a resource. A card need not exist, its address book must.
pub(super) async fn respond(request: Request) -> Result<Response<Body>, Refusal> {
    let allow = allowed(&request.resource);
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
    response.headers_mut().insert("dav", DAV);
    Ok(response)
}
