use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use super::{Visitor, soon};

/// The web server that was there before the relay.
pub(crate) struct WebServer {
    listener: TcpListener,
}

impl WebServer {
    pub(crate) async fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// One that was there before, or one that is reached over IPv6.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        Self {
            listener: TcpListener::bind(address).await.unwrap(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection that the relay passed on. One that says nothing is the relay's look at
    /// whether the web server is there.
    pub(crate) async fn accept(&self) -> Visitor {
        loop {
            let (stream, _) = soon(self.listener.accept()).await.unwrap();
            if soon(stream.peek(&mut [0])).await.is_ok_and(|n| n > 0) {
                return Visitor { stream };
            }
        }
    }
}
