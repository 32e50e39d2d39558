//! A relay of another version either works or is named, or this home is.

use cloudless_home::status::RelayState;
use cloudless_home::{ConnectionError, ControlError, JoinError, join};
use cloudless_proto::control::{FromRelay, Refusal, VERSION, skew};

use crate::fixture::{HOST, Home};
use crate::join::code;
use crate::relay::{FakeRelay, new_key};

#[tokio::test]
async fn a_newer_relay_of_the_same_version_says_more_and_is_understood() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let mut session = relay.accept().await;
    session.say_bytes(b"{\"type\":\"greeting\",\"mood\":\"good\"}\n".to_vec());
    let welcome = format!(
        r#"{{"type":"welcome","version":{VERSION},"software":"x","hostnames":["{HOST}"],"x":[{{}}]}}"#
    );
    session.say_bytes(format!("{welcome}\n").into_bytes());
    home.connected().await;
}

#[tokio::test]
async fn a_relay_of_another_version_is_told_apart_and_the_side_to_upgrade_is_named() {
    for (version, side) in [(VERSION - 1, "relay"), (VERSION + 1, "home")] {
        let relay = FakeRelay::bind().await;
        let home = Home::start(vec![relay.relay()]).await;
        let mut session = relay.accept().await;
        // Nothing but the version is as it was.
        let welcome = format!("{{\"type\":\"welcome\",\"version\":{version},\"names\":7}}\n");
        session.say_bytes(welcome.into_bytes());
        let row = home.relay_status(|row| row.error.is_some()).await;
        assert_eq!(row.state, RelayState::Dialing);
        let error = row.error.unwrap();
        assert!(error.ends_with(&format!("upgrade the {side}")), "{error}");
    }
}

#[tokio::test]
async fn a_relay_that_refuses_for_its_version_is_refused_by_name() {
    let relay = FakeRelay::bind().await;
    let home = Home::start(vec![relay.relay()]).await;
    let mut session = relay.accept().await;
    session.say(&FromRelay::Refused {
        reason: Refusal::Version,
        message: skew(1, 2),
        retry_after_ms: None,
    });
    let row = home
        .relay_status(|row| row.state == RelayState::Refused)
        .await;
    let error = row.error.unwrap();
    assert!(error.contains("upgrade the home"), "{error}");
}

#[tokio::test]
async fn joining_names_the_side_too() {
    let relay = FakeRelay::bind().await;
    let (code, identity) = (code(&relay), new_key());
    let (joined, ()) = tokio::join!(join(&code, &identity, None), async {
        let mut session = relay.accept().await;
        session.say_bytes(b"{\"type\":\"joined\",\"version\":9}\n".to_vec());
        session.hear().await;
    });
    let Err(JoinError::Connection(ConnectionError::Control(error))) = joined else {
        panic!("{joined:?}")
    };
    assert!(matches!(error, ControlError::Version { relay: 9 }));
    assert!(error.to_string().contains("upgrade the home"), "{error}");
}

over_ipv6! {
    a_newer_relay_of_the_same_version_says_more_and_is_understood,
    a_relay_of_another_version_is_told_apart_and_the_side_to_upgrade_is_named,
    a_relay_that_refuses_for_its_version_is_refused_by_name,
    joining_names_the_side_too,
}
