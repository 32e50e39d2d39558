//! A relay that rotates its key: home trusts the next one in time, and nobody else's.

use cloudless_home::status::{RelayState, RelayStatus};
use cloudless_home::{RELAY_KEYS_FILE, RelayKeys};
use cloudless_proto::PublicKey;
use cloudless_proto::control::{FromHome, FromRelay};

use crate::fixture::{HOST, Home};
use crate::relay::{FakeRelay, new_key, public_key};

/// What home has on its disk about the relay that it joined with this key.
fn kept(home: &Home, joined_with: PublicKey) -> Vec<PublicKey> {
    let keys = RelayKeys::open(home.directory.path()).unwrap();
    keys.of(joined_with).keys().to_owned()
}

#[tokio::test]
async fn the_next_key_is_on_the_disk_before_home_says_so_and_the_old_one_goes_after() {
    let mut relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let (old, next) = (relay.key, new_key());
    let new = public_key(&next);
    let mut session = relay.welcome(HOST).await;
    home.connected().await;
    assert_eq!(kept(&home, old), [old]);

    session.say(&FromRelay::Keys {
        keys: vec![new, old],
    });
    assert_eq!(session.hear().await, Some(FromHome::Pinned { key: new }));
    assert_eq!(kept(&home, old), [new, old]);
    home.relay_status(|row| row.keys == [new, old] && row.state == RelayState::Connected)
        .await;

    // Still with the old key: who could not learn the next one is told with the welcome.
    session.kill();
    let mut session = relay.accept().await;
    session.welcome_with(HOST, &[new, old]);
    assert_eq!(session.hear().await, Some(FromHome::Pinned { key: new }));

    relay.prove(&next);
    session.kill();
    let mut session = relay.accept().await;
    session.welcome_with(HOST, &[new]);
    home.relay_status(|row| row.keys == [new] && row.state == RelayState::Connected)
        .await;
    assert_eq!(kept(&home, old), [new]);
    // Nothing is left to be said.
    drop(home);
    assert_eq!(session.hear().await, None);
}

#[tokio::test]
async fn a_key_that_has_gone_is_trusted_no_more() {
    let mut relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let (old, next) = (new_key(), new_key());
    let joined_with = relay.key;
    let mut session = relay.accept().await;
    session.welcome_with(HOST, &[public_key(&next), joined_with]);
    session.hear().await;
    relay.prove(&next);
    session.kill();
    let mut session = relay.accept().await;
    session.welcome_with(HOST, &[public_key(&next)]);
    home.relay_status(|row| row.keys.len() == 1).await;
    relay.prove(&old);
    session.kill();
    let is_told = |error: &String| error.contains("another key");
    tokio::select! {
        _ = relay.accept() => panic!("home spoke to a relay with a key that has gone"),
        _ = home.relay_status(|row| row.error.as_ref().is_some_and(is_told)) => {}
    }
}

/// Whoever has stolen the old key can pose as the relay until it has gone, and do no more than that.
#[tokio::test]
async fn a_thief_of_the_old_key_brings_in_no_key_and_takes_none_away() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let (old, new) = (relay.key, public_key(&new_key()));
    let thief = public_key(&new_key());
    let mut session = relay.accept().await;
    session.welcome_with(HOST, &[new, old]);
    assert_eq!(session.hear().await, Some(FromHome::Pinned { key: new }));
    for keys in [vec![thief, old], vec![thief, new, old], vec![old]] {
        session.say(&FromRelay::Keys { keys });
    }
    // What was said last shows that all of it was heard.
    let hostnames = vec!["other.example.org".parse().unwrap()];
    session.say(&FromRelay::Hostnames {
        hostnames: hostnames.clone(),
    });
    home.relay_status(|row| row.hostnames == hostnames).await;
    assert_eq!(kept(&home, old), [new, old]);
    drop(home);
    assert_eq!(session.hear().await, None);
}

#[tokio::test]
async fn a_key_that_cannot_be_kept_is_not_said_to_be_and_the_status_tells() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let (old, new) = (relay.key, public_key(&new_key()));
    // The file cannot be written under its temporary name.
    let blocked = home.directory.path().join(format!("{RELAY_KEYS_FILE}.new"));
    std::fs::create_dir(&blocked).unwrap();
    let mut session = relay.accept().await;
    session.welcome_with(HOST, &[new, old]);
    // Which of the two the status tells first is not promised.
    let is_told = |row: &RelayStatus| row.state == RelayState::Connected && row.warning.is_some();
    let row = home.relay_status(is_told).await;
    let message = row.warning.unwrap().message;
    assert!(message.contains(RELAY_KEYS_FILE), "{message}");
    assert_eq!(kept(&home, old), [old]);

    std::fs::remove_dir(&blocked).unwrap();
    session.say(&FromRelay::Keys {
        keys: vec![new, old],
    });
    assert_eq!(session.hear().await, Some(FromHome::Pinned { key: new }));
    assert_eq!(kept(&home, old), [new, old]);
    home.relay_status(|row| row.warning.is_none()).await;
}

over_ipv6! {
    the_next_key_is_on_the_disk_before_home_says_so_and_the_old_one_goes_after,
    a_key_that_has_gone_is_trusted_no_more,
    a_thief_of_the_old_key_brings_in_no_key_and_takes_none_away,
    a_key_that_cannot_be_kept_is_not_said_to_be_and_the_status_tells,
}
