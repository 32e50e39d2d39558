//! A DAV client as small as a benchmark wants it: HTTP/1.1, one kept-alive connection, Basic.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// An address book, and the way to it.
#[derive(Clone)]
pub(crate) struct Target {
    host: String,
    port: u16,
    authorization: String,
    /// The path of the address book, with a trailing slash.
    pub(crate) book: String,
    /// Present when the way is TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// `url` names scheme, host and port; https trusts `ca_file` alone.
    pub(crate) fn new(
        url: &str,
        user: &str,
        password: &str,
        book: String,
        ca_file: Option<&Path>,
    ) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("read the URL {url}"))?;
        let is_tls = uri.scheme_str() == Some("https");
        let tls = match (is_tls, ca_file) {
            (false, _) => None,
            (true, Some(path)) => Some(Arc::new(trusting(path)?)),
            (true, None) => bail!("{url}: https needs a CA file"),
        };
        Ok(Self {
            host: uri
                .host()
                .with_context(|| format!("no host in {url}"))?
                .to_owned(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authorization: format!(
                "Basic {}",
                BASE64.encode(format!("{user}:{password}").as_bytes())
            ),
            book,
            tls,
        })
    }

    /// The same way to another address book, whose path ends with a slash.
    pub(crate) fn with_book(&self, book: String) -> Self {
        Self {
            book,
            ..self.clone()
        }
    }

    /// Opens one connection.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let address = format!("{}:{}", self.host, self.port);
        let tcp = TcpStream::connect(&address)
            .await
            .with_context(|| format!("connect {address}"))?;
        tcp.set_nodelay(true).context("set TCP_NODELAY")?;
        let Some(tls) = &self.tls else {
            return Connection::over(self.clone(), tcp).await;
        };
        let name =
            ServerName::try_from(self.host.clone()).context("take the host as a TLS name")?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, tcp)
            .await
            .with_context(|| format!("TLS with {address}"))?;
        Connection::over(self.clone(), stream).await
    }
}

/// One connection, kept alive where the server does so, otherwise made anew for each request.
/// Dropping it closes it.
pub(crate) struct Connection {
    target: Target,
    /// Whether the server closes it after the last answer.
    is_closing: bool,
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection; aborted when dropped.
    _driver: JoinSet<hyper::Result<()>>,
}

impl Connection {
    async fn over<S>(target: Target, stream: S) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .context("start HTTP/1.1")?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self {
            target,
            is_closing: false,
            sender,
            _driver: driver,
        })
    }

    /// Sends a request about the address book or, if `name` is not empty, a card in it, and reads
    /// the whole answer.
    ///
    /// # Errors
    /// Also when the answer has another status than `expected`.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        name: &str,
        headers: &[(&str, &str)],
        body: String,
        expected: &[StatusCode],
    ) -> Result<Bytes> {
        let (status, body) = self.exchange(method, name, headers, body).await?;
        ensure!(
            expected.contains(&status),
            "{method} {}{name}: {status} instead of {}: {}",
            self.target.book,
            expected[0],
            String::from_utf8_lossy(&body[..body.len().min(500)])
        );
        Ok(body)
    }

    /// Like [`Connection::send`], with whatever status.
    pub(crate) async fn exchange(
        &mut self,
        method: &str,
        name: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<(StatusCode, Bytes)> {
        let path = format!("{}{name}", self.target.book);
        let content_type = if method == "PUT" {
            "text/vcard; charset=utf-8"
        } else {
            "application/xml; charset=utf-8"
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&path)
            .header(HOST, format!("{}:{}", self.target.host, self.target.port))
            .header(AUTHORIZATION, &self.target.authorization);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).context("build a request")?;
        let context = || format!("{method} {path}");
        if self.is_closing {
            *self = self.target.connect().await?;
        }
        self.sender.ready().await.with_context(context)?;
        let answer = self
            .sender
            .send_request(request)
            .await
            .with_context(context)?;
        let status = answer.status();
        self.is_closing = answer.version() == Version::HTTP_10
            || answer
                .headers()
                .get(CONNECTION)
                .is_some_and(|it| it == "close");
        let body = answer
            .into_body()
            .collect()
            .await
            .with_context(context)?
            .to_bytes();
        Ok((status, body))
    }
}

fn trusting(ca_file: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca_file)
        .with_context(|| format!("read {}", ca_file.display()))?;
    for certificate in certificates {
        let certificate = certificate.with_context(|| format!("read {}", ca_file.display()))?;
        roots
            .add(certificate)
            .with_context(|| format!("trust {}", ca_file.display()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
