//! Each reason why a visitor is not served is counted under its own class.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cloudless_home::upstream::{Upstream, UpstreamServer, UpstreamTimeouts};
use cloudless_home::{Config, Passthrough, VisitorRefusal};
use cloudless_proto::UpstreamAddress;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fixture::{HOST, Home, PATIENCE};
use crate::relay::FakeRelay;
use crate::visitor::{http1, request, tls};

const SHORT: Duration = Duration::from_millis(100);
const NAS: &str = "nas.example.org";

/// What this home comes to, and how often.
const HERE: [(VisitorRefusal, u64); 9] = [
    (VisitorRefusal::HandshakeFailed, 1),
    (VisitorRefusal::HttpRefused, 1),
    (VisitorRefusal::NameNotServed, 1),
    (VisitorRefusal::PassthroughUnreachable, 2),
    (VisitorRefusal::PortNotServed, 1),
    (VisitorRefusal::RequestRefused, 4),
    (VisitorRefusal::UpstreamFailed, 1),
    (VisitorRefusal::UpstreamSlow, 1),
    (VisitorRefusal::UpstreamUnreachable, 1),
];
/// And that of hasty homes.
const SLOW: (VisitorRefusal, u64) = (VisitorRefusal::HandshakeTimeout, 1);
const BUSY: (VisitorRefusal, u64) = (VisitorRefusal::UpstreamBusy, 1);
/// Requests of one address that one server gets at a time.
const PLACES: usize = 128;
/// What `client_certificates` and `visitors` have, what an SSH server's visitors come to, and what
/// needs a relay that brings more visitors than HTTP/2 lets it.
const ELSEWHERE: [VisitorRefusal; 4] = [
    VisitorRefusal::DeviceRevoked,
    VisitorRefusal::ProxyProtocolMissing,
    VisitorRefusal::UnreadLimit,
    VisitorRefusal::VisitorLimit,
];

#[tokio::test]
async fn each_refusal_is_counted_once_and_under_its_class() {
    let all: BTreeSet<_> = VisitorRefusal::ALL.iter().copied().collect();
    let provoked = HERE
        .into_iter()
        .chain([SLOW, BUSY])
        .map(|(refusal, _)| refusal);
    assert_eq!(provoked.chain(ELSEWHERE).collect::<BTreeSet<_>>(), all);

    let (broken, _closes) = server(Connections::Closed).await;
    let (silent, _waits) = server(Connections::Kept).await;
    let nowhere = PathBuf::from("/nonexistent/web.sock");
    let configure = |config: &mut Config| {
        config.hostnames.push(NAS.parse().unwrap());
        let passthrough = Passthrough {
            tls: Some(UpstreamAddress::Unix(nowhere.clone())),
            http: Some(UpstreamAddress::Unix(nowhere.clone())),
            ..Passthrough::default()
        };
        config.passthrough.insert(NAS.parse().unwrap(), passthrough);
        config.upstreams = vec![
            upstream("/up/", UpstreamServer::Unix(nowhere.clone())),
            upstream("/broken/", broken.clone()),
            upstream("/silent/", silent.clone()),
        ];
        config.upstreams[2].timeouts.first_byte = SHORT;
        config.upstreams[2].timeouts.connect = Duration::from_secs(1);
    };
    let relay = FakeRelay::bind().await;
    let home = Home::start_with(vec![relay.relay()], configure).await;
    let session = relay.welcome(HOST).await;
    home.connected().await;

    // Who is served is none of them.
    let served = tls(&session, home.trust(), HOST, b"http/1.1").await;
    let get = |path: &str| {
        let mut get = request("GET", path, &home.authorization);
        get.headers_mut().insert("host", HOST.parse().unwrap());
        get
    };
    let answer = http1(served.unwrap(), get("/")).await;
    assert_eq!(answer.status(), 200);

    for (path, host, status) in [
        ("/up/", HOST, 502),
        ("/broken/", HOST, 502),
        ("/silent/", HOST, 504),
        ("/up/../", HOST, 400),
        ("/", NAS, 421),
    ] {
        let stream = tls(&session, home.trust(), HOST, b"http/1.1").await;
        let mut get = get(path);
        get.headers_mut().insert("host", host.parse().unwrap());
        let answer = http1(stream.unwrap(), get).await;
        assert_eq!(answer.status(), status, "{path} of {host}");
    }
    let hostless = tls(&session, home.trust(), HOST, b"http/1.1").await;
    let mut hostless = hostless.unwrap();
    hostless.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    hostless.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    let stream = tls(&session, home.trust(), HOST, b"http/1.1").await;
    let mut trace = get("/up/");
    *trace.method_mut() = http::Method::TRACE;
    assert_eq!(http1(stream.unwrap(), trace).await.status(), 405);
    let (mut no_tls, _answer) = session.connect(HOST).await;
    no_tls
        .send_data(Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"), false)
        .unwrap();
    let other = tls(&session, home.trust(), "other.example.org", b"h2").await;
    assert!(other.is_err());
    let _to_another_port = session.connect_to(&format!("{HOST}:8080")).await;
    let _passed_through = session.connect(NAS).await;
    let mut asking = Vec::new();
    for (host, path) in [
        (HOST, "/private"),
        (NAS, "/.well-known/acme-challenge/token"),
    ] {
        let (mut send, receive) = session.connect_to(&format!("{host}:80")).await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        send.send_data(head.into(), false).unwrap();
        asking.push((send, receive));
    }
    until_refused(&home, &HERE).await;

    let relay = FakeRelay::bind().await;
    let hasty = |config: &mut Config| config.timings.tls_handshake = SHORT;
    let home = Home::start_with(vec![relay.relay()], hasty).await;
    let session = relay.welcome(HOST).await;
    home.connected().await;
    let _silent = session.connect(HOST).await;
    until_refused(&home, &[SLOW]).await;
}

#[tokio::test]
async fn a_request_that_finds_no_place_at_its_server_is_counted() {
    let (silent, _waits) = server(Connections::Kept).await;
    let relay = FakeRelay::bind().await;
    let configure =
        |config: &mut Config| config.upstreams = vec![upstream("/silent/", silent.clone())];
    let home = Home::start_with(vec![relay.relay()], configure).await;
    let session = relay.welcome(HOST).await;
    home.connected().await;
    let mut visitors = JoinSet::new();
    for _ in 0..=PLACES {
        let stream = tls(&session, home.trust(), HOST, b"http/1.1")
            .await
            .unwrap();
        let mut get = request("GET", "/silent/", &home.authorization);
        get.headers_mut().insert("host", HOST.parse().unwrap());
        visitors.spawn(http1(stream, get));
    }
    let first = timeout(PATIENCE, visitors.join_next()).await.unwrap();
    assert_eq!(first.unwrap().unwrap().status(), 503);
    until_refused(&home, &[BUSY]).await;
}

fn upstream(path: &str, server: UpstreamServer) -> Upstream {
    Upstream {
        hostname: None,
        path: path.parse().unwrap(),
        server,
        strip_prefix: true,
        timeouts: UpstreamTimeouts::default(),
    }
}

/// What a server does with the connections that it accepts.
enum Connections {
    Closed,
    Kept,
}

/// A server that answers nothing, until the tasks are dropped.
async fn server(connections: Connections) -> (UpstreamServer, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = UpstreamServer::Http(listener.local_addr().unwrap().to_string());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut kept = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            match connections {
                Connections::Closed => drop(connection),
                Connections::Kept => kept.push(connection),
            }
        }
    });
    (place, tasks)
}

/// Waits until home has refused so many visitors for these reasons, and none for another.
async fn until_refused(home: &Home, expected: &[(VisitorRefusal, u64)]) {
    let row = |(refusal, count): &(VisitorRefusal, u64)| (refusal.name().to_owned(), *count);
    let expected: BTreeMap<String, u64> = expected.iter().map(row).collect();
    let mut refused = BTreeMap::new();
    let counted = timeout(PATIENCE, async {
        while refused != expected {
            refused = home.status().await.refused;
        }
    });
    let is_so = counted.await.is_ok();
    assert!(is_so, "refused are {refused:?}, not {expected:?}");
}
