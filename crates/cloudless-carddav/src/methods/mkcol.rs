//! MKCOL (RFC 4918 §9.3, RFC 5689, RFC 6352 §6.3.1).

use std::fmt::Display;

use bytes::Bytes;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::multistatus::{PropStat, Status, mkcol_response};
use cloudless_dav_proto::request::{SetProperty, parse_mkcol};
use cloudless_dav_proto::{CARDDAV, DAV, Name};
use cloudless_store::{
    DeadProperty, PROPERTIES_MAX, PROPERTY_BYTES_MAX, PropertiesOutcome, PropertyTarget,
};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::{not_allowed, read_xml};
use crate::properties::dead::{is_description, is_protected};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::{Body, blocking};

/// Makes an address book in the user's home set. A plain MKCOL makes one too: there is nothing else
/// that could be made there.
pub(super) async fn respond<B>(
    request: Request,
    slug: String,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    let request = unmapped(request).await?;
    let body = read_xml(&request.headers, body).await?;
    if !body.is_empty() && !may_be_xml(&request.headers) {
        let reason = "Send MKCOL without a body, or with application/xml.";
        return Err(Refusal::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    blocking::run(move || {
        let properties = parse_mkcol(&body)?;
        if let Some(refused) = refuse(&properties) {
            return Ok(refused);
        }
        make(&request, &slug, &properties)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::CREATED;
        let no_cache = HeaderValue::from_static("no-cache");
        response.headers_mut().insert(CACHE_CONTROL, no_cache);
        Ok(response)
    })
    .await
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
        Some(_) => Err(not_allowed("MKCOL", &request.resource)),
        None => Ok(request),
    })
    .await
}

/// Refuses to make a collection anywhere else than in the home set.
pub(super) fn elsewhere() -> Refusal {
    let reason = "Address books are made in /dav/addressbooks/USER/, with no collections in them.";
    let condition = Condition::AddressbookCollectionLocationOk;
    Refusal::condition(StatusCode::FORBIDDEN, condition, reason)
}

fn may_be_xml(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        value.windows(3).any(|part| part == b"xml")
    })
}

/// Says why an address book with these properties cannot be made.
fn refuse(properties: &[SetProperty]) -> Option<Response<Body>> {
    let is_bad_type = |property: &SetProperty| {
        let has = |namespace, local| {
            let mut children = property.children.iter();
            children.any(|it| it.namespace() == namespace && it.local() == local)
        };
        is_type(&property.name)
            && !(has(DAV, "collection")
                && has(CARDDAV, "addressbook")
                && property.children.len() == 2)
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

fn make(request: &Request, slug: &str, properties: &[SetProperty]) -> Result<(), Refusal> {
    let dead: Vec<DeadProperty> = properties
        .iter()
        .filter(|it| !is_type(&it.name) && !is_description(&it.name))
        .map(|it| DeadProperty {
            namespace: it.name.namespace().to_owned(),
            local: it.name.local().to_owned(),
            value: Some(it.xml.clone()),
        })
        .collect();
    let too_large = || Refusal::text(StatusCode::INSUFFICIENT_STORAGE, TOO_LARGE);
    // Names are counted in the size because the store does.
    let fits = |it: &SetProperty| {
        it.name.namespace().len() + it.name.local().len() + it.xml.len() <= PROPERTY_BYTES_MAX
    };
    if dead.len() > PROPERTIES_MAX || !properties.iter().all(fits) {
        return Err(too_large());
    }
    let text = |namespace: &str, local: &str| {
        let mut given = properties.iter().rev();
        let given = given.find(|it| it.name.namespace() == namespace && it.name.local() == local);
        given.map_or("", |it| it.text.trim())
    };
    let display_name = match text(DAV, "displayname") {
        "" => slug,
        name => name,
    };
    let description = text(CARDDAV, "addressbook-description");
    let book = request
        .store
        .create_book(request.login.user, slug, display_name, description)?;
    let outcome = request
        .store
        .set_properties(&PropertyTarget::Book(book), dead)?;
    match outcome {
        PropertiesOutcome::Updated => Ok(()),
        PropertiesOutcome::NoSuchResource => Err(Refusal::not_found()),
        PropertiesOutcome::TooLarge => Err(too_large()),
    }
}

const TOO_LARGE: &str = "The address book has too many properties, or too large ones.";

fn is_type(name: &Name) -> bool {
    *name == Name::dav("resourcetype")
}
