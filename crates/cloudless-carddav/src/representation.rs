//! How a card is given to a client: as it is stored, or converted for this one answer.

use std::borrow::Cow;

use bytes::Bytes;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::header::{Accepted, accepted_vcard};
use cloudless_dav_proto::request::{AddressData, ChosenProperty};
use cloudless_store::{Card, CardRow};
use cloudless_vcard::{Chosen, Version, convert, select, summarize};
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::Body;
use crate::clock::http_date;
use crate::methods::etag_header;
use crate::refusal::Refusal;

/// What a client wants a card to be. Its ETag is that of the stored bytes in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Representation {
    /// The version that the client reads; None for any.
    version: Option<Version>,
    /// The vCard properties that it wants; all when there are none.
    properties: Vec<ChosenProperty>,
}

impl Representation {
    /// What the `Accept` header asks for (RFC 6352 §5.1.1). A client that says nothing of versions,
    /// or of vCards, gets what is stored.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter();
        let accepted = accepted_vcard(values.filter_map(|value| value.to_str().ok()));
        Self {
            version: match accepted {
                // What the client does not want is better than nothing.
                Accepted::AsStored | Accepted::Nothing => None,
                Accepted::Version3 => Some(Version::V3),
                Accepted::Version4 => Some(Version::V4),
            },
            properties: Vec::new(),
        }
    }

    /// What a report asks for (RFC 6352 §10.4).
    ///
    /// # Errors
    /// 403 for another format than vCard, such as jCard, and for another version than 3.0 and 4.0.
    pub(crate) fn asked(address_data: &AddressData) -> Result<Self, Refusal> {
        let content_type = address_data.content_type.as_deref();
        let media_type = content_type.map(|it| it.split(';').next().unwrap_or_default().trim());
        let is_vcard = media_type.is_none_or(|it| it.eq_ignore_ascii_case("text/vcard"));
        let version = address_data.version.as_deref().map(Version::from_number);
        if !is_vcard || version == Some(None) {
            let reason = "Cards are given as text/vcard, in version 3.0 or 4.0.";
            let condition = Condition::SupportedAddressData;
            return Err(Refusal::condition(StatusCode::FORBIDDEN, condition, reason));
        }
        Ok(Self {
            version: version.flatten(),
            properties: address_data.properties.clone(),
        })
    }

    /// The card as the client wants it. One that cannot be converted is given as it is stored: a
    /// card that a client may not understand is better than none.
    pub(crate) fn give(&self, bytes: Vec<u8>) -> Vec<u8> {
        let whole = self.in_version(bytes);
        if self.properties.is_empty() {
            return whole;
        }
        let chosen: Vec<Chosen<'_>> = self
            .properties
            .iter()
            .map(|property| Chosen {
                group: property.group.as_deref(),
                name: &property.name,
                no_value: property.no_value,
            })
            .collect();
        select(&whole, &chosen)
    }

    fn in_version(&self, bytes: Vec<u8>) -> Vec<u8> {
        match self.version.map(|version| convert(&bytes, version)) {
            Some(Ok(Cow::Owned(converted))) => converted,
            Some(Ok(Cow::Borrowed(_)) | Err(_)) | None => bytes,
        }
    }

    /// The card as the body of a response.
    pub(crate) fn response(&self, status: StatusCode, card: Card) -> Response<Body> {
        let bytes = self.give(card.bytes);
        let content_type = content_type(version(&bytes));
        let length = bytes.len();
        let mut response = validators(status, &card.row, Body::from(Bytes::from(bytes)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(CONTENT_TYPE, content_type);
        // A browser must not take what is in a card for a page of this site.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// A response with what says which state of the card it is about.
pub(crate) fn validators(status: StatusCode, row: &CardRow, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ETAG, etag_header(&row.etag));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(date) = HeaderValue::try_from(http_date(row.modified_at)) {
        headers.insert(LAST_MODIFIED, date);
    }
    response
}

fn version(bytes: &[u8]) -> Option<Version> {
    Version::from_number(&summarize(bytes).ok()?.version?)
}

fn content_type(version: Option<Version>) -> HeaderValue {
    HeaderValue::from_static(match version {
        None => "text/vcard; charset=utf-8",
        Some(Version::V3) => "text/vcard; charset=utf-8; version=3.0",
        Some(Version::V4) => "text/vcard; charset=utf-8; version=4.0",
    })
}
