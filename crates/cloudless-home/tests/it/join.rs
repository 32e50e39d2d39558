//! Redeeming join codes.

use cloudless_home::{ConnectionError, DialError, JoinError, join};
use cloudless_proto::control::{FromHome, FromRelay, Refusal};
use cloudless_proto::join_code::{JoinCode, JoinSecret};

use crate::fixture::HOST;
use crate::relay::{FakeRelay, SERVER_NAME, new_key, public_key};

pub(crate) fn code(relay: &FakeRelay) -> JoinCode {
    JoinCode {
        addresses: vec!["name.invalid:1".into(), relay.address().to_string()],
        server_name: SERVER_NAME.parse().unwrap(),
        relay_key: relay.key,
        hostname: HOST.parse().unwrap(),
        secret: JoinSecret::new([5; 16]),
        expires_at: 2_000_000_000,
    }
}

#[tokio::test]
async fn the_secret_is_redeemed_with_the_homes_key() {
    let relay = FakeRelay::bind().await;
    let (code, identity) = (code(&relay), new_key());
    let (joined, ()) = tokio::join!(join(&code, &identity, None), async {
        let mut session = relay.accept().await;
        assert_eq!(session.home_key, public_key(&identity));
        let FromHome::Join {
            hostname, secret, ..
        } = &session.first
        else {
            panic!()
        };
        assert_eq!((hostname, secret), (&code.hostname, &code.secret));
        session.say(&FromRelay::Joined {
            hostname: code.hostname.clone(),
        });
        // The relay closes when home has heard; home hangs up first.
        assert_eq!(session.hear().await, None);
    });
    assert_eq!(joined.unwrap(), code.hostname);
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let relay = FakeRelay::bind().await;
    let (code, identity) = (code(&relay), new_key());
    let (joined, ()) = tokio::join!(join(&code, &identity, None), async {
        let mut session = relay.accept().await;
        let message = "no such code".to_owned();
        let reason = Refusal::JoinRejected;
        session.say(&FromRelay::Refused {
            reason,
            message,
            retry_after_ms: None,
        });
        session.hear().await;
    });
    let error = joined.unwrap_err().to_string();
    for word in [
        "expired",
        "used",
        "clock",
        "cloudless relay invite",
        "no such code",
    ] {
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn another_name_than_asked_is_an_error() {
    let relay = FakeRelay::bind().await;
    let (code, identity) = (code(&relay), new_key());
    let (joined, ()) = tokio::join!(join(&code, &identity, None), async {
        let mut session = relay.accept().await;
        session.say(&FromRelay::Joined {
            hostname: SERVER_NAME.parse().unwrap(),
        });
        session.hear().await;
    });
    assert!(
        matches!(joined, Err(JoinError::WrongHostname { .. })),
        "{joined:?}"
    );
}

#[tokio::test]
async fn a_relay_with_another_key_never_sees_the_secret() {
    let relay = FakeRelay::bind().await;
    let mut code = code(&relay);
    code.relay_key = FakeRelay::bind().await.key;
    let identity = new_key();
    let joined = tokio::select! {
        _ = relay.accept() => panic!("home went on with another key"),
        joined = join(&code, &identity, None) => joined,
    };
    assert!(
        matches!(
            joined,
            Err(JoinError::Connection(ConnectionError::Dial(
                DialError::WrongKey { .. }
            )))
        ),
        "{joined:?}"
    );
}

over_ipv6! {
    the_secret_is_redeemed_with_the_homes_key,
    a_refusal_says_what_to_do,
    another_name_than_asked_is_an_error,
    a_relay_with_another_key_never_sees_the_secret,
}
