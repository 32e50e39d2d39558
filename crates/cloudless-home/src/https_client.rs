//! HTTP to servers of others, over TLS that public authorities vouch for: one connection for each
//! request, because there are a few in an hour. A proxy is used where there is one.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::proxy::{Proxy, ProxyError};

/// One request, from the name look-up to the last byte of the answer.
const REQUEST: Duration = Duration::from_secs(30);
/// One of several addresses; the others get their share.
const CONNECT: Duration = Duration::from_secs(7);
const HEADERS_MAX: usize = 64;
const HEAD_MAX: usize = 64 * 1024;
/// More addresses of a host are left out.
const ADDRESSES_MAX: usize = 4;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
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

/// Sends requests.
#[derive(Clone)]
pub(crate) struct HttpsClient {
    tls: TlsConnector,
    proxy: Option<Proxy>,
}

impl HttpsClient {
    /// Trusts `roots` to say who the others are.
    pub(crate) fn new(
        roots: &[CertificateDer<'static>],
        proxy: Option<Proxy>,
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
        })
    }

    /// Sends a request for an absolute URL, http or https, and reads the answer, whatever its status.
    /// No redirect is followed.
    ///
    /// # Errors
    /// Also for a body longer than `max` bytes.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        max: usize,
    ) -> Result<Response<Bytes>, RequestError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let exchange = timeout(REQUEST, self.exchange(request, max)).await;
        exchange.map_err(|_| RequestError::TimedOut(host))?
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        max: usize,
    ) -> Result<Response<Bytes>, RequestError> {
        let (mut parts, body) = request.into_parts();
        let uri = parts.uri.clone();
        let Some(authority) = uri.authority() else {
            return Err(RequestError::NotHttps(uri));
        };
        let host = authority.host().to_owned();
        let http = |source| RequestError::Http {
            host: host.clone(),
            source,
        };
        let stream = self.connect(&uri, &host, authority.port_u16()).await?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        if let Ok(target) = target.parse() {
            parts.uri = target;
        }
        if let Ok(value) = HeaderValue::from_str(authority.as_str()) {
            parts.headers.insert(HOST, value);
        }
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
            let body = Limited::new(body, max).collect().await;
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

    async fn connect(
        &self,
        uri: &Uri,
        host: &str,
        port: Option<u16>,
    ) -> Result<Pin<Box<dyn Io>>, RequestError> {
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(RequestError::NotHttps(uri.clone())),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|error| RequestError::Name(host.to_owned(), error))?;
        let port = port.unwrap_or(if is_tls { 443 } else { 80 });
        let target = format!("{host}:{port}");
        let proxy = self.proxy.as_ref().filter(|proxy| proxy.is_for(&target));
        let mut tcp = reach(proxy.map_or(target.as_str(), |proxy| proxy.address())).await?;
        if let Some(proxy) = proxy {
            let connected = proxy.connect(&mut tcp, &target).await;
            connected.map_err(|source| RequestError::Proxy {
                host: host.to_owned(),
                source,
            })?;
        }
        if !is_tls {
            return Ok(Box::pin(tcp));
        }
        let connected = self.tls.connect(name, tcp).await;
        let stream = connected.map_err(|source| {
            let host = host.to_owned();
            if is_wrong_time(&source) {
                RequestError::WrongTime { host, source }
            } else {
                RequestError::Tls { host, source }
            }
        })?;
        Ok(Box::pin(stream))
    }
}

/// What HTTP is spoken over.
trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Connects to one of the addresses of a `host:port`.
async fn reach(target: &str) -> Result<TcpStream, RequestError> {
    let host = || target.to_owned();
    let found = lookup_host(target).await;
    let found = found.map_err(|source| RequestError::LookUp {
        host: host(),
        source,
    })?;
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in found.take(ADDRESSES_MAX) {
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let connected = connected.unwrap_or_else(|elapsed| Err(elapsed.into()));
        match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(RequestError::Connect {
        host: host(),
        source: failure,
    })
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
