//! A DAV client as small as a benchmark wants it: HTTP/1.1, one kept-alive connection, Basic.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use data_encoding::BASE64;
use http::{StatusCode, Uri};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::answer::Input;

/// Servers close connections that nobody uses, some sooner, some later. A client that comes back
/// after this long opens a new one.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// An address book, the way to it, and who serves it.
#[derive(Clone)]
pub(crate) struct Target {
    host: String,
    port: u16,
    /// Who logs in.
    pub(crate) user: String,
    /// The headers of every request, as they are sent.
    headers: Arc<str>,
    /// The path of the address book, with a trailing slash.
    pub(crate) book: String,
    /// Present when the way is TLS.
    tls: Option<Arc<ClientConfig>>,
    /// The processes whose CPU time a request costs.
    pub(crate) pids: Vec<u32>,
}

impl Target {
    /// `url` names scheme, host and port; https trusts `ca_file` alone.
    pub(crate) fn new(
        url: &str,
        user: &str,
        password: &str,
        book: String,
        ca_file: Option<&Path>,
        pids: Vec<u32>,
    ) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("read the URL {url}"))?;
        let is_tls = uri.scheme_str() == Some("https");
        let tls = match (is_tls, ca_file) {
            (false, _) => None,
            (true, Some(path)) => Some(Arc::new(trusting(path)?)),
            (true, None) => bail!("{url}: https needs a CA file"),
        };
        let host = uri.host().with_context(|| format!("no host in {url}"))?;
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let login = BASE64.encode(format!("{user}:{password}").as_bytes());
        let headers = format!("host: {host}:{port}\r\nauthorization: Basic {login}\r\n");
        Ok(Self {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            headers: headers.into(),
            book,
            tls,
            pids,
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
        Ok(Connection {
            target: self.clone(),
            stream: self.stream().await?,
            is_closing: false,
            last_used: Instant::now(),
            output: Vec::new(),
            input: Input::default(),
        })
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A connection for HTTP/2.
    pub(crate) async fn http2(&self) -> Result<Box<dyn Stream>> {
        let mut target = self.clone();
        if let Some(tls) = target.tls.as_mut() {
            Arc::make_mut(tls).alpn_protocols = vec![b"h2".to_vec()];
        }
        target.stream().await
    }

    async fn stream(&self) -> Result<Box<dyn Stream>> {
        let address = self.authority();
        let tcp = TcpStream::connect(&address)
            .await
            .with_context(|| format!("connect {address}"))?;
        tcp.set_nodelay(true).context("set TCP_NODELAY")?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let name =
            ServerName::try_from(self.host.clone()).context("take the host as a TLS name")?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, tcp)
            .await
            .with_context(|| format!("TLS with {address}"))?;
        Ok(Box::new(stream))
    }
}

/// TCP, perhaps with TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection, kept alive where the server does so, otherwise made anew for each request.
/// Dropping it closes it.
pub(crate) struct Connection {
    target: Target,
    stream: Box<dyn Stream>,
    /// Whether the server closes it after the last answer.
    is_closing: bool,
    last_used: Instant,
    /// The request, kept for its memory.
    output: Vec<u8>,
    input: Input,
}

impl Connection {
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
        body: &str,
        expected: &[StatusCode],
    ) -> Result<Vec<u8>> {
        let (status, answer) = self.exchange(method, name, headers, body).await?;
        ensure!(
            expected.contains(&status),
            "{method} {}{name}: {status} instead of {}: {}",
            self.target.book,
            expected[0],
            String::from_utf8_lossy(&answer[..answer.len().min(500)])
        );
        Ok(answer)
    }

    /// Like [`Connection::send`], with whatever status.
    pub(crate) async fn exchange(
        &mut self,
        method: &str,
        name: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<(StatusCode, Vec<u8>)> {
        let mut answer = Vec::new();
        let status = self
            .stream(method, name, headers, body, |it| {
                answer.extend_from_slice(it);
            })
            .await?;
        Ok((status, answer))
    }

    /// Like [`Connection::exchange`], but gives the answer's body to `sink` as it comes.
    pub(crate) async fn stream(
        &mut self,
        method: &str,
        name: &str,
        headers: &[(&str, &str)],
        body: &str,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<StatusCode> {
        if self.is_closing || self.last_used.elapsed() > IDLE_MAX {
            *self = self.target.connect().await?;
        }
        let context = || format!("{method} {name}");
        self.write_request(method, name, headers, body)
            .with_context(context)?;
        let sent = self.stream.write_all(&self.output).await;
        sent.with_context(context)?;
        self.stream.flush().await.with_context(context)?;
        let head = self.input.head(&mut self.stream).await;
        let head = head.with_context(context)?;
        self.is_closing = head.is_closing;
        let read = self.input.body(&mut self.stream, &head, &mut sink).await;
        read.with_context(context)?;
        self.last_used = Instant::now();
        Ok(head.status)
    }

    fn write_request(
        &mut self,
        method: &str,
        name: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<()> {
        let (output, target) = (&mut self.output, &self.target);
        output.clear();
        write!(output, "{method} {}{name} HTTP/1.1\r\n", target.book)?;
        output.extend_from_slice(target.headers.as_bytes());
        for (name, value) in headers {
            write!(output, "{name}: {value}\r\n")?;
        }
        if !body.is_empty() {
            let content_type = if method == "PUT" {
                "text/vcard"
            } else {
                "application/xml"
            };
            write!(
                output,
                "content-type: {content_type}; charset=utf-8\r\ncontent-length: {}\r\n",
                body.len()
            )?;
        }
        output.extend_from_slice(b"\r\n");
        output.extend_from_slice(body.as_bytes());
        Ok(())
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
