//! The HTTP methods, one file each.

mod delete;
mod get;
mod mkcol;
mod options;
mod plain;
mod propfind;
mod proppatch;
mod push;
mod put;
mod report;
mod transfer;
pub(crate) mod well_known;

use std::fmt::Display;

use bytes::Bytes;
use cloudless_store::ETag;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use crate::refusal::Refusal;
use crate::request::Request;
use crate::resource::Resource;
use crate::{Body, request_body};
use transfer::Kind;

/// The longest XML body that is read, in bytes.
const XML_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Carries out a request by its method and the resource that it names.
pub(crate) async fn respond<B>(
    method: &Method,
    request: Request,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    match (method.as_str(), request.resource.clone()) {
        ("OPTIONS", _) => options::respond(request).await,
        ("PROPFIND", _) => propfind::respond(request, body).await,
        ("PROPPATCH", _) => proppatch::respond(request, body).await,
        ("MKCOL", Resource::AddressBook { .. } | Resource::Plain { .. }) => {
            mkcol::respond(request, body).await
        }
        (method, Resource::Plain { path, .. }) => plain::respond(method, request, path, body).await,
        ("GET" | "HEAD", Resource::Card { book, card, .. }) => get::card(request, book, card).await,
        ("GET" | "HEAD", _) => get::collection(request).await,
        ("PUT", Resource::Card { book, card, .. }) => put::respond(request, book, card, body).await,
        ("DELETE", Resource::Card { book, card, .. }) => delete::card(request, book, card).await,
        ("DELETE", Resource::AddressBook { book, .. }) => delete::address_book(request, book).await,
        ("POST", Resource::AddressBook { book, .. }) => push::register(request, book, body).await,
        ("DELETE", Resource::PushRegistration { name }) => push::unregister(request, name).await,
        ("COPY", Resource::Card { book, card, .. }) => {
            transfer::card(request, Kind::Copy, book, card).await
        }
        ("MOVE", Resource::Card { book, card, .. }) => {
            transfer::card(request, Kind::Move, book, card).await
        }
        ("COPY", Resource::AddressBook { book, .. }) => {
            transfer::address_book(request, Kind::Copy, book).await
        }
        ("MOVE", Resource::AddressBook { book, .. }) => {
            transfer::address_book(request, Kind::Move, book).await
        }
        ("MKCOL", Resource::Card { .. }) => Err(mkcol::in_address_book(request).await),
        ("REPORT", Resource::AddressBook { book, .. }) => {
            report::respond(request, book, None, body).await
        }
        ("REPORT", Resource::Card { book, card, .. }) => {
            report::respond(request, book, Some(card), body).await
        }
        ("REPORT", Resource::HomeSet { .. }) => Err(report::none()),
        (_, resource) => Err(not_allowed(method.as_str(), &resource)),
    }
}

/// The answer where a path names nothing that could be, or `*` the server as a whole.
pub(crate) fn nothing(method: &Method, path: &str) -> Result<Response<Body>, Refusal> {
    match (method.as_str(), path) {
        ("OPTIONS", "*") => Ok(options::in_general()),
        ("MKCOL", _) => Err(mkcol::elsewhere()),
        _ => Err(Refusal::not_found()),
    }
}

fn not_allowed(method: &str, resource: &Resource) -> Refusal {
    let reason = format!("{method} is not possible here.");
    Refusal::text(StatusCode::METHOD_NOT_ALLOWED, reason).with_header(ALLOW, allowed(resource))
}

/// Makes the answer to a GET one to HEAD, whose body would not be read (RFC 9110 §9.3.2).
pub(crate) fn leave_body_out(response: &mut Response<Body>) {
    let body = std::mem::replace(response.body_mut(), Body::empty());
    if let Some(length @ 1..) = body.size_hint().exact() {
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The methods of a resource, for the `Allow` header.
fn allowed(resource: &Resource) -> HeaderValue {
    HeaderValue::from_static(match resource {
        Resource::Card { .. } => {
            "OPTIONS, GET, HEAD, PUT, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, REPORT"
        }
        Resource::PushRegistration { .. } => "OPTIONS, DELETE",
        Resource::AddressBook { .. } => {
            "OPTIONS, GET, HEAD, POST, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, REPORT"
        }
        // It has no report, and says so in the answer.
        Resource::HomeSet { .. } => "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH, REPORT",
        _ => "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH",
    })
}

/// Reads an XML body.
async fn read_xml<B>(request: &Request, body: B) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    if is_encoded(&request.headers) {
        return Err(Refusal::content_encoding());
    }
    Ok(request_body::read(body, XML_BYTES_MAX, &request.place).await?)
}

/// Tells whether this is a media type of XML.
fn is_xml(content_type: &HeaderValue) -> bool {
    let content_type = content_type.as_bytes().to_ascii_lowercase();
    content_type.windows(3).any(|part| part == b"xml")
}

/// Tells whether the body came in an encoding such as gzip.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })
}

/// Spells an ETag as a header.
pub(crate) fn etag_header(etag: &ETag) -> HeaderValue {
    HeaderValue::try_from(format!("\"{etag}\""))
        .expect("the tag of a stored card is made of hexadecimal digits")
}

/// An answer that says all by its status.
fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The answer to a condition that does not hold (RFC 9110 §13.1).
pub(crate) fn changed_meanwhile() -> Refusal {
    let reason = "It was changed or deleted meanwhile. Fetch it again first.";
    Refusal::text(StatusCode::PRECONDITION_FAILED, reason)
}
