//! The relay's key is replaced, and no home is lost that was there meanwhile.

use std::fs;
use std::time::Duration;

use cloudless_proto::PublicKey;
use cloudless_proto::control::FromHome;
use cloudless_relay::admin::{Command, Reply};
use cloudless_relay::{Config, KeyStatus, RotationStatus};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::support::{HOME_NAME, HomeKey, TestRelay, Tunnel};

/// The relay's key before.
fn old() -> PublicKey {
    HomeKey(200).public()
}

async fn rotate(relay: &TestRelay, overlap_s: u64) -> RotationStatus {
    let overlap_s = Some(overlap_s);
    match relay.command(&Command::RotateKey { overlap_s }).await {
        Reply::Key(KeyStatus { key, rotation }) => {
            assert_eq!(key, old());
            rotation.unwrap()
        }
        reply => panic!("{reply:?}"),
    }
}

async fn finish(relay: &TestRelay, force: bool) -> Result<KeyStatus, String> {
    match relay.command(&Command::FinishRotation { force }).await {
        Reply::Key(status) => Ok(status),
        Reply::Error { message } => Err(message),
        reply => panic!("{reply:?}"),
    }
}

/// The key in a file of the relay's.
fn key_in(relay: &TestRelay) -> PublicKey {
    let pem = fs::read(relay.file("relay.key")).unwrap();
    let identity = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
    cloudless_relay::public_key(&identity).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_learn_the_next_key_and_the_old_one_goes() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    relay.enroll(HomeKey(2), "other.example.test").await;

    let rotation = rotate(&relay, 3600).await;
    let next = rotation.next;
    assert_eq!((rotation.homes, rotation.homes_aware), (2, 0));
    assert_eq!(home.hear_keys().await, [next, old()]);
    home.say(&FromHome::Pinned { key: next });
    let status = relay
        .until(|status| status.homes[0].knows_next_key == Some(true))
        .await;
    assert_eq!(status.homes[1].knows_next_key, Some(false));
    assert_eq!(status.key.unwrap().rotation.unwrap().homes_aware, 1);

    // The one that is away would be locked out.
    let refused = finish(&relay, false).await.unwrap_err();
    for word in ["1 of 2 homes", "other.example.test", "--force"] {
        assert!(refused.contains(word), "{refused}");
    }
    let (mut other, proven) = Tunnel::dial_trusting(relay.address(), HomeKey(2), &[old()]).await;
    assert_eq!(proven, old());
    other.hello(2, 1);
    assert_eq!(other.hear_keys().await, [next, old()]);
    other.say(&FromHome::Pinned { key: next });
    relay
        .until(|status| status.homes[1].knows_next_key == Some(true))
        .await;

    let status = finish(&relay, false).await.unwrap();
    assert_eq!(
        status,
        KeyStatus {
            key: next,
            rotation: None
        }
    );
    assert_eq!(home.hear_keys().await, [next]);
    // Nobody was disconnected by any of that.
    assert!(!home.is_closed() && !other.is_closed());
    for trusted in [&[next, old()][..], &[next], &[old()], &[]] {
        let (_, proven) = Tunnel::dial_trusting(relay.address(), HomeKey(1), trusted).await;
        assert_eq!(proven, next);
    }
    assert_eq!(key_in(&relay), next);
    assert!(!relay.file("rotation.toml").exists() && !relay.file("rotation.homes").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_home_is_proven_the_newest_key_that_it_trusts() {
    let relay = TestRelay::start().await;
    let next = rotate(&relay, 3600).await.next;
    let stranger = HomeKey(7).public();
    for (trusted, expected) in [
        (&[][..], old()),
        (&[old()], old()),
        (&[next], next),
        (&[next, old()], next),
        (&[old(), next], next),
        (&[stranger, old()], old()),
        (&[stranger], next),
    ] {
        for address in relay.https {
            let (_, proven) = Tunnel::dial_trusting(address, HomeKey(1), trusted).await;
            assert_eq!(proven, expected, "{trusted:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn join_codes_of_before_work_and_new_ones_hold_the_next_key() {
    let relay = TestRelay::start().await;
    let before = relay.invite(HOME_NAME).await;
    let next = rotate(&relay, 3600).await.next;
    let after = relay.invite("other.example.test").await;
    assert_eq!((before.relay_key, after.relay_key), (old(), next));
    for (code, key) in [(before, HomeKey(1)), (after, HomeKey(2))] {
        let (mut tunnel, proven) =
            Tunnel::dial_trusting(relay.address(), key, &[code.relay_key]).await;
        assert_eq!(proven, code.relay_key);
        tunnel.join(&code);
        tunnel.hear_joined().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_started_again_goes_on_where_it_was() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let next = rotate(&relay, 3600).await.next;
    home.hear_keys().await;
    home.say(&FromHome::Pinned { key: next });
    relay
        .until(|status| status.homes[0].knows_next_key == Some(true))
        .await;
    let again = Command::RotateKey { overlap_s: None };
    let refused = relay.command(&again).await;
    assert!(
        matches!(&refused, Reply::Error { message } if message.contains("already")),
        "{refused:?}"
    );

    let relay = TestRelay::start_on(relay.stop().await, |_| {}).await;
    let status = relay.status().await;
    assert_eq!(status.homes[0].knows_next_key, Some(true));
    assert_eq!(status.key.unwrap().rotation.unwrap().next, next);
    let (mut home, proven) =
        Tunnel::dial_trusting(relay.address(), HomeKey(1), &[next, old()]).await;
    assert_eq!(proven, next);
    home.hello(1, 1);
    assert_eq!(home.hear_keys().await, [next, old()]);
    finish(&relay, false).await.unwrap();

    let new_key = |relay: &TestRelay| {
        let pem = fs::read(relay.file("relay.key")).unwrap();
        PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap()
    };
    let identity = new_key(&relay);
    let relay = TestRelay::start_on(relay.stop().await, |config| config.identity = identity).await;
    let status = relay.status().await.key.unwrap();
    assert_eq!(
        status,
        KeyStatus {
            key: next,
            rotation: None
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_overlap_can_be_moved_and_stays_moved() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let first = rotate(&relay, 3600).await;
    home.hear_keys().await;
    home.say(&FromHome::Pinned { key: first.next });
    relay
        .until(|status| status.homes[0].knows_next_key == Some(true))
        .await;
    let moved = rotate(&relay, 7 * 24 * 3600).await;
    assert_eq!((moved.next, moved.started), (first.next, first.started));
    assert!(moved.until > first.until + 6 * 24 * 3600, "{moved:?}");
    // Which homes know the key is not forgotten by that.
    assert_eq!(moved.homes_aware, 1);

    let relay = TestRelay::start_on(relay.stop().await, |config| {
        config.timings.rotation_grace = Duration::ZERO;
    })
    .await;
    assert_eq!(relay.status().await.key.unwrap().rotation, Some(moved));
    // The answer may come before the end or after it.
    let overlap_s = Some(0);
    let reply = relay.command(&Command::RotateKey { overlap_s }).await;
    assert!(matches!(reply, Reply::Key(_)), "{reply:?}");
    let over = relay
        .until(|status| {
            status
                .key
                .as_ref()
                .is_some_and(|key| key.rotation.is_none())
        })
        .await;
    assert_eq!(over.key.unwrap().key, first.next);
}

/// Of the two steps that end a rotation only the first was done.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_the_end_is_made_good() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let next = rotate(&relay, 3600).await.next;
    let rotation = fs::read(relay.file("rotation.toml")).unwrap();
    finish(&relay, true).await.unwrap();
    let pem = fs::read(relay.file("relay.key")).unwrap();
    let directory = relay.stop().await;
    fs::write(directory.path().join("rotation.toml"), rotation).unwrap();

    let identity = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
    let relay = TestRelay::start_on(directory, |config| config.identity = identity).await;
    let status = relay.status().await;
    assert_eq!(
        status.key.unwrap(),
        KeyStatus {
            key: next,
            rotation: None
        }
    );
    assert_eq!(status.homes[0].knows_next_key, None);
    assert!(!relay.file("rotation.toml").exists());
    assert_eq!(key_in(&relay), next);
    // And another one can begin.
    match relay.command(&Command::RotateKey { overlap_s: None }).await {
        Reply::Key(status) => assert_eq!(status.key, next),
        reply => panic!("{reply:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overlap_ends_by_itself_but_not_before_homes_had_a_chance() {
    let relay = TestRelay::start().await;
    let next = rotate(&relay, 0).await.next;
    // It is over, but the relay has just started.
    let soon = |config: &mut Config| config.timings.rotation_grace = Duration::ZERO;
    let status = relay.status().await.key.unwrap();
    assert_eq!(status.rotation.unwrap().next, next);
    let relay = TestRelay::start_on(relay.stop().await, soon).await;
    relay
        .until(|status| status.key.as_ref().unwrap().rotation.is_none())
        .await;
    assert_eq!(key_in(&relay), next);
    let (_, proven) = Tunnel::dial_trusting(relay.address(), HomeKey(1), &[old()]).await;
    assert_eq!(proven, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_homes_say_of_other_keys_counts_for_nothing() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    // Before there is a next key, and of keys that are none.
    home.say(&FromHome::Pinned { key: old() });
    let next = rotate(&relay, 3600).await.next;
    home.hear_keys().await;
    for key in [old(), HomeKey(7).public()] {
        home.say(&FromHome::Pinned { key });
    }
    assert_eq!(relay.status().await.homes[0].knows_next_key, Some(false));
    home.say(&FromHome::Pinned { key: next });
    relay
        .until(|status| status.homes[0].knows_next_key == Some(true))
        .await;
    let lines = fs::read_to_string(relay.file("rotation.homes")).unwrap();
    assert_eq!(lines, format!("{next}\n{}\n", HomeKey(1).public()));
    // The key is in no file but the one that is for it.
    let toml = fs::read_to_string(relay.file("rotation.toml")).unwrap();
    assert!(toml.contains("BEGIN PRIVATE KEY"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(relay.file("rotation.toml"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

over_ipv6! {
    homes_learn_the_next_key_and_the_old_one_goes,
    join_codes_of_before_work_and_new_ones_hold_the_next_key,
    a_relay_that_is_started_again_goes_on_where_it_was,
    the_end_of_the_overlap_can_be_moved_and_stays_moved,
    a_kill_in_the_middle_of_the_end_is_made_good,
    the_overlap_ends_by_itself_but_not_before_homes_had_a_chance,
    what_homes_say_of_other_keys_counts_for_nothing,
}
