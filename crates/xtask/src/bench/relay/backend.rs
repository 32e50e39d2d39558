//! The TLS server at home that every way leads to, in a process of its own: it sends as many bytes
//! as it is asked for, or takes them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The name that every visitor asks for.
pub(crate) const HOSTNAME: &str = "bench.example.org";
/// Bytes of a request: what to do, a number of bytes, and as much padding as headers would be.
pub(crate) const REQUEST_SIZE: usize = 200;
/// The server sends so many bytes.
pub(crate) const DOWN: u8 = b'D';
/// The server takes so many bytes, then sends one.
pub(crate) const UP: u8 = b'U';
/// What is written or read at once.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The server's certificate and key, as files.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    key: PathBuf,
}

/// A request as it is sent.
pub(crate) fn request(kind: u8, size: u64) -> [u8; REQUEST_SIZE] {
    let mut request = [b' '; REQUEST_SIZE];
    request[0] = kind;
    request[1..9].copy_from_slice(&size.to_be_bytes());
    request
}

impl Certificate {
    /// Makes one that signs itself.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([HOSTNAME.to_owned()]).context("make a certificate")?;
        let file = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok(Self {
            certificate: file("backend.pem", cert.pem())?,
            key: file("backend.key", signing_key.serialize_pem())?,
        })
    }

    fn server_config(&self) -> Result<ServerConfig> {
        let certificate =
            CertificateDer::from_pem_file(&self.certificate).context("read the certificate")?;
        let key = PrivateKeyDer::from_pem_file(&self.key).context("read the key")?;
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .context("use the certificate")
    }
}

/// Is that server, and prints its address, until it is killed.
pub(crate) async fn serve(certificate: &Certificate, ip: IpAddr) -> Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(certificate.server_config()?));
    let listener = TcpListener::bind(SocketAddr::new(ip, 0)).await;
    let listener = listener.with_context(|| format!("listen on {ip}"))?;
    println!("{}", listener.local_addr().context("read the address")?);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        let acceptor = acceptor.clone();
        // A visitor that breaks off is told of by the load that it belongs to.
        connections.spawn(async move { answer(acceptor, stream).await.ok() });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(acceptor: TlsAcceptor, stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    let mut stream = acceptor.accept(stream).await.context("TLS")?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut request = [0; REQUEST_SIZE];
        if stream.read_exact(&mut request).await.is_err() {
            return Ok(());
        }
        let mut size = [0; 8];
        size.copy_from_slice(&request[1..9]);
        let mut left = u64::from_be_bytes(size);
        match request[0] {
            DOWN => {
                while left > 0 {
                    let part = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
                    stream.write_all(&buffer[..part]).await.context("send")?;
                    left -= part as u64;
                }
            }
            UP => {
                while left > 0 {
                    let room = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
                    let part = stream.read(&mut buffer[..room]).await.context("take")?;
                    if part == 0 {
                        bail!("the visitor broke off");
                    }
                    left -= part as u64;
                }
                stream.write_all(b"!").await.context("acknowledge")?;
            }
            _ => bail!("an unknown request"),
        }
        stream.flush().await.context("flush")?;
    }
}
