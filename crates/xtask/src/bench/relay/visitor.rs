//! One visitor: a TLS connection to the name at home, by whatever way.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::backend::{self, CHUNK, HOSTNAME};

/// Where visitors connect, and whom they trust.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    tls: TlsConnector,
    name: ServerName<'static>,
}

/// A connection. Dropping it closes it.
pub(crate) struct Visitor {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Door {
    /// Visitors trust this certificate alone.
    pub(crate) fn new(address: SocketAddr, certificate: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate =
            CertificateDer::from_pem_file(certificate).context("read the certificate")?;
        roots.add(certificate).context("trust the certificate")?;
        let mut tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.resumption = Resumption::disabled();
        Ok(Self {
            address,
            tls: TlsConnector::from(Arc::new(tls)),
            name: ServerName::try_from(HOSTNAME).context("take the name for TLS")?,
        })
    }

    /// TCP and a full TLS handshake.
    pub(crate) async fn enter(&self) -> Result<Visitor> {
        let tcp = TcpStream::connect(self.address).await;
        let tcp = tcp.with_context(|| format!("connect {}", self.address))?;
        tcp.set_nodelay(true).context("set TCP_NODELAY")?;
        let stream = self.tls.connect(self.name.clone(), tcp).await;
        Ok(Visitor {
            stream: stream.with_context(|| format!("TLS with {}", self.address))?,
            buffer: vec![0; CHUNK],
        })
    }
}

/// The ClientHello of a visitor of this name.
pub(super) fn hello(name: &str) -> Option<Vec<u8>> {
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).ok()?;
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

impl Visitor {
    /// Asks for some bytes and reads the first of them.
    pub(crate) async fn first_byte(&mut self, size: u64) -> Result<()> {
        self.ask(backend::DOWN, size).await?;
        self.stream.read_u8().await.context("read the first byte")?;
        Ok(())
    }

    /// Asks for so many bytes, and tells `arrived` as they come.
    pub(crate) async fn download(&mut self, size: u64, arrived: impl Fn(u64)) -> Result<()> {
        self.ask(backend::DOWN, size).await?;
        let mut left = size;
        while left > 0 {
            let part = self.stream.read(&mut self.buffer).await.context("read")?;
            ensure!(part > 0, "the server closed the connection");
            left = left.saturating_sub(part as u64);
            arrived(part as u64);
        }
        Ok(())
    }

    /// Sends so many bytes and waits until the server has them.
    pub(crate) async fn upload(&mut self, size: u64) -> Result<()> {
        self.ask(backend::UP, size).await?;
        let mut left = size;
        while left > 0 {
            let part = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(CHUNK));
            let sent = self.stream.write_all(&self.buffer[..part]).await;
            sent.context("send")?;
            left -= part as u64;
        }
        self.stream.flush().await.context("flush")?;
        let answer = self.stream.read_u8().await;
        answer.context("read the acknowledgment")?;
        Ok(())
    }

    async fn ask(&mut self, kind: u8, size: u64) -> Result<()> {
        let request = backend::request(kind, size);
        self.stream.write_all(&request).await.context("ask")?;
        self.stream.flush().await.context("flush")
    }
}
