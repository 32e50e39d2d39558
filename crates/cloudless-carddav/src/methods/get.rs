//! GET and HEAD (RFC 9110 §9.3; RFC 6352 §5.1).

use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use crate::conditions::has_current;
use crate::refusal::Refusal;
use crate::representation::{Representation, validators};
use crate::request::Request;
use crate::target::Target;
use crate::{Body, blocking};

/// Gives a card, byte for byte unless the client accepts another version only.
pub(super) async fn card(
    request: Request,
    book: String,
    card: String,
) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        let book = request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        let card = request
            .store
            .card(book.id, &card)?
            .ok_or_else(Refusal::not_found)?;
        if has_current(&request.headers, &card.row.etag)? {
            let status = StatusCode::NOT_MODIFIED;
            return Ok(validators(status, &card.row, Body::empty()));
        }
        let wanted = Representation::accepted(&request.headers);
        Ok(wanted.response(StatusCode::OK, card))
    })
    .await
}

/// Tells a person with a browser what a collection is.
pub(super) async fn collection(request: Request) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        let target = request.target()?.ok_or_else(Refusal::not_found)?;
        Ok(text(&describe(&target, &request.login.user_name)))
    })
    .await
}

/// Tells a person what this is.
pub(super) fn text(what: &str) -> Response<Body> {
    let text = format!(
        "This is {what}.\n\
         Add the address of this server to a contacts app, with your user name and a device \
         password.\n"
    );
    let mut response = Response::new(Body::from(text));
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn describe(target: &Target, user: &str) -> String {
    match target {
        Target::AddressBook(book) => {
            format!("the address book \"{}\" of {user}", book.display_name)
        }
        Target::HomeSet => format!("where the address books of {user} are"),
        Target::Principal => format!("the user {user}"),
        Target::Owner(user) => format!("the user {user}"),
        _ => "a CardDAV server".to_owned(),
    }
}
