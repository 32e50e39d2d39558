//! DELETE (RFC 4918 §9.6).

use cloudless_dav_proto::header::Depth;
use cloudless_store::{Access, DeleteOutcome};
use http::{Response, StatusCode};

use super::{changed_meanwhile, status};
use crate::access::{Privilege, need};
use crate::conditions::precondition;
use crate::depth::depth;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::{Body, blocking};

/// Deletes a card. Its history stays.
pub(super) async fn card(
    request: Request,
    book: String,
    card: String,
) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        let precondition = precondition(&request)?;
        let book = request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        need(&request, &book, Privilege::Unbind)?;
        match request
            .store
            .delete_card(book.id, &card, precondition, request.actor())?
        {
            DeleteOutcome::Deleted => Ok(status(StatusCode::NO_CONTENT)),
            DeleteOutcome::NotFound => Err(Refusal::not_found()),
            DeleteOutcome::PreconditionFailed { .. } => Err(changed_meanwhile()),
        }
    })
    .await
}

/// Deletes an address book of the user with its cards; the history keeps them, and one command brings
/// them back. A book that another user shares is given back to that user only.
pub(super) async fn address_book(
    request: Request,
    book: String,
) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        if !matches!(depth(&request.headers)?, None | Some(Depth::Infinity)) {
            let reason = "An address book goes with its cards: send Depth: infinity, or none.";
            return Err(Refusal::text(StatusCode::BAD_REQUEST, reason));
        }
        let precondition = precondition(&request)?;
        let book = request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        let (store, user, actor) = (&request.store, request.login.user, request.actor());
        match book.access {
            Access::Owner => store.delete_book(book.id, precondition, actor)?,
            Access::ReadWrite | Access::ReadOnly => {
                store.leave_book(book.id, user, precondition, actor)?;
            }
        }
        Ok(status(StatusCode::NO_CONTENT))
    })
    .await
}
