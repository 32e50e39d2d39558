//! Visitors through the tunnel: TLS, HTTP, half-close, many at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloudless_home::Clock;
use cloudless_proto::control::FromRelay;
use http_body_util::Full;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::fixture::{HOST, Home, PATIENCE};
use crate::relay::{FakeRelay, FakeSession};
use crate::visitor::{http1, http2, pipe, pipe_to_end, request, tls};

const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a\r\nFN:Ärmel\r\nEND:VCARD\r\n";
const CARD_PATH: &str = "/dav/addressbooks/me/contacts/a.vcf";

async fn start() -> (FakeRelay, Home, FakeSession) {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let session = relay.welcome(HOST).await;
    (relay, home, session)
}

fn to(host: &str, mut request: http::Request<Full<Bytes>>) -> http::Request<Full<Bytes>> {
    request.headers_mut().insert("host", host.parse().unwrap());
    request
}

#[tokio::test]
async fn contacts_are_read_and_written_over_http1_and_http2() {
    let (_relay, home, session) = start().await;

    let stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let mut put = to(HOST, request("PUT", CARD_PATH, &home.authorization));
    *put.body_mut() = Full::from(CARD);
    put.headers_mut()
        .insert("content-type", "text/vcard".parse().unwrap());
    let response = http1(stream, put).await;
    assert_eq!(response.status(), 201);

    let url = |path: &str| format!("https://{HOST}{path}");
    let stream = tls(&session, home.trust(), HOST, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let response = http2(stream, request("GET", &url(CARD_PATH), &home.authorization)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), CARD);

    let stream = tls(&session, home.trust(), HOST, b"h2").await.unwrap();
    let response = http2(
        stream,
        request("PROPFIND", &url("/dav/"), &home.authorization),
    )
    .await;
    assert_eq!(response.status(), 207);

    let stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let response = http1(stream, to(HOST, request("GET", CARD_PATH, "Basic eDp5"))).await;
    assert_eq!(response.status(), 401);
}

/// The relay may say of a visitor what it likes: that never lets anybody in, or keeps anybody out.
#[tokio::test]
async fn the_visitors_address_is_a_hint_and_no_rule() {
    let (_relay, home, mut session) = start().await;
    for visitor in [
        Some("127.0.0.1:54321"),
        Some("[::1]:54321"),
        Some("[2001:db8::7]:54321"),
        Some("nobody"),
        None,
    ] {
        session.visitor = visitor;
        for (authorization, status) in [("Basic eDp5", 401), (&*home.authorization, 207)] {
            let stream = tls(&session, home.trust(), HOST, b"http/1.1")
                .await
                .unwrap();
            let asked = to(HOST, request("PROPFIND", "/dav/", authorization));
            assert_eq!(http1(stream, asked).await.status(), status, "{visitor:?}");
        }
    }
}

#[tokio::test]
async fn tls_1_2_is_served_too() {
    let (_relay, home, session) = start().await;
    let roots = home.trust();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut old = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    old.dangerous()
        .set_certificate_verifier(roots_verifier(&home));
    drop(roots);
    let stream = tls(&session, old, HOST, b"http/1.1").await.unwrap();
    let response = http1(
        stream,
        to(HOST, request("GET", CARD_PATH, &home.authorization)),
    )
    .await;
    assert_eq!(response.status(), 404);
}

fn roots_verifier(home: &Home) -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
    use rustls_pki_types::pem::PemObject;
    let pem = std::fs::read(cloudless_home::certificate::ca_file(home.directory.path())).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls_pki_types::CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_second_connection_resumes() {
    let (_relay, home, session) = start().await;
    let trust = home.trust();
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let mut stream = tls(&session, trust.clone(), HOST, b"http/1.1")
            .await
            .unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
    }
}

#[tokio::test]
async fn the_host_must_be_the_server_name() {
    let (_relay, home, session) = start().await;
    let stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let misdirected = to(
        "other.example.org",
        request("PROPFIND", "/dav/", &home.authorization),
    );
    assert_eq!(http1(stream, misdirected).await.status(), 421);
    let stream = tls(&session, home.trust(), HOST, b"h2").await.unwrap();
    let misdirected = request(
        "PROPFIND",
        "https://other.example.org/dav/",
        &home.authorization,
    );
    assert_eq!(http2(stream, misdirected).await.status(), 421);
    // Case and port do not matter.
    let stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let shouted = to(
        "HOME.example.org:8443",
        request("PROPFIND", "/dav/", &home.authorization),
    );
    assert_eq!(http1(stream, shouted).await.status(), 207);
}

#[tokio::test]
async fn an_unknown_server_name_is_closed_without_a_certificate() {
    let (_relay, home, session) = start().await;
    for name in ["other.example.org", "www.home.example.org"] {
        let mut stream = pipe(session.connect(HOST).await);
        let mut client = rustls::ClientConnection::new(
            Arc::new(home.trust()),
            ServerName::try_from(name).unwrap(),
        )
        .unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer, b"", "{name}");
    }
    // Garbage ends too, at once and not at the deadline.
    let mut stream = pipe(session.connect(HOST).await);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_expired_certificate_closes_the_connection() {
    let relay = FakeRelay::bind().await;
    let offset = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let moved = offset.clone();
    let clock: Clock = Arc::new(move || {
        let days = moved.load(std::sync::atomic::Ordering::Relaxed);
        std::time::SystemTime::now() + Duration::from_secs(days * 86_400)
    });
    let home = Home::start_with(vec![relay.relay()], |config| {
        config.clock = clock;
        config.timings.certificate_check = Duration::from_secs(3600);
    })
    .await;
    let session = relay.welcome(HOST).await;
    drop(tls(&session, home.trust(), HOST, b"h2").await.unwrap());
    offset.store(400, std::sync::atomic::Ordering::Relaxed);
    let error = tls(&session, home.trust(), HOST, b"h2").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error:?}");
    assert_eq!(home.status().await.certificates[0].expires_at, None);
}

#[tokio::test]
async fn a_slow_handshake_meets_its_deadline() {
    let relay = FakeRelay::bind().await;
    let home = Home::start_with(vec![relay.relay()], |config| {
        config.timings.tls_handshake = Duration::from_millis(100);
    })
    .await;
    let session = relay.welcome(HOST).await;
    let mut stream = pipe(session.connect(HOST).await);
    stream.write_all(&[22, 3, 1]).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    home.relay_status(|row| row.visitors_now == 0 && row.visitors_total == 1)
        .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let relay = FakeRelay::bind().await;
    let home = Home::start_with(vec![relay.relay()], |config| {
        config.timings.idle = Duration::from_millis(150);
    })
    .await;
    let session = relay.welcome(HOST).await;
    let mut stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new()))
        .await
        .unwrap();
    home.relay_status(|row| row.visitors_now == 0).await;
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_connection_open() {
    let relay = FakeRelay::bind().await;
    let home = Home::start_with(vec![relay.relay()], |config| {
        config.timings.idle = Duration::from_millis(150);
    })
    .await;
    let session = relay.welcome(HOST).await;
    let stream = tls(&session, home.trust(), HOST, b"h2").await.unwrap();
    let (_requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let pinging =
        tokio::spawn(async move { while pings.ping(h2::Ping::opaque()).await.is_ok() {} });
    let ended = timeout(PATIENCE, connection).await.unwrap();
    // It is told to go, so that a client knows that no request of it was lost.
    ended.unwrap();
    pinging.await.unwrap();
    home.relay_status(|row| row.visitors_now == 0).await;
}

#[tokio::test]
async fn a_relay_that_drains_ends_idle_connections_and_takes_no_answer_from_a_new_one() {
    let (_relay, home, mut session) = start().await;
    let ask = format!("GET /.well-known/carddav HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let connect = async || {
        tls(&session, home.trust(), HOST, b"http/1.1")
            .await
            .unwrap()
    };
    let (mut idle, mut new) = (connect().await, connect().await);
    idle.write_all(ask.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    timeout(PATIENCE, idle.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&first, b"HTTP/1.1 301");
    let stream = tls(&session, home.trust(), HOST, b"h2").await.unwrap();
    let (mut requests, http2) = h2::client::handshake(stream).await.unwrap();
    let http2 = tokio::spawn(http2);
    let uri = format!("https://{HOST}/.well-known/carddav");
    let request = http::Request::get(uri).body(()).unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    timeout(PATIENCE, answer).await.unwrap().unwrap();

    session.say(&FromRelay::Drain {
        retry_after_ms: 60_000,
    });
    let mut rest = String::new();
    timeout(PATIENCE, idle.read_to_string(&mut rest))
        .await
        .unwrap()
        .unwrap();
    // It is told to go, so that a client knows that no request of it was lost.
    timeout(PATIENCE, http2).await.unwrap().unwrap().unwrap();
    new.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, new.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
}

#[tokio::test]
async fn a_visitor_that_says_fin_first_still_gets_its_answer() {
    let (_relay, home, session) = start().await;
    let mut stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let request = format!("GET /.well-known/carddav HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut response = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut response))
        .await
        .unwrap()
        .unwrap();
    assert!(response.starts_with("HTTP/1.1 301"), "{response}");
    home.relay_status(|row| row.visitors_now == 0).await;
}

#[tokio::test]
async fn after_homes_fin_the_visitor_may_finish_its_sentence() {
    let (_relay, home, session) = start().await;
    let (send, recv) = session.connect(HOST).await;
    let mut raw = RawVisitor {
        send,
        recv,
        received: Vec::new(),
    };
    // A name that is not served: home says FIN at once.
    let mut client = rustls::ClientConnection::new(
        Arc::new(home.trust()),
        ServerName::try_from("other.example.org").unwrap(),
    )
    .unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    raw.send.send_data(hello.into(), false).unwrap();
    assert!(
        timeout(PATIENCE, raw.fin()).await.unwrap(),
        "home resets instead of FIN"
    );
    // What is still under way is taken, not answered with a reset; then the visitor's own FIN.
    for _ in 0..4 {
        raw.send
            .send_data(Bytes::from_static(&[0; 1000]), false)
            .unwrap();
    }
    raw.send.send_data(Bytes::new(), true).unwrap();
    home.relay_status(|row| row.visitors_now == 0).await;
    assert_eq!(raw.received, b"");
}

struct RawVisitor {
    send: h2::SendStream<Bytes>,
    recv: h2::RecvStream,
    received: Vec<u8>,
}

impl RawVisitor {
    /// Reads to the end; whether it was FIN and not a reset.
    async fn fin(&mut self) -> bool {
        while let Some(chunk) = self.recv.data().await {
            match chunk {
                Ok(chunk) => self.received.extend_from_slice(&chunk),
                Err(_) => return false,
            }
        }
        true
    }
}

/// As curl and many others do. A reset would look like a leg that broke, and three of these in a row
/// keep all of a home's visitors in the tunnel.
#[tokio::test]
async fn who_hangs_up_without_close_notify_is_answered_with_fin() {
    let (_relay, home, session) = start().await;
    for alpn in [&b"h2"[..], b"http/1.1"] {
        let (stream, end) = pipe_to_end(session.connect(HOST).await);
        let mut trust = home.trust();
        trust.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from(HOST).unwrap();
        let connector = TlsConnector::from(Arc::new(trust));
        let mut tls = connector.connect(name, stream).await.unwrap();
        // Either protocol's first words, and home's.
        let words: &[u8] = match alpn {
            b"h2" => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            _ => b"OPTIONS /dav/ HTTP/1.1\r\nHost: home.example.org\r\n\r\n",
        };
        tls.write_all(words).await.unwrap();
        tls.read_exact(&mut [0; 9]).await.unwrap();
        let (stream, _) = tls.into_inner();
        drop(stream);
        let ended = timeout(PATIENCE, end).await.unwrap().unwrap();
        ended.unwrap_or_else(|error| panic!("{error} for {}", alpn.escape_ascii()));
    }
    home.relay_status(|row| row.visitors_now == 0).await;
}

#[tokio::test]
async fn a_visitors_reset_frees_its_place() {
    let (_relay, home, session) = start().await;
    let (mut send, _recv) = session.connect(HOST).await;
    home.relay_status(|row| row.visitors_now == 1).await;
    send.send_reset(h2::Reason::CANCEL);
    home.relay_status(|row| row.visitors_now == 0).await;
}

#[tokio::test]
async fn a_visitor_that_does_not_read_stalls_no_other() {
    let (_relay, home, session) = start().await;
    // Large answers are asked for and never read: the stream's window fills up.
    let body = "x".repeat(4 * 1024 * 1024);
    let card = format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a\r\nNOTE:{body}\r\nEND:VCARD\r\n");
    let stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let mut put = to(HOST, request("PUT", CARD_PATH, &home.authorization));
    *put.body_mut() = Full::from(card.clone());
    put.headers_mut()
        .insert("content-type", "text/vcard".parse().unwrap());
    assert_eq!(http1(stream, put).await.status(), 201);

    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut stream = tls(&session, home.trust(), HOST, b"http/1.1")
            .await
            .unwrap();
        let authorization = &home.authorization;
        let get = format!(
            "GET {CARD_PATH} HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {authorization}\r\n\r\n"
        );
        stream.write_all(get.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    let stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let get = to(HOST, request("GET", CARD_PATH, &home.authorization));
    let response = timeout(PATIENCE, http1(stream, get)).await.unwrap();
    assert_eq!(response.body(), card.as_bytes());
    // And a stalled one goes on where it was.
    let mut stream = stalled.swap_remove(0);
    let mut rest = vec![0; card.len()];
    timeout(PATIENCE, stream.read_exact(&mut rest))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn visitors_that_ask_and_never_read_do_not_fill_the_memory() {
    const VISITORS: u64 = 40;
    let (_relay, home, session) = start().await;
    let mut greedy = Vec::new();
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..VISITORS {
        let stream = tls(&session, home.trust(), HOST, b"http/1.1")
            .await
            .unwrap();
        let (unread, mut requests) = tokio::io::split(stream);
        greedy.push(unread);
        // Nobody needs a password to ask.
        let ask = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        let ask = ask.repeat(3 * 1024 * 1024 / ask.len());
        sending.spawn(async move { requests.write_all(ask.as_bytes()).await });
    }
    // Each may leave 2 MiB unread, all together 64 MiB: the rest is reset.
    home.relay_status(|row| (1..=32).contains(&row.visitors_now))
        .await;
    let refused = home.status().await.refused["unread_limit"];
    assert!((VISITORS - 32..VISITORS).contains(&refused), "{refused}");
    let stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let get = to(HOST, request("GET", "/", &home.authorization));
    let response = timeout(PATIENCE, http1(stream, get)).await.unwrap();
    assert_eq!(response.status(), 200);
    let row = home.relay_status(|_| true).await;
    assert!(row.visitors_now > 0, "more was reset than needed");
}

#[tokio::test]
async fn two_hundred_visitors_at_once() {
    let (_relay, home, session) = start().await;
    let session = Arc::new(session);
    let barrier = Arc::new(tokio::sync::Barrier::new(200));
    let mut visitors = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (session, barrier) = (session.clone(), barrier.clone());
        let (trust, authorization) = (home.trust(), home.authorization.clone());
        visitors.spawn(async move {
            let stream = tls(&session, trust, HOST, b"http/1.1").await.unwrap();
            // All are connected before the first asks.
            barrier.wait().await;
            http1(
                stream,
                to(HOST, request("PROPFIND", "/dav/", &authorization)),
            )
            .await
            .status()
        });
    }
    while let Some(status) = visitors.join_next().await {
        assert_eq!(status.unwrap(), 207);
    }
    let row = home.relay_status(|row| row.visitors_now == 0).await;
    assert_eq!(row.visitors_total, 200);
}

over_ipv6! {
    contacts_are_read_and_written_over_http1_and_http2,
    the_visitors_address_is_a_hint_and_no_rule,
    tls_1_2_is_served_too,
    a_second_connection_resumes,
    the_host_must_be_the_server_name,
    an_unknown_server_name_is_closed_without_a_certificate,
    an_expired_certificate_closes_the_connection,
    a_slow_handshake_meets_its_deadline,
    an_idle_connection_is_closed,
    pings_do_not_keep_an_idle_connection_open,
    a_relay_that_drains_ends_idle_connections_and_takes_no_answer_from_a_new_one,
    a_visitor_that_says_fin_first_still_gets_its_answer,
    after_homes_fin_the_visitor_may_finish_its_sentence,
    who_hangs_up_without_close_notify_is_answered_with_fin,
    a_visitors_reset_frees_its_place,
    a_visitor_that_does_not_read_stalls_no_other,
    visitors_that_ask_and_never_read_do_not_fill_the_memory,
    two_hundred_visitors_at_once,
}
