//! Requests to those who watch the logs, and to the owner's webhook.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use rustls_pki_types::CertificateDer;

use super::time_heard::TimeHeard;
use crate::config::{BootClock, Clock};
use crate::https_client::{HttpsClient, RequestError};
use crate::proxy::Proxy;
use crate::retry_after;

/// The longest answer of a webhook.
const ANSWER_MAX: usize = 64 * 1024;
/// Nobody's request to wait longer than this is heeded.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest answer of which only the time counts.
const TIME_MAX: usize = 1024 * 1024;
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
    /// The other side's clock.
    pub(crate) time: Option<TimeHeard>,
}

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Fetcher {
    https: HttpsClient,
    clock: Clock,
    boot_clock: BootClock,
}

impl Fetcher {
    /// Trusts `roots` to say who the others are.
    pub(crate) fn new(
        roots: &[CertificateDer<'static>],
        proxy: Option<Proxy>,
        clock: Clock,
        boot_clock: BootClock,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            https: HttpsClient::new(roots, proxy)?,
            clock,
            boot_clock,
        })
    }

    /// Asks for what an https URL leads to. No redirect is followed.
    ///
    /// # Errors
    /// Also for a status that is no success, and for a body longer than `max` bytes.
    pub(crate) async fn get(&self, url: &str, max: usize) -> Result<Fetched, FetchError> {
        let (answer, time) = self.ask(url, max).await?;
        let body = self.successful(url, answer)?;
        Ok(Fetched { body, time })
    }

    /// What time it is where an https URL leads to, whatever else is answered.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) async fn time(&self, url: &str) -> Result<Option<TimeHeard>, FetchError> {
        let (_, time) = self.ask(url, TIME_MAX).await?;
        Ok(time)
    }

    /// Sends JSON to an http or https URL, and drops what it answers.
    pub(crate) async fn post(&self, url: &str, json: Vec<u8>) -> Result<(), FetchError> {
        let answer = self
            .send(Method::POST, url, json.into(), ANSWER_MAX)
            .await?;
        self.successful(url, answer).map(drop)
    }

    async fn ask(
        &self,
        url: &str,
        max: usize,
    ) -> Result<(Response<Bytes>, Option<TimeHeard>), FetchError> {
        if !url.starts_with("https://") {
            return Err(FetchError::Url(url.to_owned()));
        }
        let answer = self.send(Method::GET, url, Bytes::new(), max).await?;
        let date = answer.headers().get(DATE).and_then(|it| it.to_str().ok());
        let theirs = date.and_then(|text| httpdate::parse_http_date(text).ok());
        let time = theirs.map(|theirs| TimeHeard::new(theirs, (self.boot_clock)()));
        Ok((answer, time))
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        max: usize,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(USER_AGENT, SOFTWARE)
            .header(ACCEPT, "application/json, */*");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(FetchError::Request)?;
        let answer = self.https.send(request, max).await;
        answer.map_err(FetchError::NoAnswer)
    }

    fn successful(&self, url: &str, answer: Response<Bytes>) -> Result<Bytes, FetchError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let retry_after = retry_after::read(answer.headers(), (self.clock)());
        let host = url.parse::<Uri>().ok();
        let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
        Err(FetchError::Status {
            host: host.to_owned(),
            status,
            retry_after: retry_after.map(|it| it.min(RETRY_AFTER_MAX)),
        })
    }
}
