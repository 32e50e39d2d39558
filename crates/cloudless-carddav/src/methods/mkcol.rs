//! MKCOL (RFC 4918 §9.3, RFC 5689, RFC 6352 §6.3.1).

use std::fmt::Display;

use bytes::Bytes;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::multistatus::{PropStat, Status, mkcol_response};
use cloudless_dav_proto::request::{PropertyUpdate, SetProperty, parse_mkcol};
use cloudless_dav_proto::{CARDDAV, DAV, Name};
use cloudless_store::{PropertyChanges, ResourceError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::{is_xml, plain, read_xml, status};
use crate::conditions::precondition;
use crate::properties::dead::{changes, is_protected};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::resource::Resource;
use crate::{Body, blocking};

/// Makes an address book in the user's home set, or a plain collection in the user's tree, with all
/// its properties or not at all. A plain MKCOL in the home set makes an address book too: there is
/// nothing else that could be made there.
pub(super) async fn respond<B>(request: Request, body: B) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    let request = unmapped(request).await?;
    let body = read_xml(&request, body).await?;
    let content_type = request.headers.get(CONTENT_TYPE);
    if !body.is_empty() && !content_type.is_none_or(is_xml) {
        let reason = "Send MKCOL without a body, or with application/xml.";
        return Err(Refusal::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    blocking::run(move || {
        let properties = parse_mkcol(&body)?;
        let is_book = matches!(request.resource, Resource::AddressBook { .. });
        if let Some(refused) = refuse(&properties, is_book) {
            return Ok(refused);
        }
        let updates = properties.into_iter().filter(|it| !is_type(&it.name));
        let changes = changes(is_book, updates.map(PropertyUpdate::Set).collect());
        make(&request, changes)?;
        let mut response = status(StatusCode::CREATED);
        let no_cache = HeaderValue::from_static("no-cache");
        response.headers_mut().insert(CACHE_CONTROL, no_cache);
        Ok(response)
    })
    .await
}

fn make(request: &Request, mut changes: PropertyChanges) -> Result<(), Refusal> {
    let precondition = precondition(request)?;
    let (store, user, actor) = (&request.store, request.login.user, request.actor());
    match &request.resource {
        Resource::AddressBook { book, .. } => {
            changes.display_name.take_if(|name| name.is_empty());
            store.make_book(user, book, changes, precondition, actor)?;
        }
        Resource::Plain { path, .. } => {
            let (path, properties) = (path.clone(), changes.dead);
            let made = store.make_collection(user, path, properties, precondition, actor);
            match made {
                Err(ResourceError::Exists) => return Err(not_allowed("MKCOL", request)),
                made => made?,
            }
        }
        _ => return Err(elsewhere()),
    }
    Ok(())
}

/// Refuses to make a collection in an address book (RFC 6352 §5.2).
pub(super) async fn in_address_book(request: Request) -> Refusal {
    match unmapped(request).await {
        Ok(_) => elsewhere(),
        Err(refusal) => refusal,
    }
}

/// Makes sure that there is nothing yet.
async fn unmapped(request: Request) -> Result<Request, Refusal> {
    blocking::run(move || match request.target()? {
        Some(_) => Err(not_allowed("MKCOL", &request)),
        None => Ok(request),
    })
    .await
}

/// Refuses to make a collection anywhere else than in the home set.
pub(super) fn elsewhere() -> Refusal {
    let reason = "Address books are made in /dav/addressbooks/USER/, with no collections in them, \
                  and other collections in /dav/files/USER/.";
    let condition = Condition::AddressbookCollectionLocationOk;
    Refusal::condition(StatusCode::FORBIDDEN, condition, reason)
}

fn not_allowed(method: &str, request: &Request) -> Refusal {
    match request.resource {
        Resource::Plain { .. } => plain::not_allowed(method, request),
        _ => super::not_allowed(method, &request.resource),
    }
}

/// Says why a collection with these properties cannot be made.
fn refuse(properties: &[SetProperty], is_book: bool) -> Option<Response<Body>> {
    let is_bad_type = |property: &SetProperty| {
        let has = |namespace, local| {
            let mut children = property.children.iter();
            children.any(|it| it.namespace() == namespace && it.local() == local)
        };
        is_type(&property.name)
            && !(has(DAV, "collection")
                && has(CARDDAV, "addressbook") == is_book
                && property.children.len() == 1 + usize::from(is_book))
    };
    let is_refused =
        |property: &SetProperty| !is_type(&property.name) && is_protected(&property.name);
    let (refused, condition): (Vec<&SetProperty>, _) = if properties.iter().any(is_bad_type) {
        let refused = properties.iter().filter(|it| is_bad_type(it)).collect();
        (refused, Condition::ValidResourcetype)
    } else {
        let refused = properties.iter().filter(|it| is_refused(it)).collect();
        (refused, Condition::CannotModifyProtectedProperty)
    };
    if refused.is_empty() {
        return None;
    }
    let others = properties.iter().filter(|it| !refused.contains(it));
    let others: Vec<Name> = others.map(|it| it.name.clone()).collect();
    let names = refused.iter().map(|it| it.name.clone());
    let mut propstats = vec![PropStat::new(Status::Forbidden, names).because(condition)];
    if !others.is_empty() {
        propstats.push(PropStat::new(Status::FailedDependency, others));
    }
    let mut response = Response::new(Body::from(Bytes::from(mkcol_response(&propstats))));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let content_type = HeaderValue::from_static("application/xml; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Some(response)
}

fn is_type(name: &Name) -> bool {
    *name == Name::dav("resourcetype")
}
