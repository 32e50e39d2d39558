//! A multistatus response (RFC 4918 §13), written while the client reads it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cloudless_dav_proto::Name;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::multistatus::{PropStat, Property, Status, Writer};
use cloudless_store::StoreError;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::Body;
use crate::body::{Page, PageWriter};
use crate::prefer;
use crate::refusal::Refusal;
use crate::request::Reader;

/// How often it is looked at whether the device may still read this, while no page is full.
const LOGIN_CHECK: Duration = Duration::from_secs(1);

/// When a page has this many bytes it is sent. One row can make it longer by the size of one card.
const PAGE_BYTES: usize = 64 * 1024;

/// What is said about one resource.
pub(crate) enum Row {
    /// Its properties, and the names of those that it does not have.
    Properties {
        href: String,
        found: Vec<Property>,
        missing: Vec<Name>,
    },
    /// What became of its properties.
    PropStats {
        href: String,
        propstats: Vec<PropStat>,
    },
    /// There is no such card.
    NotFound { href: String },
    /// The answer was cut short at the client's limit (RFC 6578 §3.6).
    Truncated { href: String },
    /// The state that the answer leads to (RFC 6578 §3.4). It comes last.
    SyncToken { token: String },
}

/// The rows of a response, each made when it is its turn. They block on the store.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<Row, StoreError>> + Send>;

/// Answers 207 with these rows, to whom they are for. `minimal` tells the client that its preference
/// was honored, and what was not found left out (RFC 8144 §2.1). Blocks on the store for the first
/// page.
///
/// # Errors
/// When the store cannot be read for the first rows. When it fails later, or the device is
/// revoked, or the address book is gone or no longer shared, the body ends with an error.
pub(crate) fn respond(
    reader: Reader,
    rows: Rows,
    minimal: bool,
) -> Result<Response<Body>, Refusal> {
    let mut response = Response::new(Body::paged(page_writer(reader, rows))?);
    *response.status_mut() = StatusCode::MULTI_STATUS;
    let content_type = HeaderValue::from_static("application/xml; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if minimal {
        prefer::applied(&mut response, prefer::MINIMAL);
    }
    Ok(response)
}

fn page_writer(reader: Reader, mut rows: Rows) -> PageWriter {
    let mut writer = Writer::new();
    let mut sync_token = None;
    let mut checked_at = Instant::now();
    let mut is_first = true;
    Box::new(move || {
        if !std::mem::take(&mut is_first) {
            reader.check()?;
        }
        while writer.len() < PAGE_BYTES {
            if checked_at.elapsed() >= LOGIN_CHECK {
                reader.check()?;
                checked_at = Instant::now();
            }
            match rows.next() {
                Some(row) => write(&mut writer, &mut sync_token, row?),
                None => {
                    let bytes = std::mem::take(&mut writer).finish(sync_token.as_deref());
                    return Ok(Page {
                        bytes: Bytes::from(bytes),
                        last: true,
                    });
                }
            }
        }
        Ok(Page {
            bytes: Bytes::from(writer.take()),
            last: false,
        })
    })
}

/// The sync token is kept for the end.
fn write(writer: &mut Writer, sync_token: &mut Option<String>, row: Row) {
    match row {
        Row::Properties {
            href,
            found,
            missing,
        } => writer.response(&href, &found, &missing),
        Row::PropStats { href, propstats } => writer.propstats(&href, &propstats),
        Row::NotFound { href } => writer.status_response(&href, Status::NotFound),
        Row::Truncated { href } => writer.refusal(
            &href,
            Status::InsufficientStorage,
            &[Condition::NumberOfMatchesWithinLimits],
        ),
        Row::SyncToken { token } => *sync_token = Some(token),
    }
}
