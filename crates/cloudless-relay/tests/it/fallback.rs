//! Connections that are for no home.

use tokio::net::TcpListener;

use crate::support::{HOME_NAME, HomeKey, RELAY_NAME, TestRelay, Visitor, WebServer, client_hello};

/// First bytes that are for no home, and the class that each is counted under.
fn strangers() -> Vec<(&'static str, Vec<u8>)> {
    let mut two_names = client_hello("home-a.test");
    let at = two_names
        .windows(11)
        .position(|it| it == b"home-a.test")
        .unwrap();
    two_names[at + 4] = 0;
    vec![
        ("unknown_name", client_hello("unknown.example.test")),
        ("own_name", client_hello(RELAY_NAME)),
        ("no_server_name", client_hello("192.0.2.1")),
        (
            "not_tls",
            b"GET / HTTP/1.1\r\nHost: home.example.test\r\n\r\n".to_vec(),
        ),
        (
            "not_tls",
            vec![
                0x80, 0x2e, 0x01, 0x00, 0x02, 0x00, 0x15, 0x00, 0x00, 0x00, 0x10,
            ],
        ),
        ("not_tls", vec![0xff; 3000]),
        (
            "malformed_record_version",
            b"\x16\x02\x00\x00\x05hello".to_vec(),
        ),
        ("malformed_empty_record", b"\x16\x03\x01\x00\x00".to_vec()),
        ("malformed_record_length", b"\x16\x03\x01\xff\xff".to_vec()),
        (
            "malformed_record_type",
            b"\x16\x03\x01\x00\x01\x01\x17\x03\x03\x00\x01a".to_vec(),
        ),
        (
            "malformed_handshake_type",
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00".to_vec(),
        ),
        ("malformed_hostname", two_names),
        ("too_long", b"\x16\x03\x01\x00\x04\x01\xff\xff\xff".to_vec()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_reach_the_web_server_with_every_byte() {
    let web_server = WebServer::start().await;
    let address = web_server.address();
    let relay = TestRelay::start_with(|config| config.fallback.https = Some(address.into())).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for (class, opening) in strangers() {
        let before = relay.outcome(class).await;
        let mut visitor = Visitor::connect(relay.address()).await;
        visitor.send(&opening).await;
        let mut server = web_server.accept().await;
        server.expect(&opening).await;
        assert_eq!(relay.outcome(class).await, before + 1, "{class}");

        visitor.send(b"more").await;
        visitor.finish().await;
        assert_eq!(server.read_to_end().await, b"more", "{class}");
        server.send(b"after the client's FIN").await;
        server.finish().await;
        assert_eq!(
            visitor.read_to_end().await,
            b"after the client's FIN",
            "{class}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_closed_without_a_web_server() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for (class, opening) in strangers() {
        let before = relay.outcome(class).await;
        let mut visitor = Visitor::connect(relay.https[1]).await;
        visitor.send(&opening).await;
        let answer = visitor.read_to_end().await;
        if opening.starts_with(b"GET ") {
            // A person's browser shows this.
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert!(body.contains("https"), "{body}");
        } else {
            assert_eq!(answer, b"", "{class}");
        }
        assert_eq!(relay.outcome(class).await, before + 1, "{class}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_is_offline_never_falls_back() {
    let web_server = WebServer::start().await;
    let address = web_server.address();
    let relay = TestRelay::start_with(|config| {
        config.fallback.https = Some(address.into());
        config.fallback.http = Some(address.into());
        config.hold = std::time::Duration::from_millis(50);
    })
    .await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    assert_eq!(visitor.read_to_end().await, crate::support::ALERT);
    // The next connection at the web server is the stranger's.
    let (_stranger, hello) = Visitor::hello(relay.address(), "unknown.example.test").await;
    web_server.accept().await.expect(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_that_is_down_costs_only_its_own_clients() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let relay = TestRelay::start_with(|config| config.fallback.https = Some(free.into())).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut stranger, _) = Visitor::hello(relay.address(), "unknown.example.test").await;
    assert_eq!(stranger.read_to_end().await, b"");
    relay.until_outcome("server_unreachable", 1).await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_passed_on() {
    let web_server = WebServer::start().await;
    let address = web_server.address();
    let relay = TestRelay::start_with(|config| config.fallback.https = Some(address.into())).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), "unknown.example.test").await;
    let mut server = web_server.accept().await;
    server.expect(&hello).await;
    server.reset();
    visitor.expect_reset().await;
}
