//! PUT (RFC 6352 §6.3.2).

use std::fmt::Display;

use bytes::Bytes;
use cloudless_dav_proto::error::Condition;
use cloudless_store::{AddressBook, Precondition, PutOutcome, StoreError, is_card_name};
use cloudless_vcard::{Summary, summarize};
use http::header::{CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::{changed_meanwhile, etag_header, is_encoded};
use crate::access::{Privilege, need};
use crate::conditions::precondition;
use crate::index::new_card;
use crate::properties::MAX_RESOURCE_SIZE;
use crate::refusal::{NO_ADDRESS_BOOK, Refusal, chain};
use crate::representation::Representation;
use crate::request::Request;
use crate::request_body::{self, Start};
use crate::resource::{book_href, card_href};
use crate::{Body, blocking, prefer};

/// Stores a card as it came.
///
/// A body that is refused is kept in the history of the card, of one that is too long as much as a
/// card may have: some clients throw an edit away that a server refuses. Where there is no address
/// book there is no history, and a body whose transfer breaks off was not refused.
pub(super) async fn respond<B>(
    request: Request,
    book: String,
    card: String,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    let body = request_body::read_start(body, MAX_RESOURCE_SIZE, &request.place).await?;
    blocking::run(move || {
        let Some(book) = request.address_book(&book)? else {
            return Err(Refusal::text(StatusCode::CONFLICT, NO_ADDRESS_BOOK));
        };
        let (precondition, summary) = match check(&request, &book, &card, &body) {
            Ok(checked) => checked,
            Err(refusal) => {
                let (bytes, reason) = (Vec::from(body.bytes), refusal.reason());
                request
                    .store
                    .keep_refused(book.id, &card, bytes, reason, request.actor())?;
                return Err(refusal);
            }
        };
        let name = card;
        let card = new_card(book.id, name.clone(), Vec::from(body.bytes), summary);
        let (status, etag) = match request
            .store
            .put_card(card, precondition, request.actor())?
        {
            PutOutcome::Created(etag) => (StatusCode::CREATED, etag),
            PutOutcome::Updated(etag) | PutOutcome::Unchanged(etag) => {
                (StatusCode::NO_CONTENT, etag)
            }
            PutOutcome::PreconditionFailed { .. } => {
                let status = StatusCode::PRECONDITION_FAILED;
                let current = current(&request, &book, &name, status)?;
                return current.ok_or_else(changed_meanwhile);
            }
            PutOutcome::UidConflict { name } => {
                let href = card_href(&book_href(&request.login.user_name, &book.slug), &name);
                let condition = Condition::NoUidConflict { href };
                let reason = "Another card of this address book has the same UID.";
                return Err(Refusal::condition(StatusCode::CONFLICT, condition, reason));
            }
            PutOutcome::NoSuchBook => {
                return Err(Refusal::text(StatusCode::CONFLICT, NO_ADDRESS_BOOK));
            }
        };
        let with_body = match status {
            StatusCode::NO_CONTENT => StatusCode::OK,
            status => status,
        };
        if let Some(response) = current(&request, &book, &name, with_body)? {
            return Ok(response);
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        // The bytes are kept as they are, which is when RFC 6352 §6.3.2.3 allows a strong ETag.
        response.headers_mut().insert(ETAG, etag_header(&etag));
        Ok(response)
    })
    .await
}

/// The card that is there now, for a client that prefers to get it (RFC 8144 §3); None for another
/// client, or when there is none.
fn current(
    request: &Request,
    book: &AddressBook,
    name: &str,
    status: StatusCode,
) -> Result<Option<Response<Body>>, Refusal> {
    if !prefer::is_representation(&request.headers) {
        return Ok(None);
    }
    let Some(card) = request.store.card(book.id, name)? else {
        return Ok(None);
    };
    let href = card_href(&book_href(&request.login.user_name, &book.slug), name);
    let mut response = Representation::accepted(&request.headers).response(status, card);
    if let Ok(href) = HeaderValue::try_from(href) {
        response.headers_mut().insert(CONTENT_LOCATION, href);
    }
    prefer::applied(&mut response, prefer::REPRESENTATION);
    Ok(Some(response))
}

/// Checks everything that can be checked without the cards that are there.
fn check(
    request: &Request,
    book: &AddressBook,
    name: &str,
    body: &Start,
) -> Result<(Precondition, Summary), Refusal> {
    let headers = &request.headers;
    need(request, book, Privilege::WriteContent)?;
    if !is_card_name(name) {
        return Err(StoreError::InvalidCardName.into());
    }
    if !body.is_whole {
        let reason = format!("A card may have {MAX_RESOURCE_SIZE} bytes.");
        return Err(Refusal::condition(
            StatusCode::PAYLOAD_TOO_LARGE,
            Condition::MaxResourceSize,
            reason,
        ));
    }
    if is_encoded(headers) {
        return Err(Refusal::content_encoding());
    }
    if headers.contains_key(CONTENT_RANGE) {
        let reason = "Send the whole card, without Content-Range.";
        return Err(Refusal::text(StatusCode::BAD_REQUEST, reason));
    }
    if !is_vcard_type(headers) {
        let reason = "Send a card with Content-Type: text/vcard.";
        let condition = Condition::SupportedAddressData;
        return Err(Refusal::condition(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            condition,
            reason,
        ));
    }
    let precondition = precondition(request)?;
    match summarize(&body.bytes) {
        Ok(summary) => Ok((precondition, summary)),
        Err(invalid) => {
            let condition = Condition::ValidAddressData;
            Err(Refusal::condition(
                StatusCode::FORBIDDEN,
                condition,
                chain(&invalid),
            ))
        }
    }
}

/// Tells whether the body is said to be a vCard. Nothing said is taken for a yes.
fn is_vcard_type(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().all(|value| {
        let media_type = value
            .as_bytes()
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let media_type = media_type.trim_ascii();
        ["", "text/vcard", "text/x-vcard", "text/directory"]
            .iter()
            .any(|known| media_type.eq_ignore_ascii_case(known.as_bytes()))
    })
}
