//! Each reason why a visitor is not served is counted under its own class.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cloudless_home::upstream::{Upstream, UpstreamServer, UpstreamTimeouts};
use cloudless_home::{Config, Passthrough, VisitorRefusal};
use cloudless_proto::UpstreamAddress;
use tokio::time::timeout;

use crate::fixture::{HOST, Home, PATIENCE};
use crate::relay::FakeRelay;
use crate::visitor::{http1, request, tls};

const SHORT: Duration = Duration::from_millis(100);
const NAS: &str = "nas.example.org";

/// What this home comes to, and how often.
const HERE: [(VisitorRefusal, u64); 6] = [
    (VisitorRefusal::HandshakeFailed, 1),
    (VisitorRefusal::HttpRefused, 1),
    (VisitorRefusal::NameNotServed, 1),
    (VisitorRefusal::PassthroughUnreachable, 2),
    (VisitorRefusal::PortNotServed, 1),
    (VisitorRefusal::UpstreamUnreachable, 1),
];
const SLOW: (VisitorRefusal, u64) = (VisitorRefusal::HandshakeTimeout, 1);
/// What an SSH server's visitors come to, what `visitors` has, and what needs a relay that brings more
/// visitors than HTTP/2 lets it.
const ELSEWHERE: [VisitorRefusal; 3] = [
    VisitorRefusal::ProxyProtocolMissing,
    VisitorRefusal::UnreadLimit,
    VisitorRefusal::VisitorLimit,
];

#[tokio::test]
async fn each_refusal_is_counted_once_and_under_its_class() {
    let all: BTreeSet<_> = VisitorRefusal::ALL.iter().copied().collect();
    let provoked = HERE.into_iter().chain([SLOW]).map(|(refusal, _)| refusal);
    assert_eq!(provoked.chain(ELSEWHERE).collect::<BTreeSet<_>>(), all);

    let nowhere = PathBuf::from("/nonexistent/web.sock");
    let configure = |config: &mut Config| {
        config.hostnames.push(NAS.parse().unwrap());
        let passthrough = Passthrough {
            tls: Some(UpstreamAddress::Unix(nowhere.clone())),
            http: Some(UpstreamAddress::Unix(nowhere.clone())),
            ..Passthrough::default()
        };
        config.passthrough.insert(NAS.parse().unwrap(), passthrough);
        config.upstreams = vec![Upstream {
            hostname: None,
            path: "/up/".parse().unwrap(),
            server: UpstreamServer::Unix(nowhere),
            strip_prefix: true,
            timeouts: UpstreamTimeouts::default(),
        }];
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

    let behind = tls(&session, home.trust(), HOST, b"http/1.1").await;
    let answer = http1(behind.unwrap(), get("/up/")).await;
    assert_eq!(answer.status(), 502);
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
