//! Visitors who mean harm: what they send is refused, ends, or means one thing only.

mod browser;
mod http1;
pub(crate) mod http2;
mod slow;

use http::StatusCode;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::fixture::{HOST, Home, PATIENCE};
use crate::relay::{FakeRelay, FakeSession};
use crate::visitor::{http1 as exchange, request, tls};

pub(crate) const BOOK: &str = "/dav/addressbooks/me/contacts/";

/// A home that a visitor reaches.
struct Target {
    home: Home,
    session: FakeSession,
    _relay: FakeRelay,
}

impl Target {
    async fn start(adjust: impl FnOnce(&mut cloudless_home::Config)) -> Self {
        let relay = FakeRelay::bind().await;
        let home = Home::start_with(vec![relay.relay()], adjust).await;
        let session = relay.welcome(HOST).await;
        Self {
            home,
            session,
            _relay: relay,
        }
    }

    async fn connect(&self, alpn: &[u8]) -> TlsStream<tokio::io::DuplexStream> {
        let trust = self.home.trust();
        tls(&self.session, trust, HOST, alpn).await.unwrap()
    }

    /// What an honest client is told of a card.
    async fn status_of(&self, name: &str) -> StatusCode {
        let stream = self.connect(b"http/1.1").await;
        let path = format!("{BOOK}{name}");
        let mut get = request("GET", &path, &self.home.authorization);
        get.headers_mut().insert("host", HOST.parse().unwrap());
        timeout(PATIENCE, exchange(stream, get))
            .await
            .unwrap()
            .status()
    }
}

/// All that comes until the end, however it ends.
async fn read_all<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut received = Vec::new();
    // A connection that is cut off has said what it said.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut received))
        .await
        .expect("the connection ends");
    received
}
