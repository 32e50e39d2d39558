//! A small HTTP client: TLS that trusts one certificate authority, or plain on loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::next::Login;

/// The longest answer that is read: a batch of the largest cards, escaped.
const BODY_MAX: usize = 256 * 1024 * 1024;
/// From the request to the end of its answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// One kept-alive connection to a server.
pub(super) struct Client {
    sender: Sender,
    /// `scheme://host:port` of all requests.
    origin: String,
    /// What this connection negotiated, for the story.
    pub(super) protocol: &'static str,
    authorization: Option<HeaderValue>,
    /// Moves the bytes; ends with this client.
    _connection: JoinSet<()>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    /// Connects with TLS to `address`, asks for `server_name` and trusts only what the certificate
    /// authority in `ca_file` has signed.
    pub(super) async fn tls(
        address: SocketAddr,
        server_name: &'static str,
        ca_file: &Path,
    ) -> anyhow::Result<Self> {
        let tcp = connect(address).await?;
        let name = ServerName::try_from(server_name).context("the server name")?;
        let handshake = TlsConnector::from(Arc::new(tls_config(ca_file)?)).connect(name, tcp);
        let stream = timeout(DEADLINE, handshake)
            .await
            .context("the TLS handshake took too long")?
            .context("the TLS handshake failed")?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let mut connection = JoinSet::new();
        let sender = if is_http2 {
            let (sender, driver) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            connection.spawn(async { drop(driver.await) });
            Sender::Http2(sender)
        } else {
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
            connection.spawn(async { drop(driver.await) });
            Sender::Http1(sender)
        };
        Ok(Self {
            sender,
            origin: format!("https://{server_name}:{}", address.port()),
            protocol: if is_http2 { "HTTP/2" } else { "HTTP/1.1" },
            authorization: None,
            _connection: connection,
        })
    }

    /// Connects without TLS, as programs on the same machine do.
    pub(super) async fn plain(address: SocketAddr) -> anyhow::Result<Self> {
        let (sender, driver) = http1::handshake(TokioIo::new(connect(address).await?)).await?;
        let mut connection = JoinSet::new();
        connection.spawn(async { drop(driver.await) });
        Ok(Self {
            sender: Sender::Http1(sender),
            origin: format!("http://{address}"),
            protocol: "HTTP/1.1",
            authorization: None,
            _connection: connection,
        })
    }

    /// Sends user and password with every request from now on.
    pub(super) fn log_in(&mut self, login: &Login) -> anyhow::Result<()> {
        let credentials = BASE64.encode(format!("{}:{}", login.user, login.password).as_bytes());
        let mut value = HeaderValue::try_from(format!("Basic {credentials}"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let context = || format!("{method} {path} failed");
        let request = self
            .request(method, path, headers, body.into())
            .with_context(context)?;
        let exchange = async {
            let answer = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            whole(answer).await
        };
        timeout(DEADLINE, exchange)
            .await
            .context("it took too long")
            .flatten()
            .with_context(context)
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let uri: Uri = format!("{}{path}", self.origin).parse()?;
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes())?);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = match &self.sender {
            Sender::Http2(_) => request.version(Version::HTTP_2).uri(uri),
            Sender::Http1(_) => {
                let authority = uri.authority().ok_or_else(|| anyhow!("no authority"))?;
                request.header(HOST, authority.as_str()).uri(path)
            }
        };
        Ok(request.body(Full::new(body))?)
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    };
    match timeout(DEADLINE, connect).await {
        Ok(stream) => stream.with_context(|| format!("cannot connect to {address}")),
        Err(_) => bail!("{address} does not answer"),
    }
}

fn tls_config(ca_file: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(ca_file)
        .with_context(|| format!("cannot read the CA file {}", ca_file.display()))?;
    roots
        .add(authority)
        .context("the CA file holds no usable certificate")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS cannot be configured")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn whole(answer: http::Response<Incoming>) -> anyhow::Result<Answer> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, BODY_MAX)
        .collect()
        .await
        .map_err(|error| anyhow!(error))?;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
    })
}
