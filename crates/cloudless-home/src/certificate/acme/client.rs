//! Requests to the authority, and what its answers say beside what the ACME library reads in them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{DATE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use crate::config::Clock;
use crate::https_client::{HttpsClient, RequestError};
use crate::proxy::Proxy;
use crate::retry_after;

/// The longest body of an answer: a certificate with its chain is some kilobytes.
const BODY_MAX: usize = 1024 * 1024;
const SOFTWARE: &str = concat!("cloudless/", env!("CARGO_PKG_VERSION"), " (instant-acme)");

/// What the authority's answers say beside what is in them.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// The authority's clock, and this machine's when it was heard.
    pub(super) date: Option<(SystemTime, SystemTime)>,
    /// How long the last answer that was an error asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// What its directory says about it.
    pub(super) about: About,
}

/// `meta` of a directory (RFC 8555 section 7.1.1).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct About {
    /// The names by which CAA records know the authority.
    pub(super) caa_identities: Vec<String>,
    /// Whether an account has to be bound to another one.
    pub(super) external_account_required: bool,
}

#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    meta: About,
}

/// Sends requests to one authority.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    directory: String,
    https: HttpsClient,
    clock: Clock,
    heard: Mutex<Heard>,
}

impl Client {
    /// A client that trusts `roots` to say who the authority is.
    pub(super) fn new(
        directory: String,
        roots: &[CertificateDer<'static>],
        proxy: Option<Proxy>,
        clock: Clock,
    ) -> Result<Self, rustls::Error> {
        Ok(Self(Arc::new(Inner {
            directory,
            https: HttpsClient::new(roots, proxy)?,
            clock,
            heard: Mutex::default(),
        })))
    }

    /// What the answers said so far.
    pub(super) fn heard(&self) -> Heard {
        self.0.heard().clone()
    }

    /// Forgets what earlier answers asked for.
    pub(super) fn forget_retry_after(&self) {
        self.0.heard().retry_after = None;
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let answer = inner.answer(request).await;
            let answer = answer.map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
            let (parts, body) = answer.into_parts();
            let body = Box::new(body);
            Ok(BytesResponse { parts, body })
        })
    }
}

impl Inner {
    async fn answer(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<Response<Bytes>, RequestError> {
        let uri = request.uri().clone();
        if uri.scheme_str() != Some("https") {
            return Err(RequestError::NotHttps(uri));
        }
        let (mut parts, body) = request.into_parts();
        parts
            .headers
            .insert(USER_AGENT, HeaderValue::from_static(SOFTWARE));
        // Infallible.
        let body = body.collect().await.unwrap_or_default().to_bytes();
        let request = Request::from_parts(parts, body);
        let answer = self.https.send(request, BODY_MAX).await?;
        let now = (self.clock)();
        let mut heard = self.heard();
        heard.date = date(answer.headers()).map(|theirs| (theirs, now));
        if !answer.status().is_success() {
            heard.retry_after = retry_after::read(answer.headers(), now);
        } else if uri == *self.directory
            && let Ok(directory) = serde_json::from_slice::<Directory>(answer.body())
        {
            heard.about = directory.meta;
        }
        drop(heard);
        tracing::debug!(status = answer.status().as_u16(), path = uri.path(), "ACME");
        Ok(answer)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let text = headers.get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok()
}
