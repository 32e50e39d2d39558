//! DELETE (RFC 4918 §9.6).

use cloudless_store::DeleteOutcome;
use http::{Response, StatusCode};

use super::changed_meanwhile;
use crate::conditions::precondition;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::{Body, blocking};

/// Deletes a card. Its history stays.
pub(super) async fn card(
    request: Request,
    book: String,
    card: String,
) -> Result<Response<Body>, Refusal> {
    let precondition = precondition(&request.headers)?;
    blocking::run(move || {
        let book = request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        match request
            .store
            .delete_card(book.id, &card, precondition, request.actor())?
        {
            DeleteOutcome::Deleted => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            DeleteOutcome::NotFound => Err(Refusal::not_found()),
            DeleteOutcome::PreconditionFailed { .. } => Err(changed_meanwhile()),
        }
    })
    .await
}

/// Refuses to delete an address book: one request, perhaps of a client gone wrong, must not take
/// every card away.
pub(super) async fn address_book(
    request: Request,
    book: String,
) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        let reason = "An address book cannot be deleted by a client.";
        Err(Refusal::text(StatusCode::FORBIDDEN, reason))
    })
    .await
}
