//! A careless web server on port 80: it sends all to https, what an authority asks for too. The
//! authority follows, and checks no certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 22;

/// It ends when dropped.
pub(crate) struct Redirect {
    port: u16,
    followed: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Redirect {
    /// Sends everybody to https on its own port, which leads on to `relay`.
    pub(super) fn before(relay: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let port = listener.local_addr().unwrap().port();
        let followed = Arc::<AtomicUsize>::default();
        let counter = followed.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((visitor, _)) = listener.accept().await {
                let counter = counter.clone();
                // Whoever is cut off sees that.
                tokio::spawn(async move { drop(serve(visitor, port, relay, &counter).await) });
            }
        });
        Self {
            port,
            followed,
            accepting,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How many came by TLS.
    pub(crate) fn followed(&self) -> usize {
        self.followed.load(Ordering::Relaxed)
    }
}

impl Drop for Redirect {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    visitor: TcpStream,
    port: u16,
    relay: SocketAddr,
    followed: &AtomicUsize,
) -> std::io::Result<()> {
    let mut visitor = BufReader::new(visitor);
    if visitor.fill_buf().await?.first() == Some(&HANDSHAKE) {
        followed.fetch_add(1, Ordering::Relaxed);
        let mut relay = TcpStream::connect(relay).await?;
        return copy_bidirectional(&mut visitor, &mut relay).await.map(drop);
    }
    let mut line = String::new();
    visitor.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    while line != "\r\n" {
        line.clear();
        if visitor.read_line(&mut line).await? == 0 {
            return Ok(());
        }
    }
    let answer = format!(
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://localhost:{port}{path}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    visitor.write_all(answer.as_bytes()).await?;
    visitor.shutdown().await
}
