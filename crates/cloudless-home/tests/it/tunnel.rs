//! Sessions: the greeting, losing them, replacing them, refusals.

use std::time::Duration;

use cloudless_home::status::RelayState;
use cloudless_proto::control::{self, FromHome, FromRelay, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::fixture::{HOST, Home, PATIENCE, doubtful};
use crate::relay::{FakeRelay, FakeSession, SERVER_NAME};
use crate::slow_path::SlowPath;
use crate::visitor::{http1, request, tls};

#[tokio::test]
async fn home_proves_its_key_and_says_hello() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let mut session = relay.accept().await;
    assert_eq!(session.home_key, home.key);
    assert_eq!(session.server_name, SERVER_NAME);
    let FromHome::Hello {
        version,
        software,
        epoch,
        ..
    } = &session.first
    else {
        panic!("{:?}", session.first);
    };
    assert_eq!((*version, *epoch), (control::VERSION, 1));
    assert!(software.starts_with("cloudless "), "{software}");

    session.welcome(HOST);
    let row = home
        .relay_status(|row| row.state == RelayState::Connected)
        .await;
    assert_eq!(row.hostnames, [HOST.parse().unwrap()]);
    assert_eq!(row.error, None);
}

#[tokio::test]
async fn unknown_messages_are_skipped_and_new_names_noted() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let mut session = relay.accept().await;
    session.say_bytes(b"{\"type\":\"from_the_future\",\"x\":[1]}\n".to_vec());
    session.welcome(HOST);
    home.connected().await;
    let hostnames = vec!["other.example.org".parse().unwrap()];
    session.say(&FromRelay::Hostnames {
        hostnames: hostnames.clone(),
    });
    home.relay_status(|row| row.hostnames == hostnames).await;
}

#[tokio::test]
async fn a_relay_that_dies_is_dialed_again_with_the_next_epoch() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let mut instances = Vec::new();
    for round in 1..=3 {
        let session = relay.welcome(HOST).await;
        home.connected().await;
        assert_eq!(session.epoch(), round);
        let FromHome::Hello { instance, .. } = &session.first else {
            panic!()
        };
        instances.push(*instance);
        session.kill();
        home.relay_status(|row| row.state == RelayState::Dialing)
            .await;
    }
    assert!(instances.windows(2).all(|pair| pair[0] == pair[1]));
}

/// A virtual machine that was copied while it ran: whoever comes second takes another instance, so that
/// the relay asks for a sign of life of the first one and refuses this one.
#[tokio::test]
async fn a_home_whose_newest_session_is_old_to_the_relay_has_a_twin() {
    let relay = FakeRelay::bind().await;
    let _home = Home::start(vec![relay.relay()]).await;
    let instance = |session: &FakeSession| match &session.first {
        FromHome::Hello { instance, .. } => *instance,
        first => panic!("{first:?}"),
    };
    let mut session = relay.accept().await;
    let before = instance(&session);
    session.say(&FromRelay::Refused {
        reason: Refusal::OldEpoch,
        message: "this key has another session".to_owned(),
        retry_after_ms: None,
    });
    let after = relay.accept().await;
    assert_ne!(instance(&after), before);
    assert_eq!(after.epoch(), 2);
}

#[tokio::test]
async fn the_status_says_how_long_a_ping_takes_and_what_went_wrong_before() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let session = relay.welcome(HOST).await;
    let row = home.relay_status(|row| row.round_trip.is_some()).await;
    assert!(row.round_trip.is_some_and(|it| it.last_us > 0));
    assert_eq!(row.address, Some(relay.address()));
    assert_eq!((row.next_dial, row.last_error), (None, None));

    session.kill();
    let row = home
        .relay_status(|row| row.state == RelayState::Dialing && row.next_dial.is_some())
        .await;
    assert_eq!((row.address, row.round_trip), (None, None));
    let failure = row.last_error.unwrap();
    assert_eq!(row.error, Some(failure.message));
    let _session = relay.welcome(HOST).await;
    let row = home
        .relay_status(|row| row.state == RelayState::Connected)
        .await;
    // It is over, and still told.
    assert_eq!(row.error, None);
    assert!(row.last_error.is_some_and(|error| error.at >= failure.at));
}

#[tokio::test]
async fn a_relay_that_hangs_in_the_handshake_does_not_hold_back_the_next_dial() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let hanging = relay.ignore_one().await;
    let mut session = relay.accept().await;
    // The next one came although the first is still waiting for its handshake.
    let mut hello = [0; 16 * 1024];
    assert!(hanging.try_read(&mut hello).unwrap() > 0);
    let error = hanging.try_read(&mut hello).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    session.welcome(HOST);
    home.connected().await;
}

#[tokio::test]
async fn the_second_address_is_used_when_the_first_is_dead() {
    let relay = FakeRelay::bind().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut config = relay.relay();
    config.addresses.insert(0, "name.invalid:443".into());
    config.addresses.insert(1, dead.to_string());
    let home = Home::start(vec![config]).await;
    let _session = relay.welcome(HOST).await;
    home.connected().await;
}

#[tokio::test]
async fn an_address_that_is_slow_is_waited_for_beside_the_others() {
    let relay = FakeRelay::bind().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = relay.relay();
    config
        .addresses
        .push(other.local_addr().unwrap().to_string());
    let home = Home::start_with(vec![config], |config| {
        config.timings.handshake = Duration::from_millis(1);
    })
    .await;
    // The relay has not even looked at the first dial when the other address is tried, which never
    // says a word.
    let _silent = other.accept().await.unwrap();
    let session = relay.welcome(HOST).await;
    home.connected().await;
    assert_eq!(session.epoch(), 1);
}

#[tokio::test]
async fn an_address_that_says_nothing_does_not_hold_back_the_others_for_long() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = FakeRelay::bind().await;
    let mut config = relay.relay();
    let address = silent.local_addr().unwrap().to_string();
    config.addresses.insert(0, address);
    let home = Home::start_with(vec![config], |config| {
        config.timings.handshake = Duration::from_millis(1);
        // This dial, and no other.
        config.timings.redial.min = Duration::from_secs(3600);
        config.timings.redial.max = Duration::from_secs(3600);
    })
    .await;
    let _session = relay.welcome(HOST).await;
    home.connected().await;
}

#[tokio::test]
async fn an_unanswered_ping_dials_in_parallel_and_the_old_session_lives_until_the_new_is_welcomed()
{
    let relay = FakeRelay::bind().await;
    let home = Home::start_with(vec![relay.relay()], doubtful).await;
    let old = relay.welcome(HOST).await;
    home.connected().await;
    let visitor = tls(&old, home.trust(), HOST, b"http/1.1").await.unwrap();

    old.freeze(true);
    let mut new = relay.accept().await;
    assert!(new.epoch() > old.epoch());
    // The new one is dialed but not welcomed: the old one is still good.
    old.freeze(false);
    let request = request("PROPFIND", "/dav/", &home.authorization);
    let request = with_host(request, HOST);
    let response = timeout(PATIENCE, http1(visitor, request)).await.unwrap();
    assert_eq!(response.status(), 207);
    assert_eq!(
        home.relay_status(|_| true).await.state,
        RelayState::Connected
    );

    // The newcomer said Hello, so it goes on, and the old one is let go.
    new.welcome(HOST);
    let mut old = old;
    assert_eq!(timeout(PATIENCE, old.hear()).await.unwrap(), None);
    let visitor = tls(&new, home.trust(), HOST, b"http/1.1").await.unwrap();
    drop(visitor);
}

#[tokio::test]
async fn a_ping_that_is_answered_late_ends_the_dialing() {
    let relay = FakeRelay::bind().await;
    let home = Home::start_with(vec![relay.relay()], doubtful).await;
    let session = relay.welcome(HOST).await;
    home.connected().await;
    session.freeze(true);
    // A dial is under way, which the relay does not take further.
    let mut parallel = relay.ignore_one().await;
    session.freeze(false);
    // Home gives it up: the connection ends although nobody answered.
    let mut rest = Vec::new();
    let read = parallel.read_to_end(&mut rest);
    let _ = timeout(Duration::from_secs(3), read)
        .await
        .expect("the dial is given up");
    home.connected().await;
}

#[tokio::test]
async fn a_silent_relay_is_dead_in_the_end() {
    let relay = FakeRelay::bind().await;
    let home = Home::start_with(vec![relay.relay()], |config| {
        doubtful(config);
        config.timings.pings.dead = Duration::from_millis(400);
    })
    .await;
    let session = relay.welcome(HOST).await;
    home.connected().await;
    session.freeze(true);
    let row = home
        .relay_status(|row| row.state == RelayState::Dialing)
        .await;
    assert!(row.error.unwrap().contains("nothing was heard"));
    let _session = relay.welcome(HOST).await;
    home.connected().await;
}

#[tokio::test]
async fn a_drain_is_a_new_session_after_the_wait_while_the_old_one_serves_on() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let mut old = relay.welcome(HOST).await;
    home.connected().await;
    old.say(&FromRelay::Drain {
        retry_after_ms: 300,
    });
    let begun = std::time::Instant::now();
    let new = relay.accept().await;
    assert!(begun.elapsed() >= Duration::from_millis(290));
    let visitor = tls(&old, home.trust(), HOST, b"http/1.1").await.unwrap();
    drop((visitor, new));
}

#[tokio::test]
async fn another_key_is_refused_with_a_clear_word_and_nothing_is_said() {
    let relay = FakeRelay::bind().await;
    let mut config = relay.relay();
    config.key = FakeRelay::bind().await.key;
    let home = Home::start(vec![config]).await;
    // No session ever comes out of it; serve handshakes until the status tells.
    let row = tokio::select! {
        _ = relay.accept() => panic!("home spoke to a relay with another key"),
        row = home.relay_status(|row| row.error.is_some()) => row,
    };
    assert_eq!(row.state, RelayState::Dialing);
    let error = row.error.unwrap();
    assert!(
        error.contains("this network (or somebody) answers for the relay"),
        "{error}"
    );
    // Whoever looks at the relay can tell whether that is its key, and what to do then.
    for word in [&relay.key.to_string(), "invite --replace", "home join"] {
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn an_interceptor_with_a_certificate_is_named_with_its_issuer() {
    for alpn in [control::ALPN, b"h2"] {
        assert_interceptor_is_named(alpn).await;
    }
}

/// Shows a certificate for a relay.
pub(crate) fn interceptor(alpn: &[u8]) -> tokio_rustls::TlsAcceptor {
    let certified = rcgen::generate_simple_self_signed(["relay.example.org".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    std::sync::Arc::new(tls).into()
}

async fn assert_interceptor_is_named(alpn: &[u8]) {
    let acceptor = interceptor(alpn);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = FakeRelay::bind().await.relay();
    config.addresses = vec![listener.local_addr().unwrap().to_string()];
    let home = Home::start(vec![config]).await;
    let row = tokio::select! {
        () = async {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                assert!(acceptor.accept(tcp).await.is_err());
            }
        } => unreachable!(),
        row = home.relay_status(|row| row.error.is_some()) => row,
    };
    let error = row.error.unwrap();
    assert!(error.contains("this network intercepts TLS"), "{error}");
    assert!(error.contains("\"rcgen self signed cert\""), "{error}");
}

#[tokio::test]
async fn refusals_say_what_to_do_and_their_wait_is_honored() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    for (reason, words) in [
        (Refusal::UnknownKey, "cloudless relay invite"),
        (Refusal::OtherInstance, "stop one of the two"),
        (Refusal::Version, "different versions"),
    ] {
        let mut session = relay.accept().await;
        session.say(&FromRelay::Refused {
            reason,
            message: "so \u{1b}[31mit is".into(),
            retry_after_ms: Some(200),
        });
        let begun = std::time::Instant::now();
        let row = home
            .relay_status(|row| {
                row.error
                    .as_ref()
                    .is_some_and(|error| error.contains(words))
            })
            .await;
        assert_eq!(row.state, RelayState::Refused);
        assert!(!row.error.unwrap().contains('\u{1b}'));
        drop(session);
        let next = relay.accept().await;
        assert!(begun.elapsed() >= Duration::from_millis(190), "{reason:?}");
        drop(next);
    }
}

#[tokio::test]
async fn two_relays_are_both_kept() {
    let (first, second) = (FakeRelay::bind().await, FakeRelay::bind().await);
    let home = Home::start(vec![first.relay(), second.relay()]).await;
    let (one, two) = tokio::join!(first.welcome(HOST), second.welcome(HOST));
    for session in [&one, &two] {
        drop(tls(session, home.trust(), HOST, b"h2").await.unwrap());
    }
}

#[tokio::test]
async fn a_shutdown_finishes_and_tells_the_relay() {
    let relay = FakeRelay::bind().await;
    let mut home = Home::start(vec![relay.relay()]).await;
    let mut session = relay.welcome(HOST).await;
    home.connected().await;
    home.begin_stop();
    assert_eq!(timeout(PATIENCE, session.hear()).await.unwrap(), None);
    drop(session);
    home.stop().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_relay_that_went_silent() {
    let relay = FakeRelay::bind().await;
    let mut home = Home::start_with(vec![relay.relay()], |config| {
        config.timings.drain = PATIENCE * 2;
    })
    .await;
    let session = relay.welcome(HOST).await;
    home.connected().await;
    session.freeze(true);
    home.begin_stop();
    home.stop().await;
}

#[tokio::test]
async fn a_shutdown_finishes_the_request_under_way() {
    let relay = FakeRelay::bind().await;
    let mut home = Home::start(vec![relay.relay()]).await;
    let session = relay.welcome(HOST).await;
    let mut stream = tls(&session, home.trust(), HOST, b"http/1.1")
        .await
        .unwrap();
    let card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a\r\nEND:VCARD\r\n";
    let head = format!(
        "PUT /dav/addressbooks/me/contacts/a.vcf HTTP/1.1\r\nhost: {HOST}\r\n\
         authorization: {}\r\ncontent-type: text/vcard\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\n\r\n",
        home.authorization,
        card.len(),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut interim).await.unwrap();
    // The request is in the hands of the service, which waits for the body.
    home.begin_stop();
    stream.write_all(card.as_bytes()).await.unwrap();
    let mut response = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut response))
        .await
        .unwrap()
        .unwrap();
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    drop(session);
    home.stop().await;
}

fn with_host<B>(mut request: http::Request<B>, host: &str) -> http::Request<B> {
    request.headers_mut().insert("host", host.parse().unwrap());
    request
}

#[tokio::test]
async fn visitors_that_have_gone_after_a_stall_do_not_end_the_tunnel() {
    let relay = FakeRelay::bind().await;
    let path = SlowPath::to(relay.address()).await;
    let mut slow_relay = relay.relay();
    slow_relay.addresses = vec![path.address.to_string()];
    let home = Home::start(vec![slow_relay]).await;
    let session = relay.welcome(HOST).await;
    home.connected().await;
    path.hold();
    for _ in 0..6 {
        session.come_and_go(HOST, 500).await;
    }
    path.release();
    let (send, recv) = session.connect(HOST).await;
    drop((send, recv));
    assert_eq!(session.epoch(), 1);
}

over_ipv6! {
    home_proves_its_key_and_says_hello,
    unknown_messages_are_skipped_and_new_names_noted,
    a_relay_that_dies_is_dialed_again_with_the_next_epoch,
    a_home_whose_newest_session_is_old_to_the_relay_has_a_twin,
    the_status_says_how_long_a_ping_takes_and_what_went_wrong_before,
    a_relay_that_hangs_in_the_handshake_does_not_hold_back_the_next_dial,
    the_second_address_is_used_when_the_first_is_dead,
    an_address_that_is_slow_is_waited_for_beside_the_others,
    an_address_that_says_nothing_does_not_hold_back_the_others_for_long,
    an_unanswered_ping_dials_in_parallel_and_the_old_session_lives_until_the_new_is_welcomed,
    a_ping_that_is_answered_late_ends_the_dialing,
    a_silent_relay_is_dead_in_the_end,
    a_drain_is_a_new_session_after_the_wait_while_the_old_one_serves_on,
    another_key_is_refused_with_a_clear_word_and_nothing_is_said,
    an_interceptor_with_a_certificate_is_named_with_its_issuer,
    refusals_say_what_to_do_and_their_wait_is_honored,
    two_relays_are_both_kept,
    a_shutdown_finishes_and_tells_the_relay,
    a_shutdown_does_not_wait_for_a_relay_that_went_silent,
    a_shutdown_finishes_the_request_under_way,
    visitors_that_have_gone_after_a_stall_do_not_end_the_tunnel,
}
