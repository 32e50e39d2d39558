//! COPY and MOVE of cards (RFC 4918 §9.8, §9.9).

use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::header::{Destination, parse_overwrite};
use cloudless_store::{Precondition, Transfer, TransferOutcome};
use http::{HeaderMap, Response, StatusCode};

use super::changed_meanwhile;
use crate::access::{Privilege, need};
use crate::conditions::precondition;
use crate::refusal::{NO_ADDRESS_BOOK, Refusal, chain};
use crate::request::Request;
use crate::resource::{Resource, book_href, card_href};
use crate::{Body, blocking};

/// Whether the card stays where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Copy,
    Move,
}

/// Copies or moves a card to another name or another address book of the user.
pub(super) async fn respond(
    request: Request,
    kind: Kind,
    book: String,
    card: String,
) -> Result<Response<Body>, Refusal> {
    let (to_book, to_card) = destination(&request)?;
    let overwrite = overwrite(&request.headers)?;
    let source = precondition(&request.headers, &request.resource)?;
    blocking::run(move || {
        let from = request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        let conflict = || Refusal::text(StatusCode::CONFLICT, NO_ADDRESS_BOOK);
        let to = request.address_book(&to_book)?.ok_or_else(conflict)?;
        if kind == Kind::Move {
            need(&request, &from, Privilege::Unbind)?;
        }
        need(&request, &to, Privilege::Bind)?;
        let transfer = Transfer {
            from_book: from.id,
            from_name: card,
            to_book: to.id,
            to_name: to_card,
            overwrite,
            source,
            destination: Precondition::None,
        };
        let outcome = match kind {
            Kind::Copy => request.store.copy_card(transfer, request.actor())?,
            Kind::Move => request.store.move_card(transfer, request.actor())?,
        };
        let status = match outcome {
            TransferOutcome::Created(_) => StatusCode::CREATED,
            TransferOutcome::Replaced(_) => StatusCode::NO_CONTENT,
            TransferOutcome::NoSuchCard => return Err(Refusal::not_found()),
            TransferOutcome::NoSuchBook => return Err(conflict()),
            TransferOutcome::SameCard => {
                let reason = "The destination is the card itself.";
                return Err(Refusal::text(StatusCode::FORBIDDEN, reason));
            }
            TransferOutcome::DestinationExists => {
                let reason = "There is a card at the destination, and Overwrite is F.";
                return Err(Refusal::text(StatusCode::PRECONDITION_FAILED, reason));
            }
            TransferOutcome::PreconditionFailed => return Err(changed_meanwhile()),
            TransferOutcome::UidConflict { name } => {
                let href = card_href(&book_href(&request.login.user_name, &to.slug), &name);
                let condition = Condition::NoUidConflict { href };
                let reason = "Another card of that address book has the same UID.";
                return Err(Refusal::condition(StatusCode::CONFLICT, condition, reason));
            }
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Ok(response)
    })
    .await
}

/// The address book and the name that the card is to go to (RFC 4918 §10.3).
fn destination(request: &Request) -> Result<(String, String), Refusal> {
    let bad = |reason| Refusal::text(StatusCode::BAD_REQUEST, reason);
    let mut values = request.headers.get_all("destination").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(bad("Send one Destination."));
    };
    let value = value
        .to_str()
        .map_err(|_| bad("The Destination is malformed."))?;
    let parsed = Destination::parse(value)
        .map_err(|error| Refusal::text(StatusCode::BAD_REQUEST, chain(&error)))?;
    // Ports differ where something forwards connections; another name is another server.
    let there = parsed.authority.as_deref().map(without_port);
    if let (Some(there), Some(here)) = (there, request.host.as_deref())
        && !there.eq_ignore_ascii_case(here)
    {
        let reason = "The Destination is another server.";
        return Err(Refusal::text(StatusCode::BAD_GATEWAY, reason));
    }
    match Resource::parse(value) {
        Some(Resource::Card { user, book, card }) if user == request.login.user_name => {
            Ok((book, card))
        }
        _ => {
            let reason = "A card can only go into an address book.";
            Err(Refusal::text(StatusCode::FORBIDDEN, reason))
        }
    }
}

/// The name in a host and port.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether what is at the destination may be replaced (RFC 4918 §10.6).
fn overwrite(headers: &HeaderMap) -> Result<bool, Refusal> {
    let Some(value) = headers.get("overwrite") else {
        return Ok(true);
    };
    value
        .to_str()
        .ok()
        .and_then(parse_overwrite)
        .ok_or_else(|| Refusal::text(StatusCode::BAD_REQUEST, "Overwrite must be T or F."))
}
