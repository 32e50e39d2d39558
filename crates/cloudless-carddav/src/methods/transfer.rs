//! COPY and MOVE of cards and of address books (RFC 4918 §9.8, §9.9).

use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::header::Depth;
use cloudless_store::{BookError, Precondition, Transfer, TransferOutcome};
use http::{Response, StatusCode};

use super::{changed_meanwhile, status};
use crate::access::{Privilege, need};
use crate::conditions::precondition;
use crate::depth::depth;
use crate::destination::{destination, overwrite};
use crate::refusal::{NO_ADDRESS_BOOK, Refusal};
use crate::request::Request;
use crate::resource::{Resource, book_href, card_href};
use crate::{Body, blocking};

/// Whether the resource stays where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Copy,
    Move,
}

/// Copies or moves a card to another name or another address book of the user.
pub(super) async fn card(
    request: Request,
    kind: Kind,
    book: String,
    card: String,
) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        let Resource::Card {
            book: to_book,
            card: to_card,
            ..
        } = destination(&request)?
        else {
            let reason = "A card can only go into an address book.";
            return Err(Refusal::text(StatusCode::FORBIDDEN, reason));
        };
        let overwrite = overwrite(&request.headers)?;
        let source = precondition(&request)?;
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
        Ok(status(match outcome {
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
        }))
    })
    .await
}

/// Copies an address book to a new one of the user, or gives it another name in URLs. An address book
/// that is at the destination is never replaced by this.
pub(super) async fn address_book(
    request: Request,
    kind: Kind,
    book: String,
) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        let Resource::AddressBook { book: slug, .. } = destination(&request)? else {
            let reason = "An address book can only be in /dav/addressbooks/USER/.";
            let condition = Condition::AddressbookCollectionLocationOk;
            return Err(Refusal::condition(StatusCode::FORBIDDEN, condition, reason));
        };
        let overwrite = overwrite(&request.headers)?;
        let depth = depth(&request.headers)?.unwrap_or(Depth::Infinity);
        if depth == Depth::One || (depth == Depth::Zero && kind == Kind::Move) {
            let reason = "Send Depth: infinity, or to copy an address book without its cards 0.";
            return Err(Refusal::text(StatusCode::BAD_REQUEST, reason));
        }
        let precondition = precondition(&request)?;
        let book = request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        let (store, user, actor) = (&request.store, request.login.user, request.actor());
        let done = match kind {
            Kind::Move => store.rename_book(user, book.id, &slug, precondition, actor),
            Kind::Copy => {
                let is_alone = depth == Depth::Zero;
                let copied = store.copy_book(user, book.id, &slug, is_alone, precondition, actor);
                copied.map(drop)
            }
        };
        match done {
            Ok(()) => Ok(status(StatusCode::CREATED)),
            Err(BookError::SlugTaken { .. }) if !overwrite || slug == book.slug => {
                let reason = "There is an address book at the destination.";
                let status = match slug == book.slug {
                    true => StatusCode::FORBIDDEN,
                    false => StatusCode::PRECONDITION_FAILED,
                };
                Err(Refusal::text(status, reason))
            }
            Err(BookError::SlugTaken { .. }) => {
                let reason = "There is an address book at the destination: delete it first.";
                let condition = Condition::AddressbookCollectionLocationOk;
                Err(Refusal::condition(StatusCode::FORBIDDEN, condition, reason))
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
}
