//! Why a request is not carried out, and the one place where errors become an HTTP status.

use std::borrow::Cow;
use std::error::Error;

use cloudless_dav_proto::error::{Condition, error_body};
use cloudless_dav_proto::request::RequestError;
use cloudless_store::{BookError, ResourceError, StoreError};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::Body;
use crate::authentication::CHALLENGE;
use crate::body::BodyError;
use crate::methods::changed_meanwhile;
use crate::request_body::ReadError;

/// How long a client is asked to wait when the store is busy.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// An answer that says no, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    reason: Cow<'static, str>,
    condition: Option<Box<Condition>>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Refusal {
    /// A refusal that is explained in plain text.
    pub(crate) fn text(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            reason: reason.into(),
            condition: None,
            header: None,
        }
    }

    /// A refusal whose reason clients can read: a `DAV:error` element (RFC 4918 §16).
    pub(crate) fn condition(
        status: StatusCode,
        condition: Condition,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            reason: reason.into(),
            condition: Some(Box::new(condition)),
            header: None,
        }
    }

    /// What does not exist, and what another user has.
    pub(crate) fn not_found() -> Self {
        Self::text(StatusCode::NOT_FOUND, "There is nothing here.")
    }

    /// A body in an encoding such as gzip.
    pub(crate) fn content_encoding() -> Self {
        let reason = "Send the body without Content-Encoding.";
        Self::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason).with_header(
            http::header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        )
    }

    /// A bug or a failure that is nobody's fault outside. It is logged with its causes.
    pub(crate) fn internal(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = chain(error), "cannot answer a request");
        Self::failed()
    }

    /// The same for what was told already.
    pub(crate) fn failed() -> Self {
        Self::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The server failed. Its log says why.",
        )
    }

    /// The same refusal with one more header.
    pub(crate) fn with_header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self {
            header: Some(Box::new((name, value))),
            ..self
        }
    }

    /// The reason in words, for the history of a card.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        let (body, content_type) = match refusal.condition {
            None => (
                format!("{}\n", refusal.reason).into_bytes(),
                "text/plain; charset=utf-8",
            ),
            Some(condition) => (error_body(&[*condition]), "application/xml; charset=utf-8"),
        };
        let mut response = Self::new(Body::from(bytes::Bytes::from(body)));
        *response.status_mut() = refusal.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some((name, value)) = refusal.header.map(|header| *header) {
            headers.insert(name, value);
        }
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => {
                let reason = "The store is busy. Try again in a moment.";
                Self::text(StatusCode::SERVICE_UNAVAILABLE, reason)
                    .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
            }
            StoreError::DeviceRevoked => {
                let reason = "The password was revoked while the request was under way.";
                Self::text(StatusCode::UNAUTHORIZED, reason)
                    .with_header(WWW_AUTHENTICATE, CHALLENGE)
            }
            StoreError::InvalidCardName => {
                let reason = "This name cannot be used for a card: \
                              write 1 to 255 bytes without a slash.";
                Self::text(StatusCode::BAD_REQUEST, reason)
            }
            // DAVx5 keeps a change for later on this condition, and on no other 403.
            StoreError::ShareWithdrawn => {
                let missing = Vec::new();
                let condition = Condition::NeedPrivileges { missing };
                Self::condition(StatusCode::FORBIDDEN, condition, chain(&error))
            }
            StoreError::NoSuchBook => Self::text(StatusCode::CONFLICT, NO_ADDRESS_BOOK),
            error if error.is_full() => {
                tracing::warn!(error = chain(&error), "the disk is full");
                Self::text(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "The disk of the server is full.",
                )
            }
            error => Self::internal(&error),
        }
    }
}

impl From<BookError> for Refusal {
    fn from(error: BookError) -> Self {
        match error {
            BookError::InvalidSlug => {
                let condition = Condition::AddressbookCollectionLocationOk;
                Self::condition(StatusCode::FORBIDDEN, condition, chain(&error))
            }
            BookError::NoSuchBook => Self::not_found(),
            BookError::PreconditionFailed => changed_meanwhile(),
            BookError::Personal => Self::text(StatusCode::FORBIDDEN, chain(&error)),
            BookError::SlugTaken { .. } => {
                let condition = Condition::ResourceMustBeNull;
                Self::condition(StatusCode::METHOD_NOT_ALLOWED, condition, chain(&error))
            }
            BookError::Store(error) => Self::from(error),
            BookError::TooLarge => Self::text(StatusCode::INSUFFICIENT_STORAGE, chain(&error)),
            BookError::TooMany | BookError::TooMuch => {
                let status = StatusCode::INSUFFICIENT_STORAGE;
                Self::condition(status, Condition::QuotaNotExceeded, chain(&error))
            }
            error => Self::internal(&error),
        }
    }
}

impl From<ResourceError> for Refusal {
    fn from(error: ResourceError) -> Self {
        let status = match error {
            ResourceError::Store(error) => return error.into(),
            ResourceError::NotFound => return Self::not_found(),
            ResourceError::PreconditionFailed => return changed_meanwhile(),
            ResourceError::QuotaExceeded => {
                let status = StatusCode::INSUFFICIENT_STORAGE;
                return Self::condition(status, Condition::QuotaNotExceeded, chain(&error));
            }
            ResourceError::DestinationExists => StatusCode::PRECONDITION_FAILED,
            ResourceError::Exists => StatusCode::METHOD_NOT_ALLOWED,
            ResourceError::InvalidName => StatusCode::BAD_REQUEST,
            ResourceError::NoCollection => StatusCode::CONFLICT,
            ResourceError::IntoItself | ResourceError::Root | ResourceError::TooDeep => {
                StatusCode::FORBIDDEN
            }
        };
        Self::text(status, chain(&error))
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Store(error) => Self::from(error),
            BodyError::Task(error) => Self::internal(&error),
        }
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::DocumentType => {
                let condition = Condition::NoExternalEntities;
                Self::condition(StatusCode::FORBIDDEN, condition, chain(&error))
            }
            RequestError::UnsupportedCollation { .. } => {
                let condition = Condition::SupportedCollation;
                Self::condition(StatusCode::FORBIDDEN, condition, chain(&error))
            }
            RequestError::UnsupportedFilter(_) => {
                let condition = Condition::SupportedFilter;
                Self::condition(StatusCode::FORBIDDEN, condition, chain(&error))
            }
            RequestError::TooManyProperties
            | RequestError::TooManyHrefs
            | RequestError::TooManyNodes
            | RequestError::TooManyFilters => {
                Self::text(StatusCode::PAYLOAD_TOO_LARGE, chain(&error))
            }
            error => Self::text(StatusCode::BAD_REQUEST, chain(&error)),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Broken(error) => {
                tracing::debug!(error, "a request body could not be read");
                Self::text(
                    StatusCode::BAD_REQUEST,
                    "The body could not be read to its end.",
                )
            }
            ReadError::Busy => StoreError::Busy.into(),
            ReadError::Silent => Self::text(
                StatusCode::REQUEST_TIMEOUT,
                "The body stopped in the middle.",
            ),
            ReadError::TooLarge => Self::text(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is larger than allowed.",
            ),
        }
    }
}

/// Why a card cannot be written where there is no address book.
pub(crate) const NO_ADDRESS_BOOK: &str = "There is no such address book to put a card into.";

/// Joins an error and its causes, each told once: some libraries tell the cause in the error too.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use rusqlite::ffi::{self, SQLITE_CORRUPT, SQLITE_FULL};

    use super::*;
    use crate::blocking;

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    /// DAVx5 deletes an address book from the phone on 403 and 404, and throws an edit away on 409
    /// and 412: a store in trouble must never be told by one of these.
    #[test]
    fn a_store_in_trouble_is_a_5xx() {
        let status = |error: StoreError| Response::from(Refusal::from(error)).status().as_u16();
        assert_eq!(status(StoreError::Busy), 503);
        assert_eq!(status(StoreError::Write(sqlite(SQLITE_FULL))), 507);
        assert_eq!(status(StoreError::Commit(sqlite(SQLITE_FULL).into())), 507);
        assert_eq!(status(StoreError::Read(sqlite(SQLITE_CORRUPT))), 500);
        assert_eq!(status(StoreError::WriterStopped), 500);
        let busy = Response::from(Refusal::from(BodyError::Store(StoreError::Busy)));
        assert_eq!(busy.status(), 503);
        assert_eq!(busy.headers()[RETRY_AFTER], "5");
    }

    /// RFC 3744 §7.1.1.
    #[tokio::test]
    async fn a_share_that_ended_meanwhile_is_a_missing_privilege() {
        let response = Response::from(Refusal::from(StoreError::ShareWithdrawn));
        assert_eq!(response.status(), 403);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("<D:need-privileges>"), "{body}");
    }

    async fn a_panic_is_a_500() {
        let panicked = blocking::run(|| -> Result<(), Refusal> { panic!("a bug") }).await;
        let response = panicked
            .map_err(Response::from)
            .expect_err("the work panicked");
        assert_eq!(response.status(), 500);
    }

    #[tokio::test]
    async fn a_panic_is_a_500_with_one_thread() {
        a_panic_is_a_500().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_a_500_with_several_threads() {
        a_panic_is_a_500().await;
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = cloudless_dav_proto::request::parse_propfind(b"<a").unwrap_err();
        let text = chain(&error);
        assert_eq!(text.matches("tag not closed").count(), 1, "{text}");
    }

    #[test]
    fn the_log_gets_every_cause() {
        let text = chain(&StoreError::Read(sqlite(SQLITE_CORRUPT)));
        assert!(
            text.starts_with("cannot read from the database: check the disk: "),
            "{text}"
        );
    }
}
