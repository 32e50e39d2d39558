//! HTTP to those who watch the logs, and to the owner's webhook: one connection for each request.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::Clock;
use crate::proxy::{Proxy, ProxyError};

/// One request, from the name look-up to the last byte of the answer.
const REQUEST: Duration = Duration::from_secs(30);
/// One of several addresses.
const CONNECT: Duration = Duration::from_secs(5);
const ADDRESSES_MAX: usize = 4;
const HEADERS_MAX: usize = 64;
const HEAD_MAX: usize = 64 * 1024;
/// Nobody's request to wait longer than this is heeded.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const SOFTWARE: &str = concat!("cloudless/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the answer is too long, or broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the connection to {0} was closed")]
    Closed(String),
    #[error("cannot connect to {host}; is this machine online?")]
    Connect {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("HTTP with {host} failed")]
    Http {
        host: String,
        #[source]
        source: hyper::Error,
    },
    #[error("cannot find the address of {host}; is this machine online?")]
    LookUp {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot reach {host} through the proxy")]
    Proxy {
        host: String,
        #[source]
        source: ProxyError,
    },
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("{host} answered with status {status}")]
    Status {
        host: String,
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("{0} took too long to answer")]
    TimedOut(String),
    #[error("TLS with {host} failed")]
    Tls {
        host: String,
        #[source]
        source: io::Error,
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
    tls: TlsConnector,
    proxy: Option<Proxy>,
    clock: Clock,
}

impl Fetcher {
    /// Trusts `roots` to say who the others are.
    pub(crate) fn new(
        roots: &[CertificateDer<'static>],
        proxy: Option<Proxy>,
        clock: Clock,
    ) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            proxy,
            clock,
        })
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
        let answer = self.fetch(Method::POST, url, json.into(), HEAD_MAX).await;
        answer.map(drop)
    }

    async fn fetch(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        max: usize,
    ) -> Result<Fetched, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let host = uri.host().unwrap_or_default().to_owned();
        let exchange = timeout(REQUEST, self.exchange(method, &uri, body, max)).await;
        let (status, headers, body) =
            exchange.map_err(|_| FetchError::TimedOut(host.clone()))??;
        let now = (self.clock)();
        if !status.is_success() {
            return Err(FetchError::Status {
                host,
                status,
                retry_after: retry_after(&headers, now),
            });
        }
        let date = headers.get(DATE).and_then(|it| it.to_str().ok());
        let date = date.and_then(|text| httpdate::parse_http_date(text).ok());
        Ok(Fetched {
            body,
            date: date.map(|theirs| (theirs, now)),
        })
    }

    async fn exchange(
        &self,
        method: Method,
        uri: &Uri,
        body: Bytes,
        max: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
        let authority = uri
            .authority()
            .ok_or_else(|| FetchError::Url(uri.to_string()))?;
        let host = authority.host().to_owned();
        let http = |source| FetchError::Http {
            host: host.clone(),
            source,
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, authority.as_str())
            .header(USER_AGENT, SOFTWARE)
            .header(ACCEPT, "application/json, */*");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(FetchError::Request)?;
        let stream = self.connect(uri, &host, authority.port_u16()).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(http)?;
        let mut connection = pin!(connection);
        let answer = async {
            let answer = sender.send_request(request).await.map_err(http)?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, max).collect().await;
            let body = body.map_err(FetchError::Body)?.to_bytes();
            Ok((parts.status, parts.headers, body))
        };
        let mut answer = pin!(answer);
        tokio::select! {
            biased;
            answer = answer.as_mut() => answer,
            ended = connection.as_mut() => {
                ended.map_err(http)?;
                // The answer may have come with the end.
                tokio::select! {
                    biased;
                    answer = answer.as_mut() => answer,
                    () = std::future::ready(()) => Err(FetchError::Closed(host.clone())),
                }
            }
        }
    }

    async fn connect(
        &self,
        uri: &Uri,
        host: &str,
        port: Option<u16>,
    ) -> Result<Pin<Box<dyn Io>>, FetchError> {
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(FetchError::Url(uri.to_string())),
        };
        let port = port.unwrap_or(if is_tls { 443 } else { 80 });
        let target = format!("{host}:{port}");
        let proxy = self.proxy.as_ref().filter(|proxy| proxy.is_for(&target));
        let mut tcp = reach(proxy.map_or(target.as_str(), |proxy| proxy.address())).await?;
        if let Some(proxy) = proxy {
            let connected = proxy.connect(&mut tcp, &target).await;
            connected.map_err(|source| FetchError::Proxy {
                host: host.to_owned(),
                source,
            })?;
        }
        if !is_tls {
            return Ok(Box::pin(tcp));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name =
            ServerName::try_from(bare.to_owned()).map_err(|_| FetchError::Url(uri.to_string()))?;
        let connected = self.tls.connect(name, tcp).await;
        let stream = connected.map_err(|source| FetchError::Tls {
            host: host.to_owned(),
            source,
        })?;
        Ok(Box::pin(stream))
    }
}

/// What HTTP is spoken over.
trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Connects to one of the addresses of a `host:port`.
async fn reach(target: &str) -> Result<TcpStream, FetchError> {
    let host = || target.to_owned();
    let found = lookup_host(target).await;
    let found = found.map_err(|source| FetchError::LookUp {
        host: host(),
        source,
    })?;
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in found.take(ADDRESSES_MAX) {
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(FetchError::Connect {
        host: host(),
        source: failure,
    })
}

/// Reads seconds or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(value).ok()?;
            at.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}
