//! Connections that are open while the files are read again: each goes on where it began.

use std::collections::BTreeMap;
use std::fs;

use cloudless_proto::control::FromRelay;
use cloudless_proto::leg::{self, THRESHOLD, TRAILER, Ticket};
use cloudless_relay::admin::Reply;
use cloudless_relay::{Config, Limits, Servers};
use http::{HeaderMap, HeaderValue};

use super::{Next, OTHER_NAME, refused, reload, start, write_homes};
use crate::support::{
    HOME_NAME, HomeKey, HomeStream, TestRelay, Tunnel, Visitor, WebServer, soon, test_config,
};

const ROUTED_NAME: &str = "www.example.test";
const STRANGE_NAME: &str = "unknown.example.test";

/// A relay with a connection of each kind.
struct Scene {
    relay: TestRelay,
    next: Next,
    open: Vec<Open>,
    /// The homes of the first two.
    _homes: [Tunnel; 2],
    routed: WebServer,
    fallback: WebServer,
}

impl Scene {
    async fn start() -> Self {
        let (relay, next) = start().await;
        let (routed, fallback) = (WebServer::start().await, WebServer::start().await);
        let config = config(Some(&routed), Some(&fallback));
        assert_taken(&reload(&relay, &next, Ok(config)).await);
        relay.enroll(HomeKey(1), HOME_NAME).await;
        let mut with_legs = Tunnel::dial(relay.address(), HomeKey(1)).await;
        with_legs.hello_with_legs(1, 1);
        with_legs.hear_welcome().await;
        let mut without = relay.home(HomeKey(2), OTHER_NAME).await;

        let mut open = Vec::new();
        let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        let stream = with_legs.accept(&hello).await;
        let leg = move_to_leg(&relay, &mut with_legs, &mut visitor, stream).await;
        open.push(Open::new("leg", visitor, End::Socket(leg)));
        let (visitor, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
        let stream = without.accept(&hello).await;
        open.push(Open::new("stream", visitor, End::Stream(stream)));
        for (kind, name, server) in [
            ("route", ROUTED_NAME, &routed),
            ("fallback", STRANGE_NAME, &fallback),
        ] {
            let (visitor, hello) = Visitor::hello(relay.address(), name).await;
            let mut server = server.accept().await;
            server.expect(&hello).await;
            open.push(Open::new(kind, visitor, End::Socket(server)));
        }
        let mut scene = Self {
            relay,
            next,
            open,
            _homes: [with_legs, without],
            routed,
            fallback,
        };
        scene.begin_to_move().await;
        scene.go_on().await;
        scene
    }

    /// Reads the files again while bytes of all connections are under way, both ways.
    async fn reload(&mut self, config: Result<Config, &'static str>) -> Reply {
        self.begin_to_move().await;
        let reply = reload(&self.relay, &self.next, config).await;
        self.go_on().await;
        reply
    }

    async fn begin_to_move(&mut self) {
        for open in &mut self.open {
            open.begin_to_move().await;
        }
    }

    async fn go_on(&mut self) {
        for open in &mut self.open {
            open.go_on().await;
        }
    }

    /// Whether a newcomer for this name gets to this server.
    async fn assert_leads_to(&self, name: &str, server: &WebServer) {
        let (_visitor, hello) = Visitor::hello(self.relay.address(), name).await;
        server.accept().await.expect(&hello).await;
    }
}

/// With one route, and a fallback.
fn config(routed: Option<&WebServer>, fallback: Option<&WebServer>) -> Config {
    let mut config = test_config();
    let servers = |server: &WebServer| Servers {
        https: Some(server.address().into()),
        ..Servers::default()
    };
    let route = routed.map(|it| (ROUTED_NAME.parse().unwrap(), servers(it)));
    config.routes.0 = BTreeMap::from_iter(route);
    config.fallback = fallback.map(servers).unwrap_or_default();
    config
}

fn assert_taken(reply: &Reply) {
    assert!(matches!(reply, Reply::Reloaded { .. }), "{reply:?}");
}

/// One connection, and who is at its other end.
struct Open {
    kind: &'static str,
    visitor: Visitor,
    end: End,
}

enum End {
    /// The home, in the tunnel.
    Stream(HomeStream),
    /// The home on a leg, or a server beside the relay.
    Socket(Visitor),
}

impl Open {
    fn new(kind: &'static str, visitor: Visitor, end: End) -> Self {
        Self { kind, visitor, end }
    }

    fn up(&self) -> Vec<u8> {
        format!("up {} ", self.kind).repeat(2_000).into_bytes()
    }

    fn down(&self) -> Vec<u8> {
        format!("down {} ", self.kind).repeat(2_000).into_bytes()
    }

    /// Both sides say something that nobody reads yet.
    async fn begin_to_move(&mut self) {
        let (up, down) = (self.up(), self.down());
        self.visitor.send(&up).await;
        match &mut self.end {
            End::Stream(stream) => stream.send(&down).await.expect(self.kind),
            End::Socket(socket) => socket.send(&down).await,
        }
    }

    /// Both hear all of it, say it once more, and hear that.
    async fn go_on(&mut self) {
        self.hear().await;
        self.begin_to_move().await;
        self.hear().await;
    }

    async fn hear(&mut self) {
        let (up, down) = (self.up(), self.down());
        match &mut self.end {
            End::Stream(stream) => stream.expect(&up).await,
            End::Socket(socket) => socket.expect(&up).await,
        }
        self.visitor.expect(&down).await;
    }
}

/// Moves a visitor to a leg both ways, and returns the home's end of that.
async fn move_to_leg(
    relay: &TestRelay,
    home: &mut Tunnel,
    visitor: &mut Visitor,
    mut stream: HomeStream,
) -> Visitor {
    let bulk = vec![7; usize::try_from(THRESHOLD).unwrap()];
    stream.send(&bulk).await.unwrap();
    visitor.expect(&bulk).await;
    let Some(FromRelay::Leg { number, token, .. }) = home.hear().await else {
        panic!("no leg is offered");
    };
    let mut leg = Visitor::connect(relay.address()).await;
    leg.send(&Ticket { number, token }.preface()).await;
    let ready = home.hear().await;
    assert!(
        matches!(ready, Some(FromRelay::LegReady { .. })),
        "{ready:?}"
    );
    stream.expect_end().await;
    let trailers = soon(stream.receive.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers[TRAILER], leg::trailer(number));
    let mut trailers = HeaderMap::new();
    trailers.insert(TRAILER, HeaderValue::from(number));
    stream.send.send_trailers(trailers).unwrap();
    leg
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_goes_on_whatever_the_new_files_say() {
    let mut scene = Scene::start().await;
    // Less room than is taken already: for those who come.
    let mut config_1 = config(Some(&scene.routed), Some(&scene.fallback));
    config_1.legs = false;
    config_1.limits = Limits {
        handshakes: 1,
        connections_per_source: 1,
        visitors: 1,
        visitors_per_home: 1,
        strangers_per_home: 1,
        legs_per_home: 0,
        legs: 0,
        sessions: 1,
        queued_bytes_per_home: 64 * 1024,
        ..Limits::default()
    };
    assert_taken(&scene.reload(Ok(config_1)).await);

    // Both lead elsewhere, and there is one more of each.
    let (routed, fallback, third) = (
        WebServer::start().await,
        WebServer::start().await,
        WebServer::start().await,
    );
    let mut config_2 = config(Some(&routed), Some(&fallback));
    let servers = Servers {
        https: Some(third.address().into()),
        ..Servers::default()
    };
    let pattern = "third.example.test".parse().unwrap();
    config_2.routes.0.insert(pattern, servers);
    let mut homes = vec![
        (HOME_NAME, HomeKey(1)),
        (OTHER_NAME, HomeKey(2)),
        ("fourth.example.test", HomeKey(3)),
    ];
    write_homes(&scene.relay, &homes);
    assert_taken(&scene.reload(Ok(config_2)).await);
    scene.assert_leads_to(ROUTED_NAME, &routed).await;
    scene.assert_leads_to(STRANGE_NAME, &fallback).await;
    scene.assert_leads_to("third.example.test", &third).await;
    let mut newcomer = Tunnel::online(scene.relay.address(), HomeKey(3), 1).await;

    // Neither leads anywhere, and the route's name is a home's.
    homes.push((ROUTED_NAME, HomeKey(3)));
    write_homes(&scene.relay, &homes);
    assert_taken(&scene.reload(Ok(config(None, None))).await);
    let (_visitor, hello) = Visitor::hello(scene.relay.address(), ROUTED_NAME).await;
    newcomer.accept(&hello).await;
    let (mut stranger, _) = Visitor::hello(scene.relay.address(), STRANGE_NAME).await;
    assert_eq!(stranger.read_to_end().await, b"");

    scene.begin_to_move().await;
    scene.go_on().await;
    let status = scene.relay.status().await;
    let mut rows = status.homes.iter();
    let row = rows.find(|it| it.hostname.as_str() == HOME_NAME).unwrap();
    assert_eq!(row.legs_now, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_goes_on_when_the_new_files_are_refused() {
    let mut scene = Scene::start().await;
    let reply = scene.reload(Err("line 7 is wrong")).await;
    refused(&reply, &["line 7 is wrong"]);
    let path = scene.relay.file("homes.toml");
    let good = fs::read_to_string(&path).unwrap();
    for (homes, word) in [
        (good.replace("hostname", "name"), "homes.toml is damaged"),
        // Without its row a home would have to go.
        (good.replace(HOME_NAME, ROUTED_NAME), "route"),
    ] {
        fs::write(&path, homes).unwrap();
        let config = config(Some(&scene.routed), None);
        refused(&scene.reload(Ok(config)).await, &[word]);
    }
    // What was in force before still is, for those who come, too.
    scene.assert_leads_to(ROUTED_NAME, &scene.routed).await;
    scene.assert_leads_to(STRANGE_NAME, &scene.fallback).await;
    let reloads = scene.relay.status().await.reloads;
    assert_eq!((reloads.taken, reloads.refused), (1, 3));
}

over_ipv6! {
    each_kind_goes_on_whatever_the_new_files_say,
    each_kind_goes_on_when_the_new_files_are_refused,
}
