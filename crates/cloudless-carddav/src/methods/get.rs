//! GET and HEAD (RFC 9110 §9.3; RFC 6352 §5.1).

use cloudless_store::CardRow;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};

use super::etag_header;
use crate::clock::http_date;
use crate::conditions::has_current;
use crate::properties::CARD_CONTENT_TYPE;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::target::Target;
use crate::{Body, blocking};

/// Gives a card back, byte for byte.
pub(super) async fn card(
    request: Request,
    book: String,
    card: String,
    head_only: bool,
) -> Result<Response<Body>, Refusal> {
    blocking::run(move || {
        let book = request
            .address_book(&book)?
            .ok_or_else(Refusal::not_found)?;
        let (row, bytes) = if head_only {
            (
                request
                    .store
                    .card_row(book.id, &card)?
                    .ok_or_else(Refusal::not_found)?,
                None,
            )
        } else {
            let card = request
                .store
                .card(book.id, &card)?
                .ok_or_else(Refusal::not_found)?;
            (card.row, Some(card.bytes))
        };
        if has_current(&request.headers, &row.etag)? {
            return Ok(card_response(StatusCode::NOT_MODIFIED, &row, Body::empty()));
        }
        let body = bytes.map_or_else(Body::empty, |bytes| Body::from(bytes::Bytes::from(bytes)));
        let mut response = card_response(StatusCode::OK, &row, body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(row.size));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CARD_CONTENT_TYPE));
        // A browser must not take what is in a card for a page of this site.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response)
    })
    .await
}

fn card_response(status: StatusCode, row: &CardRow, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ETAG, etag_header(&row.etag));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(date) = HeaderValue::try_from(http_date(row.modified_at)) {
        headers.insert(LAST_MODIFIED, date);
    }
    response
}

/// Tells a person with a browser what a collection is.
pub(super) async fn collection(request: Request) -> Result<Response<Body>, Refusal> {
    let text = blocking::run(move || {
        let target = request.target()?.ok_or_else(Refusal::not_found)?;
        Ok(describe(&target, &request.login.user_name))
    })
    .await?;
    let mut response = Response::new(Body::from(text));
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn describe(target: &Target, user: &str) -> String {
    let what = match target {
        Target::AddressBook(book) => {
            format!("the address book \"{}\" of {user}", book.display_name)
        }
        Target::HomeSet => format!("where the address books of {user} are"),
        Target::Principal => format!("the user {user}"),
        _ => "a CardDAV server".to_owned(),
    };
    format!(
        "This is {what}.\n\
         Add the address of this server to a contacts app, with your user name and a device \
         password.\n"
    )
}
