//! Names that lead to servers beside the relay.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use cloudless_proto::UpstreamAddress;
use cloudless_proto::proxy_protocol::{Addresses, Version, encode};
use cloudless_relay::admin::{Command, Reply};
use cloudless_relay::{Config, Servers};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
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

/// A server of one route.
enum Backend {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Backend {
    async fn tcp(address: &str) -> (Self, UpstreamAddress) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().into();
        (Self::Tcp(listener), address)
    }

    fn unix(path: &Path) -> (Self, UpstreamAddress) {
        let listener = UnixListener::bind(path).unwrap();
        (Self::Unix(listener), UpstreamAddress::Unix(path.to_owned()))
    }

    /// All that the next connection says, up to its FIN.
    async fn hear(&self) -> Vec<u8> {
        let mut stream: Box<dyn AsyncRead + Unpin> = match self {
            Self::Tcp(listener) => Box::new(soon(listener.accept()).await.unwrap().0),
            Self::Unix(listener) => Box::new(soon(listener.accept()).await.unwrap().0),
        };
        let mut bytes = Vec::new();
        soon(stream.read_to_end(&mut bytes)).await.unwrap();
        bytes
    }
}

/// What the specification says that such a header is.
fn header(version: Option<Version>, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (ips, ports) = (
        [source.ip(), destination.ip()],
        [source.port(), destination.port()],
    );
    match version {
        None => Vec::new(),
        Some(Version::V1) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let ([from, to], [from_port, to_port]) = (ips, ports);
            format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
        }
        Some(Version::V2) => {
            let (family, len) = if source.is_ipv4() {
                (0x11, 12)
            } else {
                (0x21, 36)
            };
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
            header.extend([family, 0, len]);
            for ip in ips {
                match ip {
                    IpAddr::V4(ip) => header.extend(ip.octets()),
                    IpAddr::V6(ip) => header.extend(ip.octets()),
                }
            }
            header.extend(ports.map(u16::to_be_bytes).concat());
            header
        }
    }
}

/// Also a server behind a unix socket, which has no addresses of its own, is told the visitor's.
#[tokio::test(flavor = "multi_thread")]
async fn each_server_is_told_in_its_own_version_of_the_proxy_protocol() {
    let directory = tempfile::TempDir::new().unwrap();
    let mut backends = Vec::new();
    for (name, version) in [
        ("none", None),
        ("v1", Some(Version::V1)),
        ("v2", Some(Version::V2)),
    ] {
        for (kind, (backend, address)) in [
            ("tcp4", Backend::tcp("127.0.0.1:0").await),
            ("tcp6", Backend::tcp("[::1]:0").await),
            ("unix", Backend::unix(&directory.path().join(name))),
        ] {
            let name = format!("{name}.{kind}.example.test");
            backends.push((name, version, backend, address));
        }
    }
    let relay = TestRelay::start_with(|config| {
        config.timings.health_check = std::time::Duration::from_secs(3600);
        for (name, version, _, address) in &backends {
            route(config, name, address.clone());
            let pattern = name.parse().unwrap();
            config.routes.0.get_mut(&pattern).unwrap().proxy_protocol = *version;
        }
    })
    .await;
    for (name, version, backend, _) in &backends {
        // The look at its health is nobody's connection, and says so.
        let expected = match version {
            None => &b""[..],
            Some(Version::V1) => b"PROXY UNKNOWN\r\n",
            Some(Version::V2) => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        };
        assert_eq!(backend.hear().await, expected, "{name}");
    }
    for (tls, family) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let mut visitors = Vec::new();
        for (name, ..) in &backends {
            visitors.push(request(&relay, name, tls, family).await);
        }
        for ((mut visitor, opening), (name, version, backend, _)) in
            visitors.into_iter().zip(&backends)
        {
            visitor.finish().await;
            let source = visitor.stream.local_addr().unwrap();
            let destination = visitor.stream.peer_addr().unwrap();
            let header = header(*version, source, destination);
            let expected = [header, opening].concat();
            let heard = backend.hear().await;
            assert!(heard == expected, "{name} {tls} {source}: {heard:?}");
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
