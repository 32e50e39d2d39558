//! A small CardDAV client: over TLS through the relay, or in clear on home's loopback port.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::pair::HOSTNAME;

/// The address book that every user has.
pub(crate) const BOOK: &str = "/dav/addressbooks/me/contacts/";
/// No answer within this time is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is needed to connect, as often as wanted.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    authorization: String,
}

/// One kept-alive connection.
pub(crate) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    host: String,
    authorization: String,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn through_relay(address: SocketAddr, ca_file: &Path, password: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(ca_file).unwrap())
            .unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            tls: Some(Arc::new(config).into()),
            ..Self::on_loopback(address, password)
        }
    }

    pub(crate) fn on_loopback(address: SocketAddr, password: &str) -> Self {
        let credentials = BASE64.encode(format!("me:{password}").as_bytes());
        Self {
            address,
            tls: None,
            authorization: format!("Basic {credentials}"),
        }
    }

    /// Connects, and ends the TLS handshake.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let (requests, driver) = match &self.tls {
            None => start(socket).await?,
            Some(tls) => start(tls.connect(ServerName::try_from(HOSTNAME)?, socket).await?).await?,
        };
        Ok(Connection {
            requests,
            driver,
            host: format!("{HOSTNAME}:{}", self.address.port()),
            authorization: self.authorization.clone(),
        })
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
    pub(crate) async fn send(&mut self, request: Request<Bytes>) -> Result<Answer, Failure> {
        let (mut parts, body) = request.into_parts();
        parts.headers.insert("host", self.host.parse()?);
        parts
            .headers
            .insert("authorization", self.authorization.parse()?);
        let request = Request::from_parts(parts, Full::new(body));
        let answer = async {
            self.requests.ready().await?;
            let response = self.requests.send_request(request).await?;
            let (parts, body) = response.into_parts();

            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer {
                status: parts.status,
                body,
            })
        };
        Ok(tokio::time::timeout(PATIENCE, answer).await??)
    }

    pub(crate) async fn put(&mut self, name: &str, card: &[u8]) -> Result<Answer, Failure> {
        let request = Request::put(format!("{BOOK}{name}"))
            .header("content-type", "text/vcard")
            .body(Bytes::copy_from_slice(card))?;
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

async fn start<IO>(io: IO) -> Result<(SendRequest<Full<Bytes>>, JoinHandle<()>), Failure>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (requests, connection) = handshake(TokioIo::new(io)).await?;
    // A connection that ends shows as a failed request.
    Ok((requests, tokio::spawn(async { drop(connection.await) })))
}
