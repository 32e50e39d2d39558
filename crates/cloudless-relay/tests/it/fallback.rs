//! Connections that are for no home.

use std::time::Duration;

use cloudless_relay::Status;
use tokio::net::TcpListener;
use tokio::task::yield_now;

use crate::support::{
    HOME_NAME, HomeKey, Log, RELAY_NAME, TestRelay, Visitor, WebServer, client_hello, soon,
};

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
        config.hold = Duration::from_millis(50);
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

/// Somebody who asks each port for a name that is no home's, and what is said there.
async fn ask_both(relay: &TestRelay, family: usize) -> [(Visitor, Vec<u8>); 2] {
    let request = b"GET / HTTP/1.1\r\nHost: unknown.example.test\r\n\r\n".to_vec();
    let mut plain = Visitor::connect(relay.http[family]).await;
    plain.send(&request).await;
    let tls = Visitor::hello(relay.https[family], "unknown.example.test").await;
    [tls, (plain, request)]
}

async fn assert_serves(web_server: &WebServer, relay: &TestRelay, family: usize) {
    let [tls, plain] = ask_both(relay, family).await;
    let mut servers = [web_server.accept().await, web_server.accept().await];
    // They may have come in either order.
    let mut first = [0];
    servers[0].stream.peek(&mut first).await.unwrap();
    if first == *b"G" {
        servers.reverse();
    }
    for ((mut visitor, opening), mut server) in [tls, plain].into_iter().zip(servers) {
        server.expect(&opening).await;
        server.send(b"here").await;
        visitor.expect(b"here").await;
    }
}

/// Waits until it was said so often that a web server is out of reach, and that it is back.
async fn until_told(log: &Log, expected: [usize; 2]) {
    let told = |level: &str, words: &str| {
        let text = log.text();
        let lines = text.lines().filter(|line| line.contains(words));
        lines.filter(|line| line.contains(level)).count()
    };
    // The status has it a moment before the log.
    let poll = async {
        loop {
            let counts = [told(" WARN ", "out of reach;"), told(" INFO ", "is back")];
            let is_more = counts.iter().zip(&expected).any(|(now, all)| now > all);
            assert!(!is_more, "{counts:?} instead of {expected:?}");
            if counts == expected {
                return;
            }
            yield_now().await;
        }
    };
    soon(poll).await;
}

/// One thread for all, so that the log of all is this test's.
#[tokio::test]
async fn a_web_server_that_goes_is_told_once_and_serves_again_once_it_is_back() {
    let is = |up: bool| move |status: &Status| status.servers[0].error.is_none() == up;
    for (family, loopback) in [(0, "127.0.0.1:0"), (1, "[::1]:0")] {
        // Found out by the relay's own look, and by those who are for the web server.
        for interval in [Duration::from_millis(20), Duration::from_secs(3600)] {
            let looks = interval < Duration::from_secs(1);
            let (log, _guard) = Log::start();
            let web_server = WebServer::start_at(loopback.parse().unwrap()).await;
            let address = web_server.address();
            let relay = TestRelay::start_with(|config| {
                config.timings.health_check = interval;
                config.fallback.https = Some(address.into());
                config.fallback.http = Some(address.into());
            })
            .await;
            relay.until(|it| it.servers.len() == 1).await;
            assert_serves(&web_server, &relay, family).await;
            let before = relay.until(is(true)).await;
            assert_eq!(before.servers[0].address, address.into());

            drop(web_server);
            if looks {
                relay.until(is(false)).await;
            }
            let [(mut tls, _), (mut plain, _)] = ask_both(&relay, family).await;
            assert_eq!(tls.read_to_end().await, b"", "a clean end");
            let told = String::from_utf8(plain.read_to_end().await).unwrap();
            assert!(told.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{told}");
            assert!(told.ends_with("\r\n\r\n"), "{told}");
            relay.until_outcome("server_unreachable", 2).await;
            relay.until(is(false)).await;
            until_told(&log, [1, 0]).await;

            let web_server = WebServer::start_at(address).await;
            if looks {
                relay.until(is(true)).await;
            }
            assert_serves(&web_server, &relay, family).await;
            relay.until(is(true)).await;
            assert_eq!(relay.outcome("server_unreachable").await, 2);
            until_told(&log, [1, 1]).await;
            // It would go on looking, into the next one's log.
            relay.stop().await;
        }
    }
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

over_ipv6! {
    a_home_that_is_offline_never_falls_back,
    a_web_server_that_is_down_costs_only_its_own_clients,
    a_reset_is_passed_on,
}
