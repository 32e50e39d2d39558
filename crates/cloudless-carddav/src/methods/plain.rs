//! The methods of plain collections and plain resources (RFC 4918 §9). PROPFIND, PROPPATCH and MKCOL
//! are those of all resources.

use std::fmt::Display;

use bytes::Bytes;
use cloudless_dav_proto::header::Depth;
use cloudless_store::{
    Content, NewContent, Resource as PlainResource, ResourceError, ResourceOutcome,
    ResourceTransfer, ResourceTransferKind,
};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::transfer::Kind;
use super::{etag_header, get, is_encoded, options, status};
use crate::clock::http_date;
use crate::conditions::{has_current, precondition};
use crate::depth::depth;
use crate::destination::{destination, overwrite};
use crate::properties::{MAX_RESOURCE_SIZE, UNKNOWN_CONTENT_TYPE};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::resource::Resource;
use crate::target::Target;
use crate::{Body, blocking, request_body};

/// The longest media type that is kept, in bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// Carries out a request for what is at this path, or is to be there.
pub(super) async fn respond<B>(
    method: &str,
    request: Request,
    path: Vec<String>,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    match method {
        "GET" | "HEAD" => blocking::run(move || give(&request, &path)).await,
        "PUT" => {
            let bytes = request_body::read(body, MAX_RESOURCE_SIZE, &request.place).await?;
            blocking::run(move || put(&request, path, bytes)).await
        }
        "DELETE" => blocking::run(move || delete(&request, path)).await,
        "COPY" => blocking::run(move || transfer(&request, path, Kind::Copy)).await,
        "MOVE" => blocking::run(move || transfer(&request, path, Kind::Move)).await,
        _ => {
            let method = method.to_owned();
            blocking::run(move || Err(not_allowed(&method, &request))).await
        }
    }
}

/// Tells what can be done with what is at the path, or could be.
pub(super) fn options(request: &Request) -> Result<Response<Body>, Refusal> {
    let target = request.target()?;
    Ok(options::response(allowed(target.as_ref())))
}

/// The answer to a method that what is there does not have.
pub(super) fn not_allowed(method: &str, request: &Request) -> Refusal {
    match request.target() {
        Ok(target) => {
            let reason = format!("{method} is not possible here.");
            Refusal::text(StatusCode::METHOD_NOT_ALLOWED, reason)
                .with_header(ALLOW, allowed(target.as_ref()))
        }
        Err(error) => error.into(),
    }
}

fn allowed(target: Option<&Target>) -> HeaderValue {
    HeaderValue::from_static(match target {
        None => "OPTIONS, PUT, MKCOL",
        Some(target) if target.is_collection() => {
            "OPTIONS, GET, HEAD, DELETE, COPY, MOVE, PROPFIND, PROPPATCH"
        }
        Some(_) => "OPTIONS, GET, HEAD, PUT, DELETE, COPY, MOVE, PROPFIND, PROPPATCH",
    })
}

/// Gives the bytes as they came.
fn give(request: &Request, path: &[String]) -> Result<Response<Body>, Refusal> {
    found(request)?;
    let (resource, bytes) = request
        .store
        .resource_with_bytes(request.login.user, path)?
        .ok_or_else(Refusal::not_found)?;
    let Some(content) = resource.content else {
        return Ok(get::text("a collection of files"));
    };
    if has_current(&request.headers, &content.etag)? {
        let mut response = status(StatusCode::NOT_MODIFIED);
        response
            .headers_mut()
            .insert(ETAG, etag_header(&content.etag));
        return Ok(response);
    }
    let length = bytes.len();
    let mut response = Response::new(Body::from(Bytes::from(bytes)));
    let headers = response.headers_mut();
    headers.insert(ETAG, etag_header(&content.etag));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONTENT_TYPE, content_type_header(&content));
    if let Ok(date) = HeaderValue::try_from(http_date(resource.modified_at)) {
        headers.insert(LAST_MODIFIED, date);
    }
    // What somebody stored must not act as a page of this site in a browser.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}

fn put(request: &Request, path: Vec<String>, bytes: Bytes) -> Result<Response<Body>, Refusal> {
    let headers = &request.headers;
    if let Resource::Plain {
        is_collection: true,
        ..
    } = request.resource
    {
        return Err(not_allowed("PUT", request));
    }
    if is_encoded(headers) {
        return Err(Refusal::content_encoding());
    }
    if headers.contains_key(CONTENT_RANGE) {
        let reason = "Send the whole resource, without Content-Range.";
        return Err(Refusal::text(StatusCode::BAD_REQUEST, reason));
    }
    let precondition = precondition(request)?;
    let content = NewContent {
        bytes: Vec::from(bytes),
        content_type: content_type(headers),
    };
    let (user, actor) = (request.login.user, request.actor());
    let put = request
        .store
        .put_resource(user, path, content, precondition, actor);
    let (outcome, etag) = match put {
        Err(ResourceError::Exists | ResourceError::Root) => {
            return Err(not_allowed("PUT", request));
        }
        put => put?,
    };
    let mut response = written(outcome);
    response.headers_mut().insert(ETAG, etag_header(&etag));
    Ok(response)
}

/// Deletes a resource, or a collection with all that is in it.
fn delete(request: &Request, path: Vec<String>) -> Result<Response<Body>, Refusal> {
    need_depth(request, &[Depth::Infinity])?;
    let (user, actor) = (request.login.user, request.actor());
    let precondition = precondition(request)?;
    request
        .store
        .delete_resource(user, path, precondition, actor)?;
    Ok(status(StatusCode::NO_CONTENT))
}

fn transfer(request: &Request, from: Vec<String>, kind: Kind) -> Result<Response<Body>, Refusal> {
    let Resource::Plain { path: to, .. } = destination(request)? else {
        let reason = "A file can only go into a plain collection.";
        return Err(Refusal::text(StatusCode::FORBIDDEN, reason));
    };
    let kind = match kind {
        Kind::Move => {
            need_depth(request, &[Depth::Infinity])?;
            ResourceTransferKind::Move
        }
        Kind::Copy => match need_depth(request, &[Depth::Zero, Depth::Infinity])? {
            Depth::Zero => ResourceTransferKind::CopyAlone,
            Depth::One | Depth::Infinity => ResourceTransferKind::Copy,
        },
    };
    let transfer = ResourceTransfer {
        user: request.login.user,
        from,
        to,
        kind,
        overwrite: overwrite(&request.headers)?,
        precondition: precondition(request)?,
    };
    let outcome = request.store.transfer_resource(transfer, request.actor())?;
    Ok(written(outcome))
}

/// What is there, of the kind that its path is written as.
fn found(request: &Request) -> Result<PlainResource, Refusal> {
    match request.target()? {
        Some(Target::Plain(_, resource)) => Ok(resource),
        _ => Err(Refusal::not_found()),
    }
}

/// Checks what a request for something that exists says of its depth, which for a resource that is no
/// collection says nothing (RFC 4918 §9.6.1, §9.8.3, §9.9.2).
fn need_depth(request: &Request, allowed: &[Depth]) -> Result<Depth, Refusal> {
    let resource = found(request)?;
    let depth = depth(&request.headers)?.unwrap_or(Depth::Infinity);
    if resource.content.is_none() && !allowed.contains(&depth) {
        let reason = "This Depth is not possible here.";
        return Err(Refusal::text(StatusCode::BAD_REQUEST, reason));
    }
    Ok(depth)
}

/// 201 where something new came to be (RFC 4918 §9.7.1, §9.8.5, §9.9.4).
fn written(outcome: ResourceOutcome) -> Response<Body> {
    status(match outcome {
        ResourceOutcome::Created => StatusCode::CREATED,
        ResourceOutcome::Replaced => StatusCode::NO_CONTENT,
    })
}

/// The media type that a resource came with. One that is no text is not kept.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    (!value.is_empty() && value.len() <= CONTENT_TYPE_BYTES_MAX).then(|| value.to_owned())
}

fn content_type_header(content: &Content) -> HeaderValue {
    let given = content.content_type.as_deref();
    given
        .and_then(|value| HeaderValue::from_str(value).ok())
        .unwrap_or(HeaderValue::from_static(UNKNOWN_CONTENT_TYPE))
}
