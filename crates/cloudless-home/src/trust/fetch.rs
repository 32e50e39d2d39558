//! Requests to those who watch the logs, and to the owner's webhook.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, USER_AGENT};
use http::{Method, Request, StatusCode};
use rustls_pki_types::CertificateDer;

use crate::config::Clock;
use crate::https_client::{HttpsClient, RequestError};
use crate::proxy::Proxy;
use crate::retry_after;

/// The longest answer of a webhook.
const ANSWER_MAX: usize = 64 * 1024;
/// Nobody's request to wait longer than this is heeded.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const SOFTWARE: &str = concat!("cloudless/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    NoAnswer(RequestError),
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("{host} answered with status {status}")]
    Status {
        host: String,
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("`{0}` is no URL that can be asked")]
    Url(String),
}

impl FetchError {
    /// How long the other side asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A whole answer with a status of success.
pub(crate) struct Fetched {
    pub(crate) body: Bytes,
    /// The other side's clock, and this machine's when it was heard.
    pub(crate) date: Option<(SystemTime, SystemTime)>,
}

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Fetcher {
    https: HttpsClient,
    clock: Clock,
}

impl Fetcher {
    /// Trusts `roots` to say who the others are.
    pub(crate) fn new(
        roots: &[CertificateDer<'static>],
        proxy: Option<Proxy>,
        clock: Clock,
    ) -> Result<Self, rustls::Error> {
        let https = HttpsClient::new(roots, proxy)?;
        Ok(Self { https, clock })
    }

    /// Asks for what an https URL leads to. No redirect is followed.
    ///
    /// # Errors
    /// Also for a status that is no success, and for a body longer than `max` bytes.
    pub(crate) async fn get(&self, url: &str, max: usize) -> Result<Fetched, FetchError> {
        if !url.starts_with("https://") {
            return Err(FetchError::Url(url.to_owned()));
        }
        self.fetch(Method::GET, url, Bytes::new(), max).await
    }

    /// Sends JSON to an http or https URL, and drops what it answers.
    pub(crate) async fn post(&self, url: &str, json: Vec<u8>) -> Result<(), FetchError> {
        let answer = self.fetch(Method::POST, url, json.into(), ANSWER_MAX).await;
        answer.map(drop)
    }

    async fn fetch(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        max: usize,
    ) -> Result<Fetched, FetchError> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(USER_AGENT, SOFTWARE)
            .header(ACCEPT, "application/json, */*");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(FetchError::Request)?;
        let host = request.uri().host().unwrap_or_default().to_owned();
        let answer = self.https.send(request, max).await;
        let answer = answer.map_err(FetchError::NoAnswer)?;
        let (status, headers) = (answer.status(), answer.headers());
        let now = (self.clock)();
        if !status.is_success() {
            let retry_after = retry_after::read(headers, now);
            return Err(FetchError::Status {
                host,
                status,
                retry_after: retry_after.map(|it| it.min(RETRY_AFTER_MAX)),
            });
        }
        let date = headers.get(DATE).and_then(|it| it.to_str().ok());
        let date = date.and_then(|text| httpdate::parse_http_date(text).ok());
        Ok(Fetched {
            date: date.map(|theirs| (theirs, now)),
            body: answer.into_body(),
        })
    }
}
