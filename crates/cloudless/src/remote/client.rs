//! HTTP/1.1 to that server: one connection, kept for the next request.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use cloudless_proto::Redacted;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::address::{Address, AddressError};

const CONNECT: Duration = Duration::from_secs(20);
/// One request and the whole of its answer.
const EXCHANGE: Duration = Duration::from_secs(300);
/// The longest answer with many cards; a single card has its own limit.
pub(crate) const BODY_MAX: usize = 64 * 1024 * 1024;
const HEAD_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
const REDIRECTS_MAX: usize = 5;
/// How often a server may ask to wait, and for how long at a time.
const WAITS_MAX: usize = 5;
const WAIT_MAX: Duration = Duration::from_secs(120);
const WAIT: Duration = Duration::from_secs(5);
const SOFTWARE: &str = concat!("cloudless/", env!("CARGO_PKG_VERSION"));

/// Who asks.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Redacted<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot connect to {host}: is that the right address, and is this machine online?")]
    Connect {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "TLS with {host} failed. If its certificate is of an authority of its own, name that \
         authority's certificate with --from-ca"
    )]
    Tls {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("{host} did not answer in time")]
    TimedOut { host: String },
    #[error("HTTP with {host} failed")]
    Http {
        host: String,
        #[source]
        source: hyper::Error,
    },
    #[error("the answer of {host} is too long, or broke off")]
    Body {
        host: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("{host} leads to something that is no address")]
    Redirect {
        host: String,
        #[source]
        source: AddressError,
    },
    #[error("{host} leads from one address to another without an end")]
    Redirects { host: String },
    #[error(
        "{from} leads to {to}. If that is right, repeat the command with --from-host {to}: it then \
         gets the password too"
    )]
    OtherHost { from: String, to: String },
}

/// An answer, and where it came from after all redirects.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) address: Address,
}

/// Sends requests, one after the other.
pub(crate) struct Client {
    runtime: Runtime,
    tls: TlsConnector,
    authorization: Option<HeaderValue>,
    /// Those that get the password.
    allowed: BTreeSet<String>,
    connection: Option<Connection>,
}

struct Connection {
    address: Address,
    sender: SendRequest<Full<Bytes>>,
    /// Ends with it.
    _driver: JoinSet<()>,
}

impl Client {
    /// `hosts` get the password beside that of `start`; `ca_file` says who signed the certificates,
    /// in place of those that the system trusts.
    pub(crate) fn new(
        start: &Address,
        hosts: &[String],
        login: Option<&Login>,
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificates = match ca_file {
            Some(file) => {
                let context = || format!("cannot read the certificates in {}", file.display());
                let found = CertificateDer::pem_file_iter(file).with_context(context)?;
                found.collect::<Result<Vec<_>, _>>().with_context(context)?
            }
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(certificates);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let authorization = login.map(|login| {
            let credentials = format!("{}:{}", login.user, login.password.expose());
            let text = format!("Basic {}", BASE64.encode(credentials.as_bytes()));
            let mut value = HeaderValue::try_from(text)?;
            value.set_sensitive(true);
            Ok::<_, http::header::InvalidHeaderValue>(value)
        });
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase());
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start the network's threads")?,
            tls: TlsConnector::from(Arc::new(config)),
            authorization: authorization
                .transpose()
                .context("the password has characters that HTTP forbids")?,
            allowed: hosts.chain([start.authority()]).collect(),
            connection: None,
        })
    }

    /// Asks, follows redirects, and waits where the server asks for that. A body of more than `max`
    /// bytes is an error.
    pub(crate) fn ask(
        &mut self,
        method: &Method,
        address: &Address,
        depth: Option<&'static str>,
        body: &str,
        max: usize,
    ) -> Result<Answer, ClientError> {
        let mut address = address.clone();
        let (mut redirects, mut waits) = (0, 0);
        loop {
            self.require_allowed(&address, &address)?;
            let request = || self.request(method, &address, depth, body);
            let request = request().map_err(ClientError::Request)?;
            let (status, headers, body) = self.exchange(&address, &request, max)?;
            let host = || address.authority();
            let is_busy = [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::SERVICE_UNAVAILABLE,
            ];
            if is_busy.contains(&status) && waits < WAITS_MAX {
                waits += 1;
                let wait = retry_after(&headers);
                self.runtime.block_on(async { sleep(wait).await });
                continue;
            }
            let location = headers.get(LOCATION).and_then(|it| it.to_str().ok());
            let Some(location) = location.filter(|_| status.is_redirection()) else {
                return Ok(Answer {
                    status,
                    headers,
                    body,
                    address,
                });
            };
            redirects += 1;
            if redirects > REDIRECTS_MAX {
                return Err(ClientError::Redirects { host: host() });
            }
            let next = address.join(location);
            let next = next.map_err(|source| ClientError::Redirect {
                host: host(),
                source,
            })?;
            self.require_allowed(&address, &next)?;
            address = next;
        }
    }

    /// Says no to a server that is not to have the password.
    pub(crate) fn require_allowed(&self, from: &Address, to: &Address) -> Result<(), ClientError> {
        if self.allowed.contains(&to.authority()) {
            return Ok(());
        }
        Err(ClientError::OtherHost {
            from: from.authority(),
            to: to.authority(),
        })
    }

    fn request(
        &self,
        method: &Method,
        address: &Address,
        depth: Option<&'static str>,
        body: &str,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(&address.path)
            .header(HOST, address.authority())
            .header(USER_AGENT, SOFTWARE);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(depth) = depth {
            request = request.header("depth", depth);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/xml; charset=utf-8");
        }
        request.body(Full::new(Bytes::from(body.to_owned())))
    }

    /// One request, over the connection that is there or a new one.
    fn exchange(
        &mut self,
        address: &Address,
        request: &Request<Full<Bytes>>,
        max: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), ClientError> {
        loop {
            let kept = self.connection.take();
            let kept =
                kept.filter(|it| it.address.has_origin_of(address) && !it.sender.is_closed());
            let is_kept = kept.is_some();
            let whole = async {
                let mut connection = match kept {
                    Some(connection) => connection,
                    None => connect(&self.tls, address).await?,
                };
                let answer = answer(&mut connection, address, request.clone(), max).await?;
                Ok((connection, answer))
            };
            let done = self
                .runtime
                .block_on(async { timeout(EXCHANGE, whole).await });
            match done {
                Ok(Ok((connection, answer))) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                // The server closed it in the meantime; nothing that is asked here changes anything.
                Ok(Err(ClientError::Http { .. })) if is_kept => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let host = address.authority();
                    return Err(ClientError::TimedOut { host });
                }
            }
        }
    }
}

async fn connect(tls: &TlsConnector, address: &Address) -> Result<Connection, ClientError> {
    let host = || address.authority();
    let connecting = async {
        let target = (address.bare_host(), address.port);
        let connected = TcpStream::connect(target).await;
        let stream = connected.map_err(|source| ClientError::Connect {
            host: host(),
            source,
        })?;
        if !address.is_tls {
            return handshake(stream, address).await;
        }
        let failed = |source| ClientError::Tls {
            host: host(),
            source,
        };
        let name = ServerName::try_from(address.bare_host().to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        handshake(tls.connect(name, stream).await.map_err(failed)?, address).await
    };
    let connected = timeout(CONNECT, connecting).await;
    connected.unwrap_or_else(|_| Err(ClientError::TimedOut { host: host() }))
}

async fn handshake<S>(stream: S, address: &Address) -> Result<Connection, ClientError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let begun = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = begun.map_err(|source| ClientError::Http {
        host: address.authority(),
        source,
    })?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "The connection to the server ended");
        }
    });
    Ok(Connection {
        address: address.clone(),
        sender,
        _driver: driver,
    })
}

async fn answer(
    connection: &mut Connection,
    address: &Address,
    request: Request<Full<Bytes>>,
    max: usize,
) -> Result<(StatusCode, HeaderMap, Bytes), ClientError> {
    let failed = |source| ClientError::Http {
        host: address.authority(),
        source,
    };
    connection.sender.ready().await.map_err(failed)?;
    let answer = connection.sender.send_request(request).await;
    let (head, body) = answer.map_err(failed)?.into_parts();
    // Not waited for, where it says so itself.
    if body.size_hint().lower() > max as u64 {
        return Err(ClientError::Body {
            host: address.authority(),
            source: "its length is more than is taken".into(),
        });
    }
    let body = Limited::new(body, max).collect().await;
    let body = body.map_err(|source| ClientError::Body {
        host: address.authority(),
        source,
    })?;
    Ok((head.status, head.headers, body.to_bytes()))
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|it| it.to_str().ok()?.parse().ok());
    seconds.map_or(WAIT, Duration::from_secs).min(WAIT_MAX)
}
