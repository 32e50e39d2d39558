//! HTTP to the authority: one connection for each request, because there are a dozen in a month.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{DATE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use serde::Deserialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Clock;
use crate::proxy::{Proxy, ProxyError};
use crate::retry_after;

/// One request, from the name look-up to the last byte of the answer.
const REQUEST: Duration = Duration::from_secs(30);
/// One of several addresses; the others get their share.
const CONNECT: Duration = Duration::from_secs(7);
/// The longest body of an answer: a certificate with its chain is some kilobytes.
const BODY_MAX: usize = 1024 * 1024;
const HEADERS_MAX: usize = 64;
const HEAD_MAX: usize = 64 * 1024;
/// More addresses of the authority are left out.
const ADDRESSES_MAX: usize = 4;
const SOFTWARE: &str = concat!("cloudless/", env!("CARGO_PKG_VERSION"), " (instant-acme)");

/// Why a request to the authority got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
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
    #[error("`{0}` has no name that a certificate could be for")]
    Name(String, #[source] InvalidDnsNameError),
    #[error("`{0}` is no https URL")]
    NotHttps(Uri),
    #[error("cannot reach {host} through the proxy")]
    Proxy {
        host: String,
        #[source]
        source: ProxyError,
    },
    #[error("{0} took too long to answer")]
    TimedOut(String),
    #[error("TLS with {host} failed")]
    Tls {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "the certificate of {host} is not valid at the time that this machine's clock says: is the \
         clock right?"
    )]
    WrongTime {
        host: String,
        #[source]
        source: io::Error,
    },
}

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
    tls: TlsConnector,
    proxy: Option<Proxy>,
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
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(Inner {
            directory,
            tls: TlsConnector::from(Arc::new(config)),
            proxy,
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
        let host = uri.host().unwrap_or_default().to_owned();
        let exchange = timeout(REQUEST, self.exchange(request)).await;
        let answer = exchange.map_err(|_| RequestError::TimedOut(host))??;
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

    async fn exchange(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<Response<Bytes>, RequestError> {
        let (mut parts, body) = request.into_parts();
        let uri = parts.uri.clone();
        let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(RequestError::NotHttps(uri));
        };
        let host = authority.host().to_owned();
        let http = |source| RequestError::Http {
            host: host.clone(),
            source,
        };
        let stream = self
            .connect(&host, authority.port_u16().unwrap_or(443))
            .await?;
        // Infallible.
        let body = body.collect().await.unwrap_or_default().to_bytes();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        if let Ok(target) = target.parse() {
            parts.uri = target;
        }
        if let Ok(value) = HeaderValue::from_str(authority.as_str()) {
            parts.headers.insert(HOST, value);
        }
        parts
            .headers
            .insert(USER_AGENT, HeaderValue::from_static(SOFTWARE));
        let request = Request::from_parts(parts, Full::new(body));
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
            let body = Limited::new(body, BODY_MAX).collect().await;
            let body = body.map_err(RequestError::Body)?.to_bytes();
            Ok(Response::from_parts(parts, body))
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
                    () = std::future::ready(()) => Err(RequestError::Closed(host.clone())),
                }
            }
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, RequestError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|error| RequestError::Name(host.to_owned(), error))?;
        let target = format!("{host}:{port}");
        let proxy = self.proxy.as_ref().filter(|proxy| proxy.is_for(&target));
        let mut tcp = match proxy {
            Some(proxy) => self.reach(proxy.address()).await?,
            None => self.reach(&target).await?,
        };
        if let Some(proxy) = proxy {
            let connected = proxy.connect(&mut tcp, &target).await;
            connected.map_err(|source| RequestError::Proxy {
                host: host.to_owned(),
                source,
            })?;
        }
        let connected = self.tls.connect(name, tcp).await;
        connected.map_err(|source| {
            let host = host.to_owned();
            if is_wrong_time(&source) {
                RequestError::WrongTime { host, source }
            } else {
                RequestError::Tls { host, source }
            }
        })
    }

    /// Connects to one of the addresses of a `host:port`.
    async fn reach(&self, target: &str) -> Result<TcpStream, RequestError> {
        let host = || target.to_owned();
        let found = lookup_host(target).await;
        let found = found.map_err(|source| RequestError::LookUp {
            host: host(),
            source,
        })?;
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for address in found.take(ADDRESSES_MAX) {
            let connected = timeout(CONNECT, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                Ok(stream) => {
                    let ready = stream.set_nodelay(true).map(|()| stream);
                    return ready.map_err(|source| RequestError::Connect {
                        host: host(),
                        source,
                    });
                }
                Err(error) => failure = error,
            }
        }
        Err(RequestError::Connect {
            host: host(),
            source: failure,
        })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a certificate was refused for the time.
fn is_wrong_time(error: &io::Error) -> bool {
    let cause = error.get_ref();
    let cause = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(cause)) = cause else {
        return false;
    };
    matches!(
        cause,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let text = headers.get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok()
}
