//! Load balancers before the relay, and those who pretend to be one.

use std::net::SocketAddr;
use std::time::Duration;

use cloudless_proto::control::VISITOR_HEADER;
use cloudless_proto::proxy_protocol::{Addresses, Version, encode};

use crate::support::{HOME_NAME, HomeKey, RELAY_NAME, TestRelay, Visitor, WebServer, client_hello};

fn header(version: Version, source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let destination = match source {
        SocketAddr::V4(_) => "192.0.2.1:443",
        SocketAddr::V6(_) => "[2001:db8::1]:443",
    };
    let addresses = Addresses {
        source,
        destination: destination.parse().unwrap(),
    };
    encode(version, Some(addresses))
}

/// A relay that trusts those who connect over IPv6, and only those.
async fn start(adjust: impl FnOnce(&mut cloudless_relay::Config)) -> TestRelay {
    let relay = TestRelay::start_with(|config| {
        config.load_balancers = vec!["::1".parse().unwrap()];
        adjust(config);
    })
    .await;
    assert!(relay.https[1].is_ipv6(), "this needs an IPv6 loopback");
    relay
}

#[tokio::test(flavor = "multi_thread")]
async fn home_learns_the_address_that_the_load_balancer_tells() {
    let relay = start(|_| {}).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let hello = client_hello(HOME_NAME);
    for (version, source) in [
        (Version::V1, "203.0.113.9:1234"),
        (Version::V2, "203.0.113.9:1234"),
        (Version::V1, "[2001:db8::9]:1234"),
        (Version::V2, "[2001:db8::9]:1234"),
    ] {
        // In one piece, in two, and byte by byte.
        let bytes = [header(version, source), hello.clone()].concat();
        for piece_len in [bytes.len(), 20, 1] {
            let mut balancer = Visitor::connect(relay.https[1]).await;
            for piece in bytes.chunks(piece_len) {
                balancer.send(piece).await;
            }
            let arrival = home.arrival().await;
            assert_eq!(arrival.request.headers()[VISITOR_HEADER], source);
            arrival.accept().expect(&hello).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_plain_port_too() {
    let relay = start(|_| {}).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    for (version, source) in [
        (Version::V1, "203.0.113.9:1234"),
        (Version::V2, "[2001:db8::9]:1234"),
    ] {
        let ask = |path: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {HOME_NAME}\r\n\r\n");
            [header(version, source), request.into_bytes()].concat()
        };
        let mut balancer = Visitor::connect(relay.http[1]).await;
        balancer.send(&ask("/")).await;
        let answer = String::from_utf8(balancer.read_to_end().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");

        let mut authority = Visitor::connect(relay.http[1]).await;
        authority.send(&ask("/.well-known/acme-challenge/x")).await;
        let arrival = home.arrival().await;
        assert_eq!(arrival.request.headers()[VISITOR_HEADER], source);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_must_send_a_header_and_nobody_else_may() {
    let web_server = WebServer::start().await;
    let address = web_server.address();
    let relay = start(|config| {
        config.fallback.https = Some(address.into());
        config.fallback.http = Some(address.into());
    })
    .await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for address in [relay.https[1], relay.http[1]] {
        let mut visitor = Visitor::connect(address).await;
        visitor.send(&client_hello(HOME_NAME)).await;
        visitor.gone().await;
    }
    relay.until_outcome("proxy_protocol_missing", 2).await;

    // From elsewhere a header is what it is: the start of something that is neither TLS nor HTTP.
    let forged = [
        header(Version::V1, "203.0.113.9:1"),
        client_hello(HOME_NAME),
    ]
    .concat();
    let mut visitor = Visitor::connect(relay.https[0]).await;
    visitor.send(&forged).await;
    web_server.accept().await.expect(&forged).await;
    assert_eq!(relay.outcome("not_tls").await, 1);
    let mut visitor = Visitor::connect(relay.http[0]).await;
    visitor.send(&forged).await;
    let answer = String::from_utf8(visitor.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_must_come_in_time() {
    let relay = start(|config| config.timings.client_hello = Duration::from_millis(100)).await;
    let mut balancer = Visitor::connect(relay.https[1]).await;
    balancer.send(b"PROXY TCP4 ").await;
    balancer.gone().await;
    relay.until_outcome("proxy_protocol_timeout", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_clients_and_not_the_load_balancer() {
    let web_server = WebServer::start().await;
    let relay = start(|config| {
        config.limits.connections_per_source = 1;
        config.fallback.https = Some(web_server.address().into());
        config.fallback.proxy_protocol = Some(Version::V2);
        config.timings.health_check = Duration::from_secs(3600);
    })
    .await;
    web_server.accept().await;
    let hello = client_hello(RELAY_NAME);
    let mut open = Vec::new();
    for source in ["203.0.113.1:1", "203.0.113.2:1", "203.0.113.3:1"] {
        let header = header(Version::V1, source);
        let mut balancer = Visitor::connect(relay.https[1]).await;
        balancer.send(&[header, hello.clone()].concat()).await;
        // The next server learns the client's address too, and where it connected to.
        let mut server = web_server.accept().await;
        server.expect(&self::header(Version::V2, source)).await;
        server.expect(&hello).await;
        open.push((balancer, server));
    }
    let mut balancer = Visitor::connect(relay.https[1]).await;
    let again = header(Version::V1, "203.0.113.1:2");
    balancer.send(&[again, hello].concat()).await;
    let (first, _) = &mut open[0];
    first.gone().await;
    assert_eq!(relay.outcome("source_limit").await, 1);
}
