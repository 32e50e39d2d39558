//! A small CardDAV client: over TLS through the relay, or in clear on home's loopback port.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, KeyLog, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pair::HOSTNAME;

/// The address book that every user has.
pub(crate) const BOOK: &str = "/dav/addressbooks/me/contacts/";
/// No answer within this time is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between the addresses of a name.
const STAGGER: Duration = Duration::from_millis(250);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is needed to connect, as often as wanted.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    /// Where else the name leads.
    others: Vec<SocketAddr>,
    hostname: String,
    tls: Option<Arc<ClientConfig>>,
    speaks_http2: bool,
    authorization: String,
}

/// One kept-alive connection.
pub(crate) struct Connection {
    requests: Requests,
    driver: JoinHandle<()>,
    origin: String,
    authorization: String,
}

enum Requests {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn through_relay(address: SocketAddr, ca_file: &Path, password: &str) -> Self {
        Self {
            tls: Some(Arc::new(tls(ca_file))),
            ..Self::on_loopback(address, password)
        }
    }

    pub(crate) fn on_loopback(address: SocketAddr, password: &str) -> Self {
        let credentials = BASE64.encode(format!("me:{password}").as_bytes());
        Self {
            address,
            others: Vec::new(),
            hostname: HOSTNAME.to_owned(),
            tls: None,
            speaks_http2: false,
            authorization: format!("Basic {credentials}"),
        }
    }

    /// The same client of another name.
    pub(crate) fn named(self, hostname: &str) -> Self {
        let hostname = hostname.to_owned();
        Self { hostname, ..self }
    }

    /// The same client that is led elsewhere.
    pub(crate) fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// The same client telling the keys of its sessions.
    pub(crate) fn with_key_log(mut self, key_log: Arc<dyn KeyLog>) -> Self {
        let tls = self.tls.as_mut().expect("a client that speaks TLS");
        Arc::make_mut(tls).key_log = key_log;
        self
    }

    /// The same client with a certificate of its own.
    pub(crate) fn proving(mut self, certificate: Arc<CertifiedKey>) -> Self {
        let tls = self.tls.as_mut().expect("a client that speaks TLS");
        let proven = SingleCertAndKey::from(certificate);
        Arc::make_mut(tls).client_auth_cert_resolver = Arc::new(proven);
        self
    }

    /// The same client with the login of another one.
    pub(crate) fn authorized_by(self, authorization: &str) -> Self {
        let authorization = authorization.to_owned();
        Self {
            authorization,
            ..self
        }
    }

    /// What the client says to log in.
    pub(crate) fn authorization(&self) -> &str {
        &self.authorization
    }

    /// The same client with one more address in its DNS.
    pub(crate) fn or(mut self, address: SocketAddr) -> Self {
        self.others.push(address);
        self
    }

    /// The same client speaking HTTP/2; over TLS it offers nothing else.
    pub(crate) fn over_http2(mut self) -> Self {
        if let Some(tls) = &mut self.tls {
            Arc::make_mut(tls).alpn_protocols = vec![b"h2".to_vec()];
        }
        self.speaks_http2 = true;
        self
    }

    /// The ClientHello of a phone that connects through the relay.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let tls = self.tls.clone().expect("a client that speaks TLS");
        let name = ServerName::try_from(self.hostname.clone()).unwrap();
        let mut hello = Vec::new();
        rustls::ClientConnection::new(tls, name)
            .map(|mut it| it.write_tls(&mut hello))
            .unwrap()
            .unwrap();
        hello
    }

    /// Connects, and ends the TLS handshake.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let (scheme, (requests, driver)) = match &self.tls {
            None => ("http", self.start(self.tcp().await?).await?),
            Some(tls) => ("https", self.start(self.tls(tls).await?).await?),
        };
        Ok(Connection {
            requests,
            driver,
            origin: format!("{scheme}://{}:{}", self.hostname, self.address.port()),
            authorization: self.authorization.clone(),
        })
    }

    /// Whichever address answers first, the next one a while after the one before (RFC 8305).
    async fn tcp(&self) -> Result<TcpStream, Failure> {
        let mut tries = JoinSet::new();
        let mut start = Instant::now();
        for address in [&[self.address], &self.others[..]].concat() {
            tries.spawn(async move {
                sleep_until(start).await;
                TcpStream::connect(address).await
            });
            start += STAGGER;
        }
        let mut failure = None;
        while let Some(connected) = tries.join_next().await {
            match connected? {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(socket);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("one address at least").into())
    }

    async fn tls(&self, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Failure> {
        let connector = TlsConnector::from(Arc::clone(config));
        let name = ServerName::try_from(self.hostname.clone())?;
        Ok(connector.connect(name, self.tcp().await?).await?)
    }

    /// Sends a card's PUT over HTTP/1.1 up to the first bytes of the card.
    pub(crate) async fn begin_put(
        &self,
        name: &str,
        card: &[u8],
        sent: usize,
    ) -> TlsStream<TcpStream> {
        let length = card.len();
        let more = format!("content-type: text/vcard\r\ncontent-length: {length}\r\n");
        self.begin("PUT", name, &more, &card[..sent]).await
    }

    /// Sends a card's GET over HTTP/1.1, to be read by the caller.
    pub(crate) async fn begin_get(&self, name: &str) -> TlsStream<TcpStream> {
        self.begin("GET", name, "", &[]).await
    }

    /// Sends the head of a PUT of so many bytes to any path.
    pub(crate) async fn begin_upload(&self, path: &str, length: usize) -> TlsStream<TcpStream> {
        let more = format!("content-length: {length}\r\n");
        self.begin_at("PUT", path, &more, &[]).await
    }

    async fn begin(
        &self,
        method: &str,
        name: &str,
        more: &str,
        body: &[u8],
    ) -> TlsStream<TcpStream> {
        let path = format!("{BOOK}{name}");
        self.begin_at(method, &path, more, body).await
    }

    async fn begin_at(
        &self,
        method: &str,
        path: &str,
        more: &str,
        body: &[u8],
    ) -> TlsStream<TcpStream> {
        let config = self.tls.as_ref().expect("a client that speaks TLS");
        let mut tls = self.tls(config).await.unwrap();
        let (host, authorization) = (&self.hostname, &self.authorization);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n\
             authorization: {authorization}\r\n{more}\r\n"
        );
        tls.write_all(head.as_bytes()).await.unwrap();
        tls.write_all(body).await.unwrap();
        tls.flush().await.unwrap();
        tls
    }

    async fn start<IO>(&self, io: IO) -> Result<(Requests, JoinHandle<()>), Failure>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = TokioIo::new(io);
        // A connection that ends shows as a failed request.
        if self.speaks_http2 {
            let (requests, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            let driver = tokio::spawn(async { drop(connection.await) });
            return Ok((Requests::Http2(requests), driver));
        }
        let (requests, connection) = http1::handshake(io).await?;
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok((Requests::Http1(requests), driver))
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Answer, Failure> {
        self.connect().await?.send(request).await
    }

    /// The names of all cards in the book.
    pub(crate) async fn names(&self) -> Vec<String> {
        let request = Request::builder()
            .method("PROPFIND")
            .uri(BOOK)
            .header("depth", "1")
            .body(Bytes::from_static(
                br#"<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>"#,
            ))
            .unwrap();
        let answer = self.send(request).await.expect("a listing");
        assert_eq!(answer.status, StatusCode::MULTI_STATUS);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let hrefs = text.split("href>").skip(1).step_by(2);
        hrefs
            .filter_map(|href| href.split('<').next()?.strip_prefix(BOOK))
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

impl Connection {
    /// Sends a request with the client's login.
    pub(crate) async fn send(&mut self, mut request: Request<Bytes>) -> Result<Answer, Failure> {
        let authorization = self.authorization.parse()?;
        request.headers_mut().insert("authorization", authorization);
        self.exchange(request).await
    }

    /// Sends a request as it is.
    pub(crate) async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Failure> {
        let mut request = request.map(Full::new);
        let answer = async {
            match &mut self.requests {
                Requests::Http1(requests) => {
                    let (_, host) = self.origin.split_once("://").unwrap_or_default();
                    request.headers_mut().insert("host", host.parse()?);
                    requests.ready().await?;
                    read(requests.send_request(request).await?).await
                }
                Requests::Http2(requests) => {
                    let uri: Uri = format!("{}{}", self.origin, request.uri()).parse()?;
                    *request.uri_mut() = uri;
                    // It says that a connection ends after the answer; HTTP/2 has no such header.
                    request.headers_mut().remove("connection");
                    requests.ready().await?;
                    read(requests.send_request(request).await?).await
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await?
    }

    pub(crate) async fn put(&mut self, name: &str, card: &[u8]) -> Result<Answer, Failure> {
        let request = Request::put(format!("{BOOK}{name}"))
            .header("content-type", "text/vcard")
            .body(Bytes::copy_from_slice(card))?;
        self.send(request).await
    }

    pub(crate) async fn delete(&mut self, name: &str) -> Result<Answer, Failure> {
        let request = Request::delete(format!("{BOOK}{name}")).body(Bytes::new())?;
        self.send(request).await
    }

    pub(crate) async fn get(&mut self, name: &str) -> Result<Answer, Failure> {
        let uri = format!("{BOOK}{name}");
        self.send(
            Request::builder()
                .method(Method::GET)
                .uri(uri)
                .body(Bytes::new())?,
        )
        .await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// TLS that trusts the first authority in a file.
pub(crate) fn tls(ca_file: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca_file).unwrap())
        .unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}
