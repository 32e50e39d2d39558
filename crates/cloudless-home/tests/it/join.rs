//! Redeeming join codes.

use cloudless_home::{ConnectionError, DialError, JoinError, Proxy, join};
use cloudless_proto::PublicKey;
use cloudless_proto::control::{FromHome, FromRelay, Refusal};
use cloudless_proto::join_code::{JoinCode, JoinSecret};
use tokio::net::TcpListener;

use crate::fixture::HOST;
use crate::proxy;
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
    let (joined, home_key) = tokio::join!(join(&code, &identity, None), redeemed(&relay, &code));
    assert_eq!(home_key, public_key(&identity));
    assert_eq!(joined.unwrap(), code.hostname);
}

/// The relay's part where a code is good. Returns the key of the home that has joined.
async fn redeemed(relay: &FakeRelay, code: &JoinCode) -> PublicKey {
    let mut session = relay.accept().await;
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
    session.home_key
}

#[tokio::test]
async fn a_code_is_redeemed_through_a_proxy_that_wants_a_login() {
    let relay = FakeRelay::bind().await;
    let (mut code, identity) = (code(&relay), new_key());
    code.addresses = vec![proxy::ADDRESS.to_owned()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://me:secret@{}", listener.local_addr().unwrap());
    let through = Proxy::new(&url, "").unwrap();
    let carried = async {
        let (head, tcp) = proxy::granted(&listener).await;
        proxy::carry(tcp, &relay).await;
        head
    };
    let (joined, home_key, head) = tokio::join!(
        join(&code, &identity, Some(&through)),
        redeemed(&relay, &code),
        carried,
    );
    assert_eq!(joined.unwrap(), code.hostname);
    assert_eq!(home_key, public_key(&identity));
    assert!(head.starts_with("CONNECT relay.invalid:443 "), "{head}");
    // "me:secret"
    assert!(
        head.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"),
        "{head}"
    );
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
    a_code_is_redeemed_through_a_proxy_that_wants_a_login,
    a_refusal_says_what_to_do,
    another_name_than_asked_is_an_error,
    a_relay_with_another_key_never_sees_the_secret,
}
