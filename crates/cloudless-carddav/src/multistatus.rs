//! A multistatus response (RFC 4918 §13), written while the client reads it.

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
}

/// The rows of a response, each made when it is its turn. They block on the store.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<Row, StoreError>> + Send>;

/// Answers 207 with these rows, and with a sync token behind them where one is given. `minimal` tells
/// the client that its preference was honored, and what was not found left out (RFC 8144 §2.1).
///
/// # Errors
/// When the store cannot be read for the first rows. When it fails later the body ends with an
/// error.
pub(crate) async fn respond(
    rows: Rows,
    sync_token: Option<String>,
    minimal: bool,
) -> Result<Response<Body>, Refusal> {
    let mut response = Response::new(Body::paged(page_writer(rows, sync_token)).await?);
    *response.status_mut() = StatusCode::MULTI_STATUS;
    let content_type = HeaderValue::from_static("application/xml; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if minimal {
        prefer::applied(&mut response, prefer::MINIMAL);
    }
    Ok(response)
}

fn page_writer(mut rows: Rows, sync_token: Option<String>) -> PageWriter {
    let mut writer = Writer::new();
    Box::new(move || {
        while writer.len() < PAGE_BYTES {
            match rows.next() {
                Some(row) => write(&mut writer, row?),
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

fn write(writer: &mut Writer, row: Row) {
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
    }
}
