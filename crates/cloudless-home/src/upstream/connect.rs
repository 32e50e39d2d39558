//! Connections to a server behind home.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::UpstreamServer;

const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// Why a server is not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot connect to {server}: is it running?")]
    Connect {
        server: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} did not accept a connection in time")]
    TimedOut(String),
    #[error(
        "TLS with {server} failed; if an authority of its own signed its certificate, name that in ca_file"
    )]
    Tls {
        server: String,
        #[source]
        source: io::Error,
    },
}

/// Connects to one server, whatever the URI: that only tells whom a request is for.
#[derive(Clone)]
pub(super) struct Connector(Arc<Target>);

struct Target {
    server: UpstreamServer,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limit: Duration,
}

impl Connector {
    /// `h2` offers HTTP/2 to a server with TLS.
    pub(super) fn new(
        server: &UpstreamServer,
        limit: Duration,
        h2: bool,
    ) -> Result<Self, rustls::Error> {
        let tls = match server {
            UpstreamServer::Https {
                server_name, roots, ..
            } => {
                let mut store = RootCertStore::empty();
                store.add_parsable_certificates(roots.iter().cloned());
                let provider = Arc::new(aws_lc_rs::default_provider());
                let mut config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(store)
                    .with_no_client_auth();
                config.alpn_protocols = vec![ALPN_HTTP_1_1.to_vec()];
                if h2 {
                    config.alpn_protocols.insert(0, ALPN_H2.to_vec());
                }
                Some((TlsConnector::from(Arc::new(config)), server_name.clone()))
            }
            UpstreamServer::Http(_) | UpstreamServer::Unix(_) => None,
        };
        let server = server.clone();
        Ok(Self(Arc::new(Target { server, tls, limit })))
    }

    /// A connection, TLS included.
    pub(super) async fn connect(&self) -> Result<Stream, ConnectError> {
        let connected = timeout(self.0.limit, self.0.connect()).await;
        connected.unwrap_or_else(|_| Err(ConnectError::TimedOut(self.0.server.to_string())))
    }
}

impl Target {
    async fn connect(&self) -> Result<Stream, ConnectError> {
        let failed = |source| ConnectError::Connect {
            server: self.server.to_string(),
            source,
        };
        let address = match &self.server {
            UpstreamServer::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(failed)?;
                return Ok(Stream::plain(stream));
            }
            UpstreamServer::Http(address) | UpstreamServer::Https { address, .. } => address,
        };
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some((connector, server_name)) = &self.tls else {
            return Ok(Stream::plain(stream));
        };
        let connected = connector.connect(server_name.clone(), stream).await;
        let stream = connected.map_err(|source| ConnectError::Tls {
            server: self.server.to_string(),
            source,
        })?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
        Ok(Stream {
            is_h2,
            ..Stream::plain(stream)
        })
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}

/// What HTTP is spoken over.
pub(super) struct Stream {
    io: Pin<Box<dyn Io>>,
    is_h2: bool,
}

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

impl Stream {
    fn plain(io: impl Io + 'static) -> Self {
        Self {
            io: Box::pin(io),
            is_h2: false,
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.is_h2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
