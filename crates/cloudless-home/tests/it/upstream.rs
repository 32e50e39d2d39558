//! A server behind home, which the tests play, and visitors who want something of it.

mod answers;
mod downgrade;
mod places;
mod requests;
mod server;
mod streaming;
mod websocket;

use std::time::Duration;

use bytes::Bytes;
use cloudless_home::upstream::{Upstream, UpstreamServer, UpstreamTimeouts};
use http::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use self::server::FakeServer;
use crate::fixture::{HOST, Home, PATIENCE};
use crate::relay::{FakeRelay, FakeSession};
use crate::visitor::{http1, request, tls};

/// A home with a server at `/up/`.
struct Behind {
    home: Home,
    session: FakeSession,
    _relay: FakeRelay,
}

impl Behind {
    async fn start(server: UpstreamServer, adjust: impl FnOnce(&mut Upstream)) -> Self {
        Self::start_with(server, adjust, |_| {}).await
    }

    async fn start_with(
        server: UpstreamServer,
        adjust: impl FnOnce(&mut Upstream),
        configure: impl FnOnce(&mut cloudless_home::Config),
    ) -> Self {
        let relay = FakeRelay::bind().await;
        let mut upstream = Upstream {
            hostname: None,
            path: "/up/".parse().unwrap(),
            server,
            strip_prefix: true,
            timeouts: UpstreamTimeouts::default(),
        };
        adjust(&mut upstream);
        let configure = |config: &mut cloudless_home::Config| {
            configure(config);
            config.upstreams = vec![upstream];
            // It would take connections that the tests count.
            config.timings.upstream_check = Duration::from_secs(3600);
        };
        let home = Home::start_with(vec![relay.relay()], configure).await;
        let session = relay.welcome(HOST).await;
        Self {
            home,
            session,
            _relay: relay,
        }
    }

    /// The same with a server that the test plays itself; home has looked whether it is there.
    async fn start_listening(adjust: impl FnOnce(&mut Upstream)) -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = UpstreamServer::Http(listener.local_addr().unwrap().to_string());
        let behind = Self::start(server, adjust).await;
        timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        (behind, listener)
    }

    async fn connect(&self, alpn: &[u8]) -> TlsStream<DuplexStream> {
        tls(&self.session, self.home.trust(), HOST, alpn)
            .await
            .unwrap()
    }

    /// What an honest visitor gets.
    async fn get(&self, path: &str) -> Response<Bytes> {
        let mut get = request("GET", path, "Basic eDp5");
        get.headers_mut().insert("host", HOST.parse().unwrap());
        let stream = self.connect(b"http/1.1").await;
        timeout(PATIENCE, http1(stream, get)).await.unwrap()
    }

    /// All that is answered to these bytes until the end of the connection.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect(b"http/1.1").await;
        // Home may have closed before it was sent to the end.
        let _ = stream.write_all(bytes).await;
        let mut received = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut received)).await;
        let _ = read.expect("the connection ends");
        String::from_utf8_lossy(&received).into_owned()
    }

    async fn status(&self) -> cloudless_home::status::UpstreamStatus {
        self.home.status().await.upstreams.remove(0)
    }
}
