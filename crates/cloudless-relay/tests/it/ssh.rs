//! Homes that are plain SSH clients.

mod crowd;
mod hostile;
mod probe;
mod takeover;

use std::time::{Duration, Instant};

use cloudless_relay::admin::{Command, Reply};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{ALERT, HOME_NAME, SlowPath, SshHome, TestRelay, Visitor, soon, ssh_key_line};

const KEY: u8 = 1;
const OTHER_NAME: &str = "other.example.test";

/// A relay with a name for the first key.
async fn relay() -> TestRelay {
    relay_with(|_| {}).await
}

async fn relay_with(adjust: impl FnOnce(&mut cloudless_relay::Config)) -> TestRelay {
    let relay = TestRelay::start_with(adjust).await;
    relay.allow_ssh(HOME_NAME, KEY).await;
    relay
}

#[tokio::test]
async fn visitors_come_with_their_address_and_every_byte() {
    let relay = relay().await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    for address in relay.https {
        let (mut visitor, hello) = Visitor::hello(address, HOME_NAME).await;
        let mut forwarded = home.visitor().await;
        assert_eq!(forwarded.connected, (HOME_NAME.to_owned(), 443));
        let local = visitor.stream.local_addr().unwrap();
        let originator = (local.ip().to_string(), u32::from(local.port()));
        assert_eq!(forwarded.originator, originator);
        forwarded.expect(&hello).await;

        // More than any window, both ways at once.
        let bulk: Vec<u8> = (0..6_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let (mut reader, mut writer) = visitor.stream.split();
        let up = async {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &bulk)
                .await
                .unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut writer)
                .await
                .unwrap();
        };
        let down = async {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await.unwrap();
            assert!(bytes == bulk);
        };
        let at_home = async {
            let mut to_relay = forwarded.channel.make_writer();
            let send = tokio::io::AsyncWriteExt::write_all(&mut to_relay, &bulk);
            let (sent, ()) = tokio::join!(send, forwarded.expect(&bulk));
            sent.unwrap();
            forwarded.expect_eof().await;
            forwarded.channel.eof().await.unwrap();
            forwarded.channel.close().await.unwrap();
        };
        soon(async { tokio::join!(up, down, at_home) }).await;
    }
    let status = relay.until(|status| status.totals.visitors_now == 0).await;
    let home_status = &status.homes[0];
    assert!(home_status.online && home_status.key.is_ssh());
    assert!(home_status.bytes_up >= 12_000_000 && home_status.bytes_down >= 12_000_000);
    assert_eq!(home_status.visitors_total, 2);
    // A ping is sent at once, and answered.
    relay
        .until(|status| status.homes[0].round_trip.is_some())
        .await;
}

#[tokio::test]
async fn each_end_of_a_visitor_is_passed_on() {
    let relay = relay().await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let address = relay.address();

    // The home ends first, and the visitor goes on until it has said all.
    let (mut visitor, hello) = Visitor::hello(address, HOME_NAME).await;
    let mut forwarded = home.visitor().await;
    forwarded.expect(&hello).await;
    forwarded.send(b"answer").await;
    forwarded.channel.eof().await.unwrap();
    assert_eq!(visitor.read_to_end().await, b"answer");
    visitor.send(b"more").await;
    forwarded.expect(b"more").await;
    visitor.finish().await;
    forwarded.expect_eof().await;
    forwarded.channel.close().await.unwrap();

    // The home wants no more, which cuts a visitor that has not heard the end.
    let (mut visitor, hello) = Visitor::hello(address, HOME_NAME).await;
    let mut forwarded = home.visitor().await;
    forwarded.expect(&hello).await;
    forwarded.send(b"half").await;
    visitor.expect(b"half").await;
    forwarded.channel.close().await.unwrap();
    visitor.expect_reset().await;

    // A visitor that is reset ends its channel, however much the home still sends.
    let (visitor, hello) = Visitor::hello(address, HOME_NAME).await;
    let mut forwarded = home.visitor().await;
    forwarded.expect(&hello).await;
    visitor.reset();
    forwarded.expect_eof().await;
    for _ in 0..32 {
        let _ = forwarded.channel.data_bytes(vec![0; 32 * 1024]).await;
    }
    forwarded.gone().await;
    relay.until(|status| status.totals.visitors_now == 0).await;
}

/// `ssh` takes a relay for dead that says nothing for some seconds, whatever it sends itself meanwhile.
#[tokio::test]
async fn a_home_that_sends_hears_from_the_relay() {
    let relay = relay().await;
    let path = SlowPath::to(relay.ssh).await;
    let mut home = SshHome::publish(path.address, KEY, HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut forwarded = home.visitor().await;
    forwarded.expect(&hello).await;
    relay
        .until(|status| status.homes[0].round_trip.is_some())
        .await;
    let (begun, n_before) = (Instant::now(), path.n_to_home());
    while path.n_to_home() == n_before {
        assert!(begun.elapsed() < Duration::from_secs(5), "nothing is said");
        forwarded.send(b"a bit").await;
        visitor.expect(b"a bit").await;
    }
}

#[tokio::test]
async fn a_visitor_is_held_until_the_home_is_there_and_told_when_it_does_not_come() {
    let relay = relay().await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    relay.until(|status| status.totals.visitors_now == 1).await;
    // A connection alone publishes nothing, nor does port 80.
    let mut home = SshHome::connect(relay.ssh).await;
    assert!(home.login(KEY).await);
    home.forward(HOME_NAME, 80).await.unwrap();
    let status = relay.until(|status| status.totals.sessions_now == 1).await;
    assert!(!status.homes[0].online && status.homes[0].since.is_none());
    home.forward(HOME_NAME, 443).await.unwrap();
    assert!(relay.status().await.homes[0].online);
    let mut forwarded = home.visitor().await;
    forwarded.expect(&hello).await;
    forwarded.send(b"late").await;
    visitor.expect(b"late").await;

    let relay = relay_with(|config| config.hold = Duration::from_millis(50)).await;
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    assert_eq!(visitor.read_to_end().await, ALERT);
    relay.until_outcome("home_offline", 1).await;
}

#[tokio::test]
async fn of_port_80_a_home_gets_what_certificate_authorities_ask() {
    const PATH: &str = "/.well-known/acme-challenge/token";
    let relay = relay().await;
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    home.forward(HOME_NAME, 80).await.unwrap();

    let mut authority = Visitor::connect(relay.http_address()).await;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {HOME_NAME}\r\nCookie: secret\r\n\r\n");
    authority.send(request.as_bytes()).await;
    let mut forwarded = home.visitor().await;
    assert_eq!(forwarded.connected, (HOME_NAME.to_owned(), 80));
    let Some(russh::ChannelMsg::Data { data }) = soon(forwarded.channel.wait()).await else {
        panic!("no request");
    };
    let head = String::from_utf8(data.to_vec()).unwrap();
    assert!(
        head.starts_with(&format!("GET {PATH} HTTP/1.1\r\n")),
        "{head}"
    );
    assert!(!head.contains("secret"), "{head}");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nproof";
    forwarded.send(answer).await;
    forwarded.channel.eof().await.unwrap();
    assert_eq!(authority.read_to_end().await, answer);

    let mut visitor = Visitor::connect(relay.http_address()).await;
    let request = format!("GET /contacts HTTP/1.1\r\nHost: {HOME_NAME}\r\n\r\n");
    visitor.send(request.as_bytes()).await;
    let answer = String::from_utf8(visitor.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(home.visitors.try_recv().is_err());
}

#[tokio::test]
async fn nothing_else_is_given() {
    let relay = relay().await;
    relay.allow_ssh(OTHER_NAME, 2).await;
    let home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    for (address, port) in [
        (OTHER_NAME, 443),
        ("nobody.example.test", 443),
        (HOME_NAME, 8443),
        (HOME_NAME, 0),
        ("", 443),
        ("localhost", 80),
        ("0.0.0.0", 443),
    ] {
        let refused = home.forward(address, port).await;
        assert!(refused.is_err(), "{address}:{port} is forwarded");
    }
    assert!(
        soon(home.handle.streamlocal_forward("/tmp/socket"))
            .await
            .is_err()
    );
    let text = |error: russh::Error| match error {
        russh::Error::ChannelOpenFailure(failure) => format!("{failure:?}"),
        error => panic!("{error}"),
    };
    let session = soon(home.handle.channel_open_session()).await;
    let refused = text(session.map(drop).unwrap_err());
    assert!(refused.contains("Prohibited"), "{refused}");
    let direct = home
        .handle
        .channel_open_direct_tcpip("localhost", 22, "localhost", 1);
    text(soon(direct).await.map(drop).unwrap_err());
    // It is still online, with what it has.
    let status = relay.status().await;
    let online = |name: &str| {
        status
            .homes
            .iter()
            .any(|it| it.hostname.as_str() == name && it.online)
    };
    assert!(online(HOME_NAME) && !online(OTHER_NAME));
    home.handle
        .cancel_tcpip_forward(HOME_NAME, 443)
        .await
        .unwrap();
    assert!(
        home.handle
            .cancel_tcpip_forward(HOME_NAME, 443)
            .await
            .is_err()
    );
    assert!(!relay.status().await.homes[0].online);
}

#[tokio::test]
async fn a_home_that_takes_no_visitor_is_said_to_and_a_name_that_does_is_not() {
    let relay = relay().await;
    relay.allow_ssh(OTHER_NAME, KEY).await;
    let home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    home.forward(OTHER_NAME, 443).await.unwrap();
    // As `ssh` does where nothing listens.
    home.refuse_visitors();
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    assert_eq!(visitor.read_to_end().await, ALERT);
    relay.until_outcome("home_refused", 1).await;
    let status = relay.status().await;
    let row = |name: &str| {
        let mut homes = status.homes.iter();
        homes.find(|it| it.hostname.as_str() == name).unwrap()
    };
    let said = &row(HOME_NAME).last_error.as_ref().unwrap().message;
    let expected = format!("does something listen where its -R {HOME_NAME}:443 leads?");
    assert!(said.contains(&expected), "{said}");
    assert_eq!(row(OTHER_NAME).last_error, None);
}

#[tokio::test]
async fn who_publishes_nothing_is_told_why_and_leaves() {
    let relay = relay_with(|config| config.timings.handshake = Duration::from_millis(100)).await;
    let mut idle = SshHome::connect(relay.ssh).await;
    assert!(idle.login(KEY).await);
    let said = idle.ended().await.unwrap();
    assert!(said.contains("-R HOST:443:localhost:443"), "{said}");

    let relay = relay_with(|_| {}).await;
    let mut wrong = SshHome::connect(relay.ssh).await;
    assert!(wrong.login(KEY).await);
    assert!(wrong.forward(OTHER_NAME, 443).await.is_err());
    let said = wrong.ended().await.unwrap();
    assert!(
        said.contains(&format!("{OTHER_NAME} is no name of this key")),
        "{said}"
    );
    relay.until_outcome("ssh_nothing_forwarded", 1).await;
}

#[tokio::test]
async fn only_known_keys_log_in() {
    let relay = relay().await;
    let mut stranger = SshHome::connect(relay.ssh).await;
    assert!(!stranger.login(2).await);
    let password = stranger.handle.authenticate_password("root", "secret");
    assert!(!matches!(
        soon(password).await,
        Ok(russh::client::AuthResult::Success)
    ));
    drop(stranger);
    relay.until_outcome("ssh_handshake_failed", 1).await;
    // An ECDSA key is one, too.
    let ecdsa = "ecdsa-sha2-nistp256 AAAA";
    let command = Command::AllowSsh {
        hostname: OTHER_NAME.parse().unwrap(),
        key: ecdsa.to_owned(),
        replace: false,
    };
    let Reply::Error { message } = relay.command(&command).await else {
        panic!("a damaged key is taken");
    };
    assert!(message.contains("damaged"), "{message}");
}

#[tokio::test]
async fn a_name_has_one_home_and_changes_hands_only_when_asked() {
    let relay = relay().await;
    let home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let allow = |key, replace| Command::AllowSsh {
        hostname: HOME_NAME.parse().unwrap(),
        key: ssh_key_line(key),
        replace,
    };
    let Reply::Error { message } = relay.command(&allow(2, false)).await else {
        panic!("the name was taken");
    };
    assert!(message.contains("--replace"), "{message}");
    // Again for the same key nothing changes.
    let reply = relay.command(&allow(KEY, false)).await;
    assert!(matches!(reply, Reply::SshAllowed { .. }), "{reply:?}");
    assert!(relay.status().await.homes[0].online);

    let reply = relay.command(&allow(2, true)).await;
    assert!(matches!(reply, Reply::SshAllowed { .. }), "{reply:?}");
    let said = home.ended().await.unwrap();
    assert!(said.contains("no name here any more"), "{said}");
    let mut loser = SshHome::connect(relay.ssh).await;
    assert!(!loser.login(KEY).await);
    let _winner = SshHome::publish(relay.ssh, 2, HOME_NAME).await;
}

#[tokio::test]
async fn a_revoked_key_is_cut_with_its_visitors_at_once() {
    let relay = relay().await;
    for _ in 0..2 {
        let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
        let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        let mut forwarded = home.visitor().await;
        forwarded.expect(&hello).await;
        forwarded.send(b"hello").await;
        visitor.expect(b"hello").await;
        let hostname = HOME_NAME.parse().unwrap();
        let reply = relay.command(&Command::Revoke { hostname }).await;
        let Reply::Revoked { session_closed, .. } = reply else {
            panic!("{reply:?}");
        };
        assert!(session_closed);
        visitor.expect_reset().await;
        let said = home.ended().await.unwrap();
        assert!(said.contains("no name here any more"), "{said}");
        relay.allow_ssh(HOME_NAME, KEY).await;
    }
}

#[tokio::test]
async fn a_restart_keeps_the_host_key_and_lets_visitors_end() {
    let relay = relay().await;
    let before = relay.status().await.ssh.unwrap();
    let mut home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut forwarded = home.visitor().await;
    forwarded.expect(&hello).await;
    relay.shutdown.cancel();
    soon(async { while TcpStream::connect(relay.ssh).await.is_ok() {} }).await;
    forwarded.send(b"still here").await;
    visitor.expect(b"still here").await;
    forwarded.channel.eof().await.unwrap();
    visitor.gone().await;
    drop(visitor);
    forwarded.expect_eof().await;
    forwarded.channel.close().await.unwrap();
    let said = home.ended().await.unwrap();
    assert!(said.contains("the relay stops"), "{said}");
    let directory = relay.stop().await;
    let relay = TestRelay::start_on(directory, |_| {}).await;
    let after = relay.status().await.ssh.unwrap();
    assert_eq!(after.fingerprint, before.fingerprint);
    assert_eq!(after.host_key, before.host_key);
    let _home = SshHome::publish(relay.ssh, KEY, HOME_NAME).await;
}

over_ipv6! {
    each_end_of_a_visitor_is_passed_on,
    a_home_that_sends_hears_from_the_relay,
    a_visitor_is_held_until_the_home_is_there_and_told_when_it_does_not_come,
    of_port_80_a_home_gets_what_certificate_authorities_ask,
    nothing_else_is_given,
    a_home_that_takes_no_visitor_is_said_to_and_a_name_that_does_is_not,
    who_publishes_nothing_is_told_why_and_leaves,
    only_known_keys_log_in,
    a_name_has_one_home_and_changes_hands_only_when_asked,
    a_revoked_key_is_cut_with_its_visitors_at_once,
    a_restart_keeps_the_host_key_and_lets_visitors_end,
}
