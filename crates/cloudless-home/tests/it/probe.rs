//! Home reaches itself through its public name, or says why not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloudless_home::admin::{Command, Reply};
use cloudless_home::status::{PublicStatus, Reachability};
use cloudless_home::{Config, Passthrough, ProbeConfig, Resolver};
use cloudless_proto::control::{FromHome, Reach};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::fixture::{HOST, Home, PATIENCE, doubtful};
use crate::relay::{FakeRelay, FakeSession};
use crate::visitor::pipe;

/// A listener of each family.
async fn listen() -> [TcpListener; 2] {
    let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let v6 = TcpListener::bind("[::1]:0").await.unwrap();
    [v4, v6]
}

fn addresses(listeners: &[TcpListener; 2]) -> Vec<SocketAddr> {
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    listeners.iter().map(address).collect()
}

/// Tries the name at these addresses soon after each session, and then only when asked.
fn probe(addresses: Vec<SocketAddr>) -> ProbeConfig {
    ProbeConfig {
        resolver: Resolver::Fixed(addresses),
        interval: Duration::from_secs(3600),
        soon: Duration::from_millis(10),
        limit: Duration::from_secs(2),
        ..ProbeConfig::default()
    }
}

async fn start(probe: ProbeConfig) -> (FakeRelay, Home, FakeSession) {
    start_with(probe, |_| {}).await
}

async fn start_with(
    probe: ProbeConfig,
    adjust: impl FnOnce(&mut Config),
) -> (FakeRelay, Home, FakeSession) {
    let relay = FakeRelay::bind().await;
    let home = Home::start_with(vec![relay.relay()], |config| {
        config.probe = Some(probe);
        adjust(config);
    })
    .await;
    let session = relay.welcome(HOST).await;
    home.connected().await;
    (relay, home, session)
}

/// What the home says after another try.
async fn check(home: &Home) -> PublicStatus {
    match timeout(PATIENCE, home.ask(&Command::Check)).await.unwrap() {
        Reply::Status(mut status) => status.public.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Passes what comes to the listeners into the tunnel, like a relay's port 443.
async fn forward([v4, v6]: &[TcpListener; 2], session: &FakeSession) {
    tokio::join!(forward_one(v4, session), forward_one(v6, session));
}

async fn forward_one(listener: &TcpListener, session: &FakeSession) {
    let mut visitors = JoinSet::new();
    loop {
        let mut visitor = listener.accept().await.unwrap().0;
        let mut stream = pipe(session.connect(HOST).await);
        visitors.spawn(async move {
            let _ = copy_bidirectional(&mut visitor, &mut stream).await;
        });
    }
}

/// Closes what comes to the listeners at once.
async fn turn_away([v4, v6]: &[TcpListener; 2]) {
    tokio::join!(turn_away_one(v4), turn_away_one(v6));
}

async fn turn_away_one(listener: &TcpListener) {
    loop {
        drop(listener.accept().await.unwrap());
    }
}

/// Lets `relay` be what stands at the public addresses while home tries them.
async fn while_at<T>(relay: impl Future<Output = ()>, trial: impl Future<Output = T>) -> T {
    tokio::select! {
        () = relay => panic!("the relay ended"),
        tried = trial => tried,
    }
}

#[track_caller]
fn says(row: &PublicStatus, state: Reachability, words: &[&str]) {
    assert_eq!(row.state, state, "{row:?}");
    let message = row.message.as_deref().unwrap_or_default();
    for word in words {
        assert!(message.contains(word), "{word}: {row:?}");
    }
}

#[tokio::test]
async fn a_home_that_reaches_itself_is_online_until_its_session_ends() {
    let listeners = listen().await;
    let (relay, home, session) = start(probe(addresses(&listeners))).await;
    let public = || async { home.status().await.public.remove(0) };
    let online = while_at(forward(&listeners, &session), async {
        loop {
            let row = public().await;
            if row.state != Reachability::Checking {
                return row;
            }
        }
    });
    let row = timeout(PATIENCE, online).await.unwrap();
    says(&row, Reachability::Online, &[]);
    assert!(row.checked_at.is_some());
    let states: Vec<_> = row.addresses.iter().map(|it| it.state).collect();
    assert_eq!(states, [Reachability::Online; 2]);

    session.kill();
    home.relay_status(|row| row.next_dial.is_some()).await;
    says(&public().await, Reachability::Offline, &[]);
    says(&check(&home).await, Reachability::Offline, &[]);
    // The new session is not online because the old one was.
    let _session = relay.welcome(HOST).await;
    home.connected().await;
    assert_ne!(public().await.state, Reachability::Online);
}

/// The home's next message about its name.
async fn told(session: &mut FakeSession) -> (Reach, Option<String>) {
    match timeout(PATIENCE, session.hear()).await.unwrap() {
        Some(FromHome::Reach {
            hostname,
            reach,
            message,
        }) if hostname.as_str() == HOST => (reach, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_relay_is_told_what_came_of_it_in_each_session() {
    let listeners = listen().await;
    let nobody = addresses(&listeners);
    drop(listeners);
    let (relay, _home, mut session) = start(probe(nobody)).await;
    for _ in 0..2 {
        let FromHome::Hello { probes, .. } = session.first else {
            panic!("{:?}", session.first);
        };
        assert!(probes);
        let (mut reach, mut message) = told(&mut session).await;
        if reach == Reach::Checking {
            (reach, message) = told(&mut session).await;
        }
        assert_eq!(reach, Reach::Fails);
        let message = message.unwrap();
        assert!(message.contains("127.0.0.1"), "{message}");
        session.kill();
        session = relay.welcome(HOST).await;
    }
}

#[tokio::test]
async fn a_relay_that_takes_nothing_is_told_what_is_so_then_and_not_all_that_was() {
    const CHECKS: usize = 20;
    let listeners = listen().await;
    let mut relay = FakeRelay::bind().await;
    relay.window = 512;
    let home = Home::start_with(vec![relay.relay()], |config| {
        config.probe = Some(probe(addresses(&listeners)));
    })
    .await;
    let mut session = relay.welcome(HOST).await;
    home.connected().await;
    let [v4, v6] = &listeners;
    for n in 0..CHECKS {
        let (state, row) = if n % 2 == 0 {
            let row = while_at(turn_away(&listeners), check(&home)).await;
            (Reachability::Unreachable, row)
        } else {
            let row = while_at(forward(&listeners, &session), check(&home)).await;
            (Reachability::Online, row)
        };
        says(&row, state, &[]);
    }
    let half = async {
        tokio::join!(forward_one(v4, &session), turn_away_one(v6));
    };
    says(
        &while_at(half, check(&home)).await,
        Reachability::Partly,
        &[],
    );
    // A few fit before the window was full, and one was on its way.
    let mut n_told = 1;
    while told(&mut session).await.0 != Reach::Partly {
        n_told += 1;
    }
    assert!(n_told < CHECKS / 2, "{n_told} messages");
}

#[tokio::test]
async fn a_home_whose_session_is_in_doubt_is_not_called_online() {
    let listeners = listen().await;
    let (_relay, home, session) = start_with(probe(addresses(&listeners)), doubtful).await;
    let public = || async { home.status().await.public.remove(0).state };
    let trial = async {
        while public().await != Reachability::Online {}
        session.freeze(true);
        home.relay_status(|row| row.error.is_some()).await;
        assert_ne!(public().await, Reachability::Online);
        // Nobody asks for it: what is well again is found out.
        session.freeze(false);
        while public().await != Reachability::Online {}
    };
    let trial = while_at(forward(&listeners, &session), trial);
    timeout(PATIENCE, trial).await.unwrap();
}

#[tokio::test]
async fn a_relay_of_two_that_is_lost_is_missed_at_once() {
    let [v4, v6] = listen().await;
    let at = vec![v4.local_addr().unwrap(), v6.local_addr().unwrap()];
    let relays = [FakeRelay::bind().await, FakeRelay::bind().await];
    let home = Home::start_with(relays.each_ref().map(FakeRelay::relay).to_vec(), |config| {
        config.probe = Some(probe(at));
    })
    .await;
    let first = relays[0].welcome(HOST).await;
    let second = relays[1].welcome(HOST).await;
    let public = || async { home.status().await.public.remove(0) };
    let trial = async {
        let forwarding = async {
            tokio::join!(forward_one(&v4, &first), forward_one(&v6, &second));
        };
        while_at(forwarding, async {
            while public().await.state != Reachability::Online {}
        })
        .await;
        drop(v6);
        second.kill();
        while_at(forward_one(&v4, &first), async {
            loop {
                let row = public().await;
                match row.state {
                    Reachability::Online | Reachability::Checking => {}
                    Reachability::Partly => break,
                    _ => panic!("{row:?}"),
                }
            }
        })
        .await;
    };
    timeout(PATIENCE, trial).await.unwrap();
}

#[tokio::test]
async fn whoever_looks_is_never_told_what_was_true_a_while_ago() {
    let listeners = listen().await;
    let at = addresses(&listeners);
    let old = ProbeConfig {
        fresh: Duration::ZERO,
        look: Duration::from_millis(200),
        limit: Duration::from_secs(3600),
        ..probe(at.clone())
    };
    let (_relay, home, session) = start(old).await;
    let public = || async { home.status().await.public.remove(0).state };
    while_at(forward(&listeners, &session), async {
        while public().await != Reachability::Online {}
    })
    .await;
    // Connections are taken and go nowhere, and nobody has noticed yet.
    assert_eq!(public().await, Reachability::Checking);
    drop(listeners);
    let trial = async { while public().await != Reachability::Unreachable {} };
    timeout(PATIENCE, trial).await.unwrap();
}

#[tokio::test]
async fn one_family_that_does_not_lead_home_is_named() {
    let [v4, v6] = listen().await;
    let works = addresses(&[v4, v6]);
    let nobody = TcpListener::bind("[::1]:0").await.unwrap();
    let silent = nobody.local_addr().unwrap();
    drop(nobody);
    let listeners = [
        TcpListener::bind(works[0]).await.unwrap(),
        TcpListener::bind(works[1]).await.unwrap(),
    ];
    let (_relay, home, session) = start(probe(vec![works[0], silent])).await;
    let row = while_at(forward(&listeners, &session), check(&home)).await;
    says(
        &row,
        Reachability::Partly,
        &[
            "works over IPv4, not over IPv6",
            "leads to ::1",
            "AAAA record",
        ],
    );
}

#[tokio::test]
async fn nobody_at_the_address() {
    let listeners = listen().await;
    let at = addresses(&listeners);
    drop(listeners);
    let (_relay, home, _session) = start(probe(vec![at[0]])).await;
    says(
        &check(&home).await,
        Reachability::Unreachable,
        &["nothing listens at 127.0.0.1", &at[0].port().to_string()],
    );
}

#[tokio::test]
async fn somebody_who_closes_and_somebody_who_says_nothing() {
    let [v4, _v6] = listen().await;
    let at = v4.local_addr().unwrap();
    let (_relay, home, _session) = start(probe(vec![at])).await;
    let closes = async {
        loop {
            drop(v4.accept().await.unwrap());
        }
    };
    let row = while_at(closes, check(&home)).await;
    says(
        &row,
        Reachability::Unreachable,
        &["closes connections for home.example.org"],
    );

    let mut held: Vec<TcpStream> = Vec::new();
    let holds = async {
        loop {
            held.push(v4.accept().await.unwrap().0);
        }
    };
    let row = while_at(holds, check(&home)).await;
    says(&row, Reachability::Unreachable, &["does nothing with them"]);
}

#[tokio::test]
async fn another_server_is_named_by_its_certificate_even_with_homes_name() {
    let [v4, _v6] = listen().await;
    let at = v4.local_addr().unwrap();
    let (_relay, home, _session) = start(probe(vec![at])).await;
    for (name, words) in [
        (
            "www.example.org",
            "the certificate there is for www.example.org",
        ),
        // As a second home with this one's names would have.
        (HOST, "somebody else answers for home.example.org"),
    ] {
        let server = certified(name);
        let serve = async {
            loop {
                let visitor = v4.accept().await.unwrap().0;
                let _ = server.accept(visitor).await;
            }
        };
        let row = while_at(serve, check(&home)).await;
        says(&row, Reachability::Unreachable, &[words]);
    }
}

#[tokio::test]
async fn a_captive_portal_and_an_alert_are_told_apart() {
    let [v4, _v6] = listen().await;
    let at = v4.local_addr().unwrap();
    let (_relay, home, _session) = start(probe(vec![at])).await;
    let portal = &b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n"[..];
    // What a relay says of a home that is not there.
    let alert = &b"\x15\x03\x03\x00\x02\x02\x50"[..];
    for (answer, words) in [
        (portal, "another server answers there"),
        (alert, "closes connections for home.example.org"),
    ] {
        let says_so = async {
            let mut visitors = Vec::new();
            loop {
                let mut visitor = v4.accept().await.unwrap().0;
                visitor.write_all(answer).await.unwrap();
                visitors.push(visitor);
            }
        };
        let row = while_at(says_so, check(&home)).await;
        says(&row, Reachability::Unreachable, &[words]);
    }
}

/// A TLS server with a certificate that it made itself.
fn certified(name: &str) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_passed_through_name_is_tried_too_up_to_its_own_server() {
    let listeners = listen().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = server.local_addr().unwrap();
    let (_relay, home, session) = start_with(probe(addresses(&listeners)), |config| {
        let passthrough = Passthrough {
            tls: Some(behind.to_string().parse().unwrap()),
            ..Passthrough::default()
        };
        config
            .passthrough
            .insert(HOST.parse().unwrap(), passthrough);
    })
    .await;
    let certified = certified(HOST);
    let serve = async {
        let mut visitors = JoinSet::new();
        loop {
            let visitor = server.accept().await.unwrap().0;
            visitors.spawn(certified.accept(visitor));
        }
    };
    let relay = async {
        tokio::join!(forward(&listeners, &session), serve);
    };
    let row = while_at(relay, check(&home)).await;
    says(&row, Reachability::Online, &[]);

    drop(server);
    let row = while_at(forward(&listeners, &session), check(&home)).await;
    says(
        &row,
        Reachability::Unreachable,
        &["visitors reach this home", "passthrough"],
    );
}

#[tokio::test]
async fn a_name_that_nobody_knows() {
    let unknown = ProbeConfig {
        resolver: Resolver::System,
        ..probe(Vec::new())
    };
    let (_relay, home, _session) = start_with(unknown, |config| {
        // Never in the DNS (RFC 6761 section 6.4).
        config.hostnames = vec!["home.invalid".parse().unwrap()];
    })
    .await;
    says(
        &check(&home).await,
        Reachability::Unreachable,
        &["cannot find the address of home.invalid", "127.0.0.1"],
    );
}
