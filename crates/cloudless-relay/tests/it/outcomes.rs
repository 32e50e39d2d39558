//! Each outcome has its metric and its line in the log, the refusals above all.

use std::collections::BTreeSet;
use std::time::Duration;

use cloudless_proto::control::{FromHome, FromRelay, VERSION};
use cloudless_proto::join_code::JoinSecret;
use cloudless_proto::leg::{THRESHOLD, Ticket, Token};
use cloudless_proto::takeover::Instance;
use cloudless_relay::admin::Command;
use cloudless_relay::{Config, Outcome, Reread, Servers, Source};
use h2::Reason;
#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{
    HOME_NAME, HomeKey, Log, RELAY_NAME, SshHome, TestRelay, Tunnel, Visitor, client_hello,
    connect_tls, long_tunnel_hello, test_config, tls_config, tunnel_hello,
};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3600);
const OTHER_NAME: &str = "other.example.test";

/// One thread for all, so that the log of all is this test's.
#[tokio::test]
async fn each_outcome_is_counted_and_told_at_debug() {
    let (log, _guard) = Log::start();
    let mut seen = Seen::default();

    #[cfg(unix)]
    descriptors(&mut seen, &log).await;
    hellos(&mut seen).await;
    late_hellos(&mut seen).await;
    plain_http(&mut seen).await;
    load_balancers(&mut seen).await;
    limits(&mut seen).await;
    visitors(&mut seen).await;
    cuts(&mut seen).await;
    legs(&mut seen).await;
    tunnels(&mut seen).await;
    refused_homes(&mut seen).await;
    joins(&mut seen).await;
    ssh(&mut seen).await;

    let log = log.text();
    for outcome in Outcome::ALL {
        let name = outcome.name();
        // All wrong ClientHellos take one way, by a table that the compiler checks.
        if name.starts_with("malformed_") && *outcome != Outcome::MalformedHostname {
            continue;
        }
        // What only a later relay says.
        if *outcome == Outcome::RefusedOther {
            continue;
        }
        assert!(seen.0.contains(name), "nothing here leads to {name}");
        let told = log
            .lines()
            .any(|line| line.contains("DEBUG") && line.contains(&format!("class=\"{name}\"")));
        assert!(told, "{name} is not in the log");
    }
}

/// The classes that have moved.
#[derive(Default)]
struct Seen(BTreeSet<&'static str>);

impl Seen {
    /// Waits until the relay has counted it.
    async fn expect(&mut self, relay: &TestRelay, outcome: Outcome) {
        relay.until_outcome(outcome.name(), 1).await;
        self.0.insert(outcome.name());
    }
}

/// What SSH clients come to.
async fn ssh(seen: &mut Seen) {
    let relay = TestRelay::start_with(|config| config.timings.ssh_login = SHORT).await;
    let mut stranger = Visitor::connect(relay.ssh).await;
    stranger.send(b"GET / HTTP/1.1\r\n\r\n").await;
    stranger.gone().await;
    seen.expect(&relay, Outcome::SshHandshakeFailed).await;
    let mut silent = Visitor::connect(relay.ssh).await;
    silent.send(b"SSH-2.0-silent\r\n").await;
    silent.gone().await;
    seen.expect(&relay, Outcome::SshLoginTimeout).await;
    let relay = TestRelay::start_with(|config| config.timings.handshake = SHORT).await;
    relay.allow_ssh(HOME_NAME, 1).await;
    let mut idle = SshHome::connect(relay.ssh).await;
    assert!(idle.login(1).await);
    seen.expect(&relay, Outcome::SshNothingForwarded).await;
    let relay = TestRelay::start().await;
    relay.allow_ssh(HOME_NAME, 1).await;
    let home = SshHome::publish(relay.ssh, 1, HOME_NAME).await;
    while home.forward(OTHER_NAME, 443).await.is_err() && !home.handle.is_closed() {}
    seen.expect(&relay, Outcome::SshRefused).await;
}

/// A relay with a server that is not there for this name.
fn route(config: &mut Config, pattern: &str) {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = Servers {
        https: Some(dead.local_addr().unwrap().into()),
        http: None,
        proxy_protocol: None,
    };
    config.routes.0.insert(pattern.parse().unwrap(), servers);
}

async fn hellos(seen: &mut Seen) {
    let relay = TestRelay::start_with(|config| route(config, "www.example.test")).await;
    let long = [&[0x16, 3, 1, 0x40, 0][..], &[1, 0, 0xa0, 0], &[0; 0x3ffc]].concat();
    for (hello, outcome) in [
        (client_hello("unknown.test"), Outcome::UnknownName),
        (client_hello("192.0.2.1"), Outcome::NoServerName),
        (client_hello(RELAY_NAME), Outcome::OwnName),
        (client_hello("www.example.test"), Outcome::Route),
        (client_hello("under_score.test"), Outcome::MalformedHostname),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Outcome::NotTls),
        (long, Outcome::TooLong),
    ] {
        let mut visitor = Visitor::connect(relay.address()).await;
        visitor.send(&hello).await;
        visitor.gone().await;
        seen.expect(&relay, outcome).await;
    }
    seen.expect(&relay, Outcome::ServerUnreachable).await;
    let mut visitor = Visitor::connect(relay.address()).await;
    visitor.send(b"\x16\x03").await;
    visitor.finish().await;
    seen.expect(&relay, Outcome::ClosedEarly).await;
}

/// The process has no file descriptor left for a connection.
#[cfg(unix)]
async fn descriptors(seen: &mut Seen, log: &Log) {
    let relay = TestRelay::start().await;
    // It has opened all that it needs.
    let mut visitor = Visitor::connect(relay.address()).await;
    visitor.finish().await;
    seen.expect(&relay, Outcome::ClosedEarly).await;
    let before = getrlimit(Resource::Nofile);
    let _waiting = std::net::TcpStream::connect(relay.address()).unwrap();
    let none = Rlimit {
        current: Some(0),
        ..before
    };
    setrlimit(Resource::Nofile, none).unwrap();
    while !log.text().contains(Outcome::AcceptFailed.name()) {
        tokio::task::yield_now().await;
    }
    setrlimit(Resource::Nofile, before).unwrap();
    seen.expect(&relay, Outcome::AcceptFailed).await;
}

async fn late_hellos(seen: &mut Seen) {
    let relay = TestRelay::start_with(|config| config.timings.client_hello = SHORT).await;
    let mut visitor = Visitor::connect(relay.address()).await;
    visitor.gone().await;
    seen.expect(&relay, Outcome::ClientHelloTimeout).await;
    let mut visitor = Visitor::connect(relay.http_address()).await;
    visitor.gone().await;
    seen.expect(&relay, Outcome::HttpTimeout).await;
}

async fn plain_http(seen: &mut Seen) {
    let relay = TestRelay::start_with(|config| {
        route(config, "www.example.test");
        config.hold = SHORT;
    })
    .await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(64 * 1024));
    for (request, outcome) in [
        (get("/", "unknown.test"), Outcome::HttpUnknownHost),
        (get("/", RELAY_NAME), Outcome::HttpOwnName),
        (get("/", "www.example.test"), Outcome::HttpRoute),
        (get("/", HOME_NAME), Outcome::HttpRedirect),
        (
            get("/.well-known/acme-challenge/a", HOME_NAME),
            Outcome::HttpValidation,
        ),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), Outcome::HttpNoHost),
        ("\r\rnonsense\r\n\r\n".to_owned(), Outcome::HttpMalformed),
        (long, Outcome::HttpTooLong),
    ] {
        let mut visitor = Visitor::connect(relay.http_address()).await;
        // The relay need not read all of what is too long.
        let _ = visitor.stream.write_all(request.as_bytes()).await;
        visitor.gone().await;
        seen.expect(&relay, outcome).await;
    }
    let mut visitor = Visitor::connect(relay.http_address()).await;
    visitor.send(b"GET").await;
    visitor.finish().await;
    seen.expect(&relay, Outcome::HttpClosedEarly).await;
}

async fn load_balancers(seen: &mut Seen) {
    let relay = TestRelay::start_with(|config| {
        config.load_balancers = vec!["127.0.0.0/8".parse().unwrap()];
        config.timings.client_hello = SHORT;
    })
    .await;
    let mut silent = Visitor::connect(relay.address()).await;
    silent.gone().await;
    seen.expect(&relay, Outcome::ProxyProtocolTimeout).await;
    let (mut bare, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    bare.gone().await;
    seen.expect(&relay, Outcome::ProxyProtocolMissing).await;
}

async fn limits(seen: &mut Seen) {
    let relay = TestRelay::start_with(|config| config.limits.handshakes = 1).await;
    let mut first = Visitor::connect(relay.address()).await;
    let _second = Visitor::connect(relay.address()).await;
    first.gone().await;
    seen.expect(&relay, Outcome::HandshakeLimit).await;

    let relay = TestRelay::start_with(|config| config.limits.connections_per_source = 1).await;
    let mut first = Visitor::connect(relay.address()).await;
    let _second = Visitor::connect(relay.address()).await;
    first.gone().await;
    seen.expect(&relay, Outcome::SourceLimit).await;

    for (visitors, visitors_per_home, outcome) in [
        (1, 1000, Outcome::VisitorLimit),
        (1000, 1, Outcome::HomeLimit),
    ] {
        let relay = TestRelay::start_with(|config| {
            config.limits.visitors = visitors;
            config.limits.visitors_per_home = visitors_per_home;
        })
        .await;
        let mut home = relay.home(HomeKey(1), HOME_NAME).await;
        let (_first, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        let _stream = home.accept(&hello).await;
        let (_second, _) = Visitor::hello(relay.address(), HOME_NAME).await;
        seen.expect(&relay, outcome).await;
    }

    let relay = TestRelay::start_with(|config| config.limits.sessions = 1).await;
    let _home = relay.home(HomeKey(1), HOME_NAME).await;
    relay.enroll(HomeKey(2), OTHER_NAME).await;
    let mut other = Tunnel::dial(relay.address(), HomeKey(2)).await;
    other.hello(2, 1);
    other.hear_refused().await;
    seen.expect(&relay, Outcome::SessionLimit).await;
    seen.expect(&relay, Outcome::RefusedRateLimited).await;
}

async fn visitors(seen: &mut Seen) {
    let relay = TestRelay::start_with(|config| config.hold = SHORT).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    visitor.gone().await;
    seen.expect(&relay, Outcome::HomeOffline).await;
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 1).await;
    seen.expect(&relay, Outcome::Joined).await;
    seen.expect(&relay, Outcome::Session).await;
    let (_refused, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.arrival().await.refuse();
    seen.expect(&relay, Outcome::HomeRefused).await;
    let (_reset, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.arrival().await.respond.send_reset(Reason::CANCEL);
    seen.expect(&relay, Outcome::HomeReset).await;

    let relay = TestRelay::start_with(|config| {
        config.hold = SHORT;
        config.limits.strangers_per_home = 1;
        config.timings.stranger = Duration::from_secs(3600);
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (_first, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let _stream = home.accept(&hello).await;
    let (mut second, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    second.gone().await;
    seen.expect(&relay, Outcome::StrangerLimit).await;

    let relay = TestRelay::start_with(|config| {
        config.timings.idle = SHORT;
        config.limits.queued_bytes_per_home = 64 * 1024;
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut silent, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"hello").await.unwrap();
    silent.expect(b"hello").await;
    seen.expect(&relay, Outcome::Visitor).await;
    seen.expect(&relay, Outcome::VisitorSilent).await;
    let (_deaf, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    while stream.send(&[0; 64 * 1024]).await.is_ok() {}
    seen.expect(&relay, Outcome::VisitorStalled).await;
}

/// What ends a visit that has begun.
async fn cuts(seen: &mut Seen) {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let begin = async |home: &mut Tunnel| {
        let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        let mut stream = home.accept(&hello).await;
        stream.send(b"hello").await.unwrap();
        visitor.expect(b"hello").await;
        (visitor, stream)
    };
    let (mut visitor, mut stream) = begin(&mut home).await;
    stream.send.send_reset(Reason::CANCEL);
    visitor.expect_reset().await;
    seen.expect(&relay, Outcome::VisitorCut).await;
    // Whoever ends a visit itself is none of these.
    let (visitor, mut stream) = begin(&mut home).await;
    visitor.reset();
    stream.expect_reset().await;
    let (mut visitor, _stream) = begin(&mut home).await;
    drop(home);
    visitor.expect_reset().await;
    seen.expect(&relay, Outcome::VisitorTunnelLost).await;
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 2).await;
    let (mut visitor, _stream) = begin(&mut home).await;
    let hostname = HOME_NAME.parse().unwrap();
    relay.command(&Command::Revoke { hostname }).await;
    visitor.expect_reset().await;
    seen.expect(&relay, Outcome::VisitorUnbound).await;
    for outcome in [Outcome::VisitorCut, Outcome::VisitorTunnelLost] {
        assert_eq!(relay.outcome(outcome.name()).await, 1, "{outcome:?}");
    }
}

async fn legs(seen: &mut Seen) {
    let relay = TestRelay::start().await;
    let mut home = leg_home(&relay).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    let bulk = vec![7; usize::try_from(THRESHOLD).unwrap()];
    stream.send(&bulk).await.unwrap();
    visitor.expect(&bulk).await;
    let Some(FromRelay::Leg { number, token, .. }) = home.hear().await else {
        panic!("no leg is offered");
    };
    let right = Ticket { number, token };
    let wrong = Ticket {
        number,
        token: Token::new([9; 16]),
    };
    for (ticket, outcome) in [(&wrong, Outcome::LegRefused), (&right, Outcome::Leg)] {
        let mut leg = TcpStream::connect(relay.address()).await.unwrap();
        leg.write_all(&ticket.preface()).await.unwrap();
        seen.expect(&relay, outcome).await;
    }
    // The home has dropped that leg.
    while visitor.stream.write_all(&[7; 1024]).await.is_ok() {}
    seen.expect(&relay, Outcome::VisitorLegBroke).await;
    let part = &right.preface()[..20];
    let mut early = Visitor::connect(relay.address()).await;
    early.send(part).await;
    early.finish().await;
    seen.expect(&relay, Outcome::LegClosedEarly).await;
    let mut late = Visitor::connect(relay.address()).await;
    late.send(part).await;
    late.gone().await;
    seen.expect(&relay, Outcome::LegTimeout).await;

    let relay = TestRelay::start_with(|config| config.limits.legs = 0).await;
    let mut home = leg_home(&relay).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(&bulk).await.unwrap();
    visitor.expect(&bulk).await;
    seen.expect(&relay, Outcome::LegLimit).await;
}

/// A home that would dial legs.
async fn leg_home(relay: &TestRelay) -> Tunnel {
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let mut home = Tunnel::dial(relay.address(), HomeKey(1)).await;
    home.hello_with_legs(1, 1);
    home.hear_welcome().await;
    home
}

async fn tunnels(seen: &mut Seen) {
    let relay = TestRelay::start_with(|config| {
        config.timings.handshake = SHORT;
        config.timings.ping_interval = SHORT;
        config.timings.dead_after = 3 * SHORT;
    })
    .await;
    let mut silent = Visitor::connect(relay.address()).await;
    silent.send(&tunnel_hello()).await;
    silent.gone().await;
    seen.expect(&relay, Outcome::TunnelHandshakeTimeout).await;
    let mut wrong = Visitor::connect(relay.address()).await;
    wrong.send(&tunnel_hello()).await;
    wrong.send(b"nonsense").await;
    wrong.gone().await;
    seen.expect(&relay, Outcome::TunnelHandshakeFailed).await;
    // Thousands of tunnels may wait for their turn, each with its ClientHello.
    let mut long = Visitor::connect(relay.address()).await;
    long.send(&long_tunnel_hello(8 * 1024)).await;
    long.gone().await;
    relay.until_outcome("tunnel_handshake_failed", 2).await;
    let home = relay.home(HomeKey(1), HOME_NAME).await;
    home.freeze();
    seen.expect(&relay, Outcome::TunnelSilent).await;

    let relay = TestRelay::start_with(|config| config.timings.handshake = LONG).await;
    let mut other = connect_tls(relay.address(), tls_config(HomeKey(2)))
        .await
        .unwrap();
    other.write_all(&[0xff; 64]).await.unwrap();
    other.flush().await.unwrap();
    seen.expect(&relay, Outcome::TunnelFailed).await;
}

async fn refused_homes(seen: &mut Seen) {
    let relay = TestRelay::start().await;
    let _home = relay.home(HomeKey(1), HOME_NAME).await;
    let hello = |version, instance, epoch| FromHome::Hello {
        version,
        software: "test/1".to_owned(),
        instance: Instance::new([instance; 16]),
        epoch,
        legs: false,
        probes: false,
    };
    for (key, hello, outcome) in [
        (1, hello(VERSION, 1, 1), Outcome::RefusedOldEpoch),
        (1, hello(VERSION, 9, 1), Outcome::RefusedOtherInstance),
        (3, hello(VERSION, 3, 1), Outcome::RefusedUnknownKey),
        (1, hello(VERSION + 1, 1, 2), Outcome::RefusedVersion),
    ] {
        let mut tunnel = Tunnel::dial(relay.address(), HomeKey(key)).await;
        tunnel.say(&hello);
        tunnel.hear_refused().await;
        seen.expect(&relay, outcome).await;
    }
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
    tunnel.say_bytes(b"nonsense\n".to_vec());
    tunnel.hear_refused().await;
    seen.expect(&relay, Outcome::RefusedMalformed).await;
}

async fn joins(seen: &mut Seen) {
    let source = Source::new(|| {
        Ok(Reread {
            config: test_config(),
            waiting: Vec::new(),
        })
    });
    let relay = TestRelay::start_with(|config| config.source = Some(source)).await;
    let code = relay.invite(HOME_NAME).await;
    let mut guess = code.clone();
    guess.secret = JoinSecret::new([9; 16]);
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(2)).await;
    tunnel.join(&guess);
    tunnel.hear_refused().await;
    seen.expect(&relay, Outcome::RefusedJoinRejected).await;
    // Only who writes the file by hand leaves an invite for a name that has an owner.
    let owner = HomeKey(3).public();
    let homes = format!(
        "[[home]]\nhostname = \"{HOME_NAME}\"\nkey = \"{owner}\"\njoined = 2026-01-01T00:00:00Z\n"
    );
    std::fs::write(relay.file("homes.toml"), homes).unwrap();
    relay.command(&Command::Reload).await;
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
    tunnel.join(&code);
    tunnel.hear_refused().await;
    seen.expect(&relay, Outcome::RefusedHostnameTaken).await;
}
