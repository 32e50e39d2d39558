//! How keys become homes, and how strangers do not.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cloudless_proto::control::{FromHome, FromRelay, Refusal, VERSION};
use cloudless_proto::join_code::{JoinCode, JoinSecret};
use cloudless_proto::takeover::Instance;
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use tokio::io::AsyncReadExt;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::{
    HOME_NAME, HomeKey, TestRelay, Tunnel, Visitor, connect_tls, soon, tls_builder, tls_config,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_join_code_makes_a_home() {
    let relay = TestRelay::start().await;
    let code = relay.invite(HOME_NAME).await;
    assert_eq!(code.relay_key, HomeKey(200).public());
    assert_eq!(code.addresses, ["relay.example.test:443"]);
    for address in relay.https {
        // The second time the home asks again because the answer was lost.
        let mut tunnel = Tunnel::dial(address, HomeKey(1)).await;
        tunnel.join(&code);
        tunnel.hear_joined().await;
        assert_eq!(tunnel.hear().await, None, "the relay ends the session");
        tunnel.closed().await;
    }
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
    tunnel.hello(1, 1);
    assert_eq!(tunnel.hear_welcome().await, [HOME_NAME]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_foreign_or_expired_code_makes_none() {
    let relay = TestRelay::start().await;
    let used = relay.invite(HOME_NAME).await;
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
    tunnel.join(&used);
    tunnel.hear_joined().await;

    let mut foreign = relay.invite("other.example.test").await;
    foreign.hostname = "another.example.test".parse().unwrap();
    let mut wrong = relay.invite("third.example.test").await;
    wrong.secret = JoinSecret::new([9; 16]);
    let expired = relay.invite_with("fourth.example.test", 1, false).await;
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(expired.expires_at);
    relay.until(|_| SystemTime::now() >= expiry).await;
    for code in [used, foreign, wrong, expired] {
        let mut tunnel = Tunnel::dial(relay.address(), HomeKey(2)).await;
        tunnel.join(&code);
        assert_eq!(
            tunnel.hear_refused().await,
            Refusal::JoinRejected,
            "{}",
            code.hostname
        );
        tunnel.closed().await;
    }
    assert_eq!(relay.status().await.homes.len(), 1);
    assert_eq!(relay.outcome("refused_join_rejected").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_redeem_one_code_at_once_have_one_winner() {
    const MANY: u8 = 16;
    let relay =
        TestRelay::start_with(|config| config.limits.joins_per_minute_per_source = 1000).await;
    for round in 0..3 {
        let hostname = format!("home-{round}.example.test");
        let code = relay.invite(&hostname).await;
        let ready = Arc::new(Barrier::new(usize::from(MANY)));
        let mut redeemers = JoinSet::new();
        for number in 1..=MANY {
            let (code, ready) = (code.clone(), Arc::clone(&ready));
            let address = relay.https[usize::from(number % 2)];
            redeemers.spawn(async move {
                let mut tunnel = Tunnel::dial(address, HomeKey(number)).await;
                ready.wait().await;
                tunnel.join(&code);
                (HomeKey(number), tunnel.hear().await)
            });
        }
        let mut winners = Vec::new();
        for (key, heard) in redeemers.join_all().await {
            match heard {
                Some(FromRelay::Joined { .. }) => winners.push(key.public()),
                Some(FromRelay::Refused { reason, .. }) => {
                    assert_eq!(reason, Refusal::JoinRejected);
                }
                heard => panic!("{heard:?}"),
            }
        }
        let status = relay.status().await;
        let homes = status.homes.iter();
        let mut owners = homes.filter(|home| home.hostname.as_str() == hostname);
        let owner = owners.next().unwrap().key;
        assert_eq!(winners, [owner.of_tunnel().unwrap()]);
        // On the disk too, and the code is gone from it.
        let homes = fs::read_to_string(relay.file("homes.toml")).unwrap();
        assert_eq!(homes.matches(&hostname).count(), 1);
        let invites = fs::read_to_string(relay.file("invites.toml")).unwrap();
        assert!(!invites.contains(&hostname), "{invites}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_replaces_ends_the_old_home() {
    let relay = TestRelay::start().await;
    let mut old = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    old.accept(&hello).await;

    let code = relay.invite_with(HOME_NAME, 600, true).await;
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(2)).await;
    tunnel.join(&code);
    tunnel.hear_joined().await;
    old.closed().await;
    visitor.gone().await;

    let mut back = Tunnel::dial(relay.address(), HomeKey(1)).await;
    back.hello(1, 2);
    assert_eq!(back.hear_refused().await, Refusal::UnknownKey);
    Tunnel::online(relay.address(), HomeKey(2), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_name_is_told_to_the_session_that_is_up() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    relay.enroll(HomeKey(1), "second.example.test").await;
    let Some(FromRelay::Hostnames { hostnames }) = home.hear().await else {
        panic!()
    };
    assert_eq!(hostnames.len(), 2);
    let (_visitor, hello) = Visitor::hello(relay.address(), "second.example.test").await;
    home.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_joined_again_is_no_news_to_the_session_that_is_up() {
    let relay = TestRelay::start().await;
    let code = relay.invite(HOME_NAME).await;
    let join = async |code: &JoinCode| {
        let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
        tunnel.join(code);
        tunnel.hear_joined().await;
    };
    join(&code).await;
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 1).await;
    join(&code).await;
    let secret = JoinSecret::new([9; 16]);
    join(&JoinCode { secret, ..code }).await;
    relay.enroll(HomeKey(1), "second.example.test").await;
    let Some(FromRelay::Hostnames { hostnames }) = home.hear().await else {
        panic!()
    };
    assert_eq!(hostnames.len(), 2, "told before there was a second name");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(2)).await;
    tunnel.hello(2, 1);
    assert_eq!(tunnel.hear_refused().await, Refusal::UnknownKey);
    tunnel.closed().await;
    assert_eq!(relay.status().await.totals.sessions_now, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_of_one_source_have_a_rate_and_right_codes_have_none() {
    let relay = TestRelay::start_with(|config| config.limits.joins_per_minute_per_source = 3).await;
    let mut code = relay.invite(HOME_NAME).await;
    let good = code.secret.clone();
    code.secret = JoinSecret::new([9; 16]);
    for _ in 0..3 {
        let mut tunnel = Tunnel::dial(relay.address(), HomeKey(2)).await;
        tunnel.join(&code);
        assert_eq!(tunnel.hear_refused().await, Refusal::JoinRejected);
    }
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(2)).await;
    tunnel.join(&code);
    let Some(FromRelay::Refused {
        reason: Refusal::RateLimited,
        retry_after_ms,
        ..
    }) = tunnel.hear().await
    else {
        panic!()
    };
    assert!(retry_after_ms.is_some_and(|wait_ms| wait_ms <= 60_000));
    // Another source has a rate of its own.
    let mut tunnel = Tunnel::dial(relay.https[1], HomeKey(2)).await;
    tunnel.join(&code);
    assert_eq!(tunnel.hear_refused().await, Refusal::JoinRejected);
    // Whoever has the right code shares the source of the guesses, and not their rate.
    code.secret = good;
    for _ in 0..2 {
        let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
        tunnel.join(&code);
        tunnel.hear_joined().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_many_sources_keep_nobody_from_joining() {
    let relay = TestRelay::start_with(|config| config.limits.joins_per_minute_per_source = 2).await;
    let code = relay.invite(HOME_NAME).await;
    let mut guess = code.clone();
    for source in 2..60 {
        guess.secret = JoinSecret::new([source; 16]);
        let source = [127, 0, 0, source];
        let mut tunnel = Tunnel::dial_from(source, relay.https[0], HomeKey(2)).await;
        tunnel.join(&guess);
        assert_eq!(tunnel.hear_refused().await, Refusal::JoinRejected);
    }
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
    tunnel.join(&code);
    tunnel.hear_joined().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_told_whom_to_upgrade() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for (version, older) in [(VERSION - 1, "home"), (VERSION + 1, "relay")] {
        let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
        tunnel.say(&FromHome::Hello {
            version,
            software: "test/1".to_owned(),
            instance: Instance::new([1; 16]),
            epoch: 1,
            legs: false,
            probes: false,
        });
        let heard = tunnel.hear().await;
        let Some(FromRelay::Refused {
            reason: Refusal::Version,
            message,
            ..
        }) = heard
        else {
            panic!("{heard:?}")
        };
        assert!(
            message.ends_with(&format!("upgrade the {older}")),
            "{message}"
        );
        let home = relay.status().await.homes.remove(0);
        assert_eq!(home.last_error.unwrap().message, message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_line_that_is_no_message_is_refused_and_an_unknown_one_skipped() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let too_long = vec![b'x'; 20_000];
    for line in [
        b"nonsense\n".to_vec(),
        b"{\"type\":\"hello\"}\n".to_vec(),
        too_long,
    ] {
        let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
        tunnel.say_bytes(line);
        assert_eq!(tunnel.hear_refused().await, Refusal::Malformed);
    }
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
    tunnel.say_bytes(b"{\"type\":\"from a later version\",\"x\":[1]}\n".to_vec());
    tunnel.hello(1, 1);
    tunnel.hear_welcome().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_no_raw_ed25519_key_gets_no_tunnel() {
    let relay = TestRelay::start().await;
    let alpn = |mut config: ClientConfig| {
        config.alpn_protocols = vec![b"cloudless/1".to_vec()];
        config
    };
    let stolen = {
        // The public key of one and the private key of another.
        let key = rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&HomeKey(2).identity()).unwrap();
        let spki = CertificateDer::from(HomeKey(1).public().to_spki().to_vec());
        let certified = Arc::new(CertifiedKey::new(vec![spki], key));
        let resolver = rustls::client::AlwaysResolvesClientRawPublicKeys::new(certified);
        alpn(tls_builder().with_client_cert_resolver(Arc::new(resolver)))
    };
    let without_key = alpn(tls_builder().with_no_client_auth());
    for (n_failed, config) in [(1, without_key), (2, stolen)] {
        // TLS 1.3 clients learn of their failure with the first read.
        if let Ok(mut stream) = soon(connect_tls(relay.address(), config)).await {
            let mut bytes = Vec::new();
            assert!(soon(stream.read_to_end(&mut bytes)).await.is_err());
        }
        relay
            .until_outcome("tunnel_handshake_failed", n_failed)
            .await;
    }

    let mut other_protocol = tls_config(HomeKey(1));
    other_protocol.alpn_protocols = vec![b"cloudless/2".to_vec()];
    assert!(
        soon(connect_tls(relay.address(), other_protocol))
            .await
            .is_err()
    );
    assert_eq!(relay.outcome("own_name").await, 1);
}

over_ipv6! {
    a_used_foreign_or_expired_code_makes_none,
    a_code_that_replaces_ends_the_old_home,
    a_second_name_is_told_to_the_session_that_is_up,
    a_name_that_is_joined_again_is_no_news_to_the_session_that_is_up,
    an_unknown_key_is_refused,
    another_version_is_told_whom_to_upgrade,
    a_first_line_that_is_no_message_is_refused_and_an_unknown_one_skipped,
    who_proves_no_raw_ed25519_key_gets_no_tunnel,
}
