//! How a card is given to a client: as it is stored, or converted for this one answer.

use bytes::Bytes;
use cloudless_dav_proto::error::Condition;
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
    /// The versions that the client reads; any when there are none.
    versions: Vec<Version>,
    /// The vCard properties that it wants; all when there are none.
    properties: Vec<ChosenProperty>,
}

impl Representation {
    /// What the `Accept` header asks for (RFC 6352 §5.1.1). A client that says nothing of versions,
    /// or of vCards, gets what is stored.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let ranges: Vec<MediaRange> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(MediaRange::parse)
            .collect();
        let best = ranges
            .iter()
            .map(|range| range.quality)
            .max()
            .unwrap_or_default();
        let best = ranges.iter().filter(|range| range.quality == best);
        Self {
            versions: best.filter_map(|range| range.version).collect(),
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
            versions: Vec::from_iter(version.flatten()),
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
        let Some(first) = self.versions.first() else {
            return bytes;
        };
        if version(&bytes).is_some_and(|stored| self.versions.contains(&stored)) {
            return bytes;
        }
        match convert(&bytes, *first) {
            Ok(converted) => converted.into_owned(),
            Err(_) => bytes,
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

/// An element of `Accept` that vCards are in (RFC 9110 §12.5.1).
struct MediaRange {
    version: Option<Version>,
    /// In thousandths, never 0.
    quality: u16,
}

impl MediaRange {
    /// None for a range without vCards, with an unknown version, or with the quality 0.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next()?;
        ["text/vcard", "text/*", "*/*"]
            .iter()
            .find(|known| media_type.eq_ignore_ascii_case(known))?;
        let mut range = Self {
            version: None,
            quality: 1000,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("version") {
                range.version = Some(Version::from_number(value)?);
            } else if name.trim().eq_ignore_ascii_case("q") {
                range.quality = quality(value)?;
            }
        }
        (range.quality > 0).then_some(range)
    }
}

/// Reads a quality such as `0.5` (RFC 9110 §12.4.2).
fn quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u16 = whole.parse().ok()?;
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    let quality = whole.checked_mul(1000)?.checked_add(fraction)?;
    (digits && quality <= 1000).then_some(quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9110_12_5_1_the_best_range_says_the_version() {
        let versions = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Representation::accepted(&headers).versions
        };
        for any in [
            "",
            "*/*",
            "text/vcard",
            "text/html",
            "text/vcard;version=2.1",
            "text/vcard;version=4.0;q=0",
            "text/vcard; version=3.0; q=0.5, */*",
            "text/vcard; version=3.0; q=x",
            "text/vcard; version=3.0; q=65.9999",
        ] {
            assert_eq!(versions(any), [], "{any}");
        }
        for (accept, expected) in [
            ("text/vcard;version=4.0", &[Version::V4][..]),
            ("TEXT/VCARD ; Version=\"3.0\"", &[Version::V3]),
            ("*/*;q=0.1, text/vcard;version=4.0;q=0.8", &[Version::V4]),
            ("text/vcard, text/vcard;version=4.0", &[Version::V4]),
            (
                "text/vcard;version=3.0, text/vcard;version=4.0",
                &[Version::V3, Version::V4],
            ),
            (
                "text/vcard;version=3.0;q=0.999, text/vcard;version=4.0;q=1.000",
                &[Version::V4],
            ),
        ] {
            assert_eq!(versions(accept), expected, "{accept}");
        }
    }
}
