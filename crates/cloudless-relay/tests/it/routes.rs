//! Names that lead to servers beside the relay.

use cloudless_proto::UpstreamAddress;
use cloudless_proto::proxy_protocol::{Addresses, Version, encode};
use cloudless_relay::admin::{Command, Reply};
use cloudless_relay::{Config, Servers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use crate::support::{HOME_NAME, HomeKey, RELAY_NAME, TestRelay, Visitor, WebServer, soon};

/// Both ports of a name lead to `address`.
fn route(config: &mut Config, pattern: &str, address: impl Into<UpstreamAddress>) {
    let address = address.into();
    let servers = Servers {
        https: Some(address.clone()),
        http: Some(address),
        proxy_protocol: None,
    };
    config.routes.0.insert(pattern.parse().unwrap(), servers);
}

/// A request for `name`, to one port or the other of the relay.
async fn request(relay: &TestRelay, name: &str, tls: bool, family: usize) -> (Visitor, Vec<u8>) {
    if tls {
        return Visitor::hello(relay.https[family], name).await;
    }
    let mut visitor = Visitor::connect(relay.http[family]).await;
    let head = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes();
    visitor.send(&head).await;
    (visitor, head)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_route_gets_a_name_on_both_ports() {
    let (one, below, fallback) = (
        WebServer::start().await,
        WebServer::start().await,
        WebServer::start().await,
    );
    let relay = TestRelay::start_with(|config| {
        route(config, "www.example.test", one.address());
        route(config, "*.example.test", below.address());
        config.fallback.https = Some(fallback.address().into());
        config.fallback.http = Some(fallback.address().into());
    })
    .await;
    // Also a name below the wildcard: that of a home, which leads nowhere else.
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for (name, server) in [
        ("www.example.test", &one),
        ("WWW.Example.Test.", &one),
        ("blog.example.test", &below),
        ("a.b.example.test", &below),
        // The relay's own name is below the wildcard too, and has no tunnel's ALPN here.
        (RELAY_NAME, &below),
        ("example.test", &fallback),
        ("other.test", &fallback),
    ] {
        for (tls, family) in [(true, 0), (false, 1)] {
            // A TLS client says no dot and no capitals.
            let name = if tls {
                name.trim_end_matches('.')
            } else {
                name
            };
            let (_visitor, opening) = request(&relay, name, tls, family).await;
            server.accept().await.expect(&opening).await;
        }
    }
    let (mut visitor, _) = request(&relay, HOME_NAME, false, 0).await;
    let answer = String::from_utf8(visitor.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_s_name_has_no_route_of_its_own() {
    let web_server = WebServer::start().await;
    let address = web_server.address();
    let relay = TestRelay::start_with(|config| route(config, HOME_NAME, address)).await;
    let invite = Command::Invite {
        hostname: HOME_NAME.parse().unwrap(),
        ttl_s: 600,
        replace: false,
    };
    let Reply::Error { message } = relay.command(&invite).await else {
        panic!("the relay invited a home to a name that has a route");
    };
    assert!(message.contains(HOME_NAME), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_gets_connections_and_their_ends() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("web.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let address = UpstreamAddress::Unix(path);
    let relay = TestRelay::start_with(|config| {
        config.timings.health_check = std::time::Duration::from_secs(3600);
        route(config, "www.example.test", address);
    })
    .await;
    // The look at its health.
    soon(listener.accept()).await.unwrap();
    let (mut visitor, hello) = request(&relay, "www.example.test", true, 1).await;
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    visitor.finish().await;
    let mut got = Vec::new();
    soon(server.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, hello);
    server.write_all(b"after the FIN").await.unwrap();
    drop(server);
    assert_eq!(visitor.read_to_end().await, b"after the FIN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_told_the_visitor_s_address() {
    for version in [Version::V1, Version::V2] {
        let (web_server, fallback) = (WebServer::start().await, WebServer::start().await);
        let relay = TestRelay::start_with(|config| {
            config.timings.health_check = std::time::Duration::from_secs(3600);
            route(config, "www.example.test", web_server.address());
            let routes = config.routes.0.values_mut();
            routes.for_each(|servers| servers.proxy_protocol = Some(version));
            config.fallback.https = Some(fallback.address().into());
            config.fallback.http = Some(fallback.address().into());
            config.fallback.proxy_protocol = Some(version);
        })
        .await;
        for server in [&web_server, &fallback] {
            // The look at its health is nobody's connection.
            let mut health = server.accept().await;
            assert_eq!(health.read_to_end().await, encode(version, None));
        }
        for (name, server) in [("www.example.test", &web_server), ("x.test", &fallback)] {
            for (tls, family) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
                let (visitor, opening) = request(&relay, name, tls, family).await;
                let addresses = Addresses {
                    source: visitor.stream.local_addr().unwrap(),
                    destination: visitor.stream.peer_addr().unwrap(),
                };
                let mut server = server.accept().await;
                server.expect(&encode(version, Some(addresses))).await;
                server.expect(&opening).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_s_health_is_in_the_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let relay = TestRelay::start_with(|config| {
        config.timings.health_check = std::time::Duration::from_millis(20);
        route(config, "www.example.test", address);
    })
    .await;
    let is = |up: bool| {
        move |status: &cloudless_relay::Status| {
            let mut servers = status.servers.iter();
            servers.any(|it| it.address == address.into() && it.error.is_none() == up)
        }
    };
    relay.until(is(false)).await;
    let listener = TcpListener::bind(address).await.unwrap();
    relay.until(is(true)).await;
    drop(listener);
    relay.until(is(false)).await;
}
