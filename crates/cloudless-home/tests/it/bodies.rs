//! Bodies of requests that are answered before anybody has read them.

use std::time::{Duration, Instant};

use cloudless_home::Config;
use cloudless_home::upstream::{Upstream, UpstreamServer, UpstreamTimeouts};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::fixture::{HOST, Home, PATIENCE};
use crate::relay::{FakeRelay, FakeSession};
use crate::visitor::tls;

const SILENCE: Duration = Duration::from_millis(200);
const CARD_PATH: &str = "/dav/addressbooks/me/contacts/a.vcf";
const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a\r\nFN:A\r\nEND:VCARD\r\n";

struct Visit {
    home: Home,
    session: FakeSession,
    _relay: FakeRelay,
}

impl Visit {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        let relay = FakeRelay::bind().await;
        let home = Home::start_with(vec![relay.relay()], adjust).await;
        let session = relay.welcome(HOST).await;
        home.connected().await;
        Self {
            home,
            session,
            _relay: relay,
        }
    }

    async fn connect(&self) -> TlsStream<DuplexStream> {
        let stream = tls(&self.session, self.home.trust(), HOST, b"http/1.1").await;
        stream.unwrap()
    }
}

fn head(path: &str, len: usize, further: &str) -> String {
    format!(
        "PUT {path} HTTP/1.1\r\nhost: {HOST}\r\n\
         content-type: text/vcard\r\ncontent-length: {len}\r\n{further}\r\n"
    )
}

/// One whole answer.
async fn answer(stream: &mut TlsStream<DuplexStream>) -> String {
    let read = async {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(bytes).unwrap().to_lowercase();
        let len = head.split_once("content-length: ").map_or(0, |(_, rest)| {
            rest.split_once("\r\n").unwrap().0.parse().unwrap()
        });
        stream.read_exact(&mut vec![0; len]).await.unwrap();
        head
    };
    timeout(PATIENCE, read).await.expect("there is an answer")
}

/// As KDE's do: it was told that the connection to the server is broken, and tried again five minutes
/// later.
#[tokio::test]
async fn a_body_that_comes_behind_its_head_is_waited_for_before_a_password_is() {
    let visit = Visit::start().await;
    let mut stream = visit.connect().await;
    let authorization = format!("authorization: {}\r\n", visit.home.authorization);
    for round in 0..10 {
        let done = if round == 0 { 201 } else { 204 };
        for (further, expected) in [("", 401), (&*authorization, done)] {
            let head = head(CARD_PATH, CARD.len(), further);
            stream.write_all(head.as_bytes()).await.unwrap();
            let (first, second) = CARD.split_at(round);
            stream.write_all(first.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            // Until home has seen this, and could have answered.
            for _ in 0..5 {
                visit.home.status().await;
            }
            stream.write_all(second.as_bytes()).await.unwrap();
            let answer = answer(&mut stream).await;
            let status = format!("http/1.1 {expected} ");
            assert!(answer.starts_with(&status), "{round}: {answer}");
            assert!(!answer.contains("\r\nconnection:"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_not_asked_for_and_has_a_bound() {
    let visit = Visit::start().await;
    for (len, further) in [
        (CARD.len(), "expect: 100-continue\r\n"),
        (10 * 1024 * 1024 + 1, ""),
    ] {
        let mut stream = visit.connect().await;
        let head = head(CARD_PATH, len, further);
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("http/1.1 401 "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_wants_and_that_never_comes_is_not_waited_for_long() {
    let visit = Visit::start_with(|config| config.timings.header_read = SILENCE).await;
    let mut stream = visit.connect().await;
    let head = head(CARD_PATH, CARD.len(), "");
    stream.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let answer = answer(&mut stream).await;
    assert!(begun.elapsed() >= SILENCE / 2, "it was waited for");
    assert!(answer.starts_with("http/1.1 401 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

/// As curl's do: it tells of an error of HTTP/2 in place of the answer that it has.
#[tokio::test]
async fn over_http2_a_body_is_waited_for_as_well_and_asked_for_as_little() {
    let visit = Visit::start().await;
    let stream = tls(&visit.session, visit.home.trust(), HOST, b"h2").await;
    let (mut requests, connection) = h2::client::handshake(stream.unwrap()).await.unwrap();
    let connection = tokio::spawn(connection);
    let put =
        || Request::put(format!("https://{HOST}{CARD_PATH}")).header("content-type", "text/vcard");
    for round in 0..10 {
        let put = put().body(()).unwrap();
        let (answer, mut body) = requests.send_request(put, false).unwrap();
        let (first, second) = CARD.split_at(round);
        body.send_data(first.into(), false).unwrap();
        for _ in 0..5 {
            visit.home.status().await;
        }
        let sent = body.send_data(second.into(), true);
        sent.expect("the stream is not reset before its body has come");
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), 401);
    }
    let put = put().header("expect", "100-continue").body(()).unwrap();
    let (answer, _body) = requests.send_request(put, false).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 401);
    connection.abort();
}

/// Nor is the answer lost that it would have had.
#[tokio::test]
async fn a_home_that_stops_does_not_wait_for_what_nobody_wants() {
    let mut visit = Visit::start().await;
    let mut stream = visit.connect().await;
    let head = head(CARD_PATH, CARD.len(), "");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    for _ in 0..5 {
        visit.home.status().await;
    }
    let (answer, ()) = tokio::join!(answer(&mut stream), visit.home.stop());
    assert!(answer.starts_with("http/1.1 401 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

/// Whoever answers before it has all of a request says nothing of what follows.
#[tokio::test]
async fn an_early_answer_of_a_server_behind_home_is_the_last_of_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = UpstreamServer::Http(listener.local_addr().unwrap().to_string());
    let adjust = |config: &mut Config| {
        config.timings.upstream_check = Duration::from_secs(3600);
        config.upstreams = vec![Upstream {
            hostname: None,
            path: "/up/".parse().unwrap(),
            server: place,
            strip_prefix: false,
            timeouts: UpstreamTimeouts::default(),
        }];
    };
    let visit = Visit::start_with(adjust).await;
    let server = async {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            // Home looks whether there is a server, and says nothing.
            if connection.read(&mut [0; 4096]).await.unwrap() > 0 {
                let early = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
                connection.write_all(early).await.unwrap();
                return connection;
            }
        }
    };
    let mut stream = visit.connect().await;
    let head = head("/up/", CARD.len(), "");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let both = async { tokio::join!(answer(&mut stream), server) };
    let (answer, _connection) = timeout(PATIENCE, both).await.unwrap();
    assert!(answer.starts_with("http/1.1 401 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}
