//! Conditional requests: `If-Match` and `If-None-Match` (RFC 9110 §13.1), `If` (RFC 4918 §10.4).

mod if_header;

use cloudless_dav_proto::header::{EntityTags, If};
use cloudless_store::{ETag, Precondition};
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::methods::changed_meanwhile;
use crate::refusal::Refusal;
use crate::request::Request;

/// Reads what must hold for a request that changes something to be carried out. The store checks it
/// in the same transaction that writes. Blocks on the store.
///
/// # Errors
/// 400 for a malformed condition and for one that cannot be checked here: carrying the request out
/// without it could overwrite somebody's edit.
pub(crate) fn precondition(request: &Request) -> Result<Precondition, Refusal> {
    let headers = &request.headers;
    if headers.contains_key("if") {
        return if_precondition(request);
    }
    // Beside If-Match it says nothing (RFC 9110 §13.1.4).
    if headers.contains_key(IF_UNMODIFIED_SINCE) && !headers.contains_key(IF_MATCH) {
        let message = "If-Unmodified-Since is not supported: use If-Match with the ETag.";
        return Err(Refusal::text(StatusCode::BAD_REQUEST, message));
    }
    match (
        entity_tags(headers, &IF_MATCH)?,
        entity_tags(headers, &IF_NONE_MATCH)?,
    ) {
        (None, None) => Ok(Precondition::None),
        (Some(EntityTags::Any), None) => Ok(Precondition::MustExist),
        (Some(EntityTags::List(tags)), None) => {
            // If-Match compares strongly: a weak tag matches nothing.
            let strong = tags
                .into_iter()
                .filter(|tag| !tag.weak)
                .map(|tag| tag.opaque);
            Ok(Precondition::Match(strong.map(ETag::from).collect()))
        }
        (None, Some(EntityTags::Any)) => Ok(Precondition::MustNotExist),
        (None, Some(EntityTags::List(tags))) => {
            // If-None-Match compares weakly: W/ makes no difference.
            Ok(Precondition::NoneMatch(
                tags.into_iter().map(|tag| ETag::from(tag.opaque)).collect(),
            ))
        }
        (Some(_), Some(_)) => {
            let message = "Send If-Match or If-None-Match, not both.";
            Err(Refusal::text(StatusCode::BAD_REQUEST, message))
        }
    }
}

fn if_precondition(request: &Request) -> Result<Precondition, Refusal> {
    let headers = &request.headers;
    let refuse = |message| Err(Refusal::text(StatusCode::BAD_REQUEST, message));
    if headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH) {
        return refuse("Send If or one of If-Match and If-None-Match, not both.");
    }
    let mut values = headers.get_all("if").iter();
    let (Some(Ok(value)), None) = (values.next().map(HeaderValue::to_str), values.next()) else {
        return refuse("Send one If, in ASCII.");
    };
    let header = If::parse(value)
        .map_err(|error| Refusal::text(StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(if_header::precondition(&header, request)?)
}

/// Tells whether the client of a GET or HEAD has this version already (`If-None-Match`).
///
/// # Errors
/// 400 for a malformed header, 412 when the client wants another version only (`If-Match`).
pub(crate) fn has_current(headers: &HeaderMap, current: &ETag) -> Result<bool, Refusal> {
    if let Some(EntityTags::List(tags)) = entity_tags(headers, &IF_MATCH)?
        && !tags
            .iter()
            .any(|tag| !tag.weak && tag.opaque == current.as_str())
    {
        return Err(changed_meanwhile());
    }
    Ok(match entity_tags(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(EntityTags::Any) => true,
        Some(EntityTags::List(tags)) => tags.iter().any(|tag| tag.opaque == current.as_str()),
    })
}

/// Reads all lines of `name`; none where there is no such header.
fn entity_tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<EntityTags>, Refusal> {
    let lines: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(|it| it.as_bytes())
        .collect();
    if lines.is_empty() {
        return Ok(None);
    }
    match EntityTags::parse(&lines.join(&b","[..])) {
        Some(tags) => Ok(Some(tags)),
        None => {
            let message = format!("{name} is malformed: write * or \"etag\", \"etag\".");
            Err(Refusal::text(StatusCode::BAD_REQUEST, message))
        }
    }
}
