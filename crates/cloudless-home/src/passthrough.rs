//! Hands a hostname's connections, TLS and all, to a server beside home.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloudless_proto::{Hostname, UpstreamAddress};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::Passthrough;
use crate::status::PassthroughStatus;
use crate::tunnel::Stream;

/// A server on this machine or in its network has accepted long before.
const CONNECT: Duration = Duration::from_secs(5);
const BUFFER_LEN: usize = 64 * 1024;

/// The hostnames whose connections home does not end itself.
pub(crate) struct Passthroughs {
    servers: HashMap<Hostname, Arc<Server>>,
}

/// The server of one hostname, and how it was reached last.
pub(crate) struct Server {
    tls: UpstreamAddress,
    error: Mutex<Option<String>>,
}

impl Passthroughs {
    pub(crate) fn new(configured: HashMap<Hostname, Passthrough>) -> Self {
        let server = |(hostname, passthrough): (Hostname, Passthrough)| {
            let server = Server {
                tls: passthrough.tls?,
                error: Mutex::default(),
            };
            Some((hostname, Arc::new(server)))
        };
        Self {
            servers: configured.into_iter().filter_map(server).collect(),
        }
    }

    /// The server that gets this name's TLS connections; `None` when home ends them itself.
    pub(crate) fn of(&self, hostname: &Hostname) -> Option<Arc<Server>> {
        self.servers.get(hostname).cloned()
    }

    pub(crate) fn status(&self) -> Vec<PassthroughStatus> {
        let row = |(hostname, server): (&Hostname, &Arc<Server>)| PassthroughStatus {
            hostname: hostname.clone(),
            address: server.tls.clone(),
            error: server.error().clone(),
        };
        let mut rows: Vec<_> = self.servers.iter().map(row).collect();
        rows.sort_by(|one, other| one.hostname.cmp(&other.hostname));
        rows
    }
}

impl Server {
    /// Joins a visitor with the server until both have ended, or one cuts the other. A visitor is
    /// reset when the server is not reached.
    pub(crate) async fn serve(&self, visitor: Stream) {
        match &self.tls {
            UpstreamAddress::Tcp(address) => self.join(visitor, TcpStream::connect(address)).await,
            UpstreamAddress::Unix(path) => self.join(visitor, UnixStream::connect(path)).await,
        }
    }

    async fn join<S>(&self, mut visitor: Stream, connect: impl Future<Output = io::Result<S>>)
    where
        S: AsyncRead + AsyncWrite + AsFd + Unpin,
    {
        let connected = match timeout(CONNECT, connect).await {
            Ok(connected) => connected,
            Err(elapsed) => Err(elapsed.into()),
        };
        let mut server = match connected {
            Ok(server) => server,
            Err(error) => return self.unreached(&error),
        };
        *self.error() = None;
        // A unix socket has no such option and no need of it.
        let _ = SockRef::from(&server).set_tcp_nodelay(true);
        let joined =
            copy_bidirectional_with_sizes(&mut visitor, &mut server, BUFFER_LEN, BUFFER_LEN).await;
        if let Err(error) = joined {
            tracing::debug!(%error, "A passed-through connection was cut");
            // The visitor's stream is reset when it is dropped, and so the server is told.
            let _ = SockRef::from(&server).set_linger(Some(Duration::ZERO));
        }
    }

    fn unreached(&self, error: &io::Error) {
        let message = format!("cannot reach the server at {}: {error}", self.tls);
        let is_news = self.error().replace(message).is_none();
        if is_news {
            tracing::warn!("A server behind `passthrough` is out of reach; see the status");
        }
    }

    fn error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
