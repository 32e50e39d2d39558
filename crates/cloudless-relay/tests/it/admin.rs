//! The command line's socket, and the same commands without a relay.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cloudless_proto::Hostname;
use cloudless_proto::control::Refusal;
use cloudless_proto::join_code::JoinCode;
use cloudless_relay::admin::{Command, Reply, execute_offline};
use cloudless_relay::{Registry, RegistryError};

use crate::support::{HOME_NAME, HomeKey, TestRelay, Tunnel, Visitor, test_config};

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owner_s_alone() {
    let relay = TestRelay::start().await;
    assert_eq!(
        fs::metadata(&relay.socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_command_is_answered_with_an_error() {
    let relay = TestRelay::start().await;
    let too_long = "x".repeat(100_000);
    for line in ["nonsense", "{\"type\":\"no such command\"}", &too_long] {
        let reply: Reply = serde_json::from_str(&relay.line(line).await).unwrap();
        assert!(matches!(reply, Reply::Error { .. }), "{reply:?}");
    }
    relay.status().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_home_is_cut_at_once() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut other = relay.home(HomeKey(2), "other.example.test").await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"a part").await.unwrap();
    visitor.expect(b"a part").await;

    let hostname: Hostname = HOME_NAME.parse().unwrap();
    let reply = relay
        .command(&Command::Revoke {
            hostname: hostname.clone(),
        })
        .await;
    let expected = Reply::Revoked {
        hostname: hostname.clone(),
        session_closed: true,
    };
    assert_eq!(reply, expected);
    visitor.expect_reset().await;
    home.closed().await;

    let (mut late, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    assert_eq!(late.read_to_end().await, b"");
    let mut back = Tunnel::dial(relay.address(), HomeKey(1)).await;
    back.hello(1, 2);
    assert_eq!(back.hear_refused().await, Refusal::UnknownKey);
    assert!(!other.is_closed());

    let reply = relay.command(&Command::Revoke { hostname }).await;
    let Reply::Error { message } = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(message, "home.example.test belongs to no home here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_bound_is_invited_only_by_force() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let invite = |replace| Command::Invite {
        hostname: HOME_NAME.parse().unwrap(),
        ttl_s: 60,
        replace,
    };
    let reply = relay.command(&invite(false)).await;
    let Reply::Error { message } = reply else {
        panic!("{reply:?}")
    };
    assert!(message.contains("--replace"), "{message}");
    assert!(matches!(
        relay.command(&invite(true)).await,
        Reply::Invited { .. }
    ));
    let Reply::Homes { homes } = relay.command(&Command::Homes).await else {
        panic!()
    };
    assert_eq!(homes[0].key, HomeKey(1).public().into());
}

#[test]
fn without_a_relay_the_commands_work_on_the_files() {
    let directory = tempfile::TempDir::new().unwrap();
    let config = test_config();
    let registry = Registry::open(directory.path()).unwrap();
    let hostname: Hostname = HOME_NAME.parse().unwrap();
    let invite = Command::Invite {
        hostname: hostname.clone(),
        ttl_s: 60,
        replace: false,
    };
    let reply = execute_offline(&config, &registry, invite);
    let Reply::Invited {
        code, expires_at, ..
    } = reply
    else {
        panic!("{reply:?}")
    };
    let code: JoinCode = code.parse().unwrap();
    assert_eq!(code.expires_at, expires_at);
    registry
        .redeem(
            HomeKey(1).public(),
            &hostname,
            &code.secret,
            &config.routes,
            expires_at - 1,
        )
        .unwrap();

    let reply = execute_offline(&config, &registry, Command::Status);
    let Reply::Status(status) = reply else {
        panic!("{reply:?}")
    };
    assert!(!status.running && status.since.is_none() && !status.homes[0].online);
    let reply = execute_offline(
        &config,
        &registry,
        Command::Revoke {
            hostname: hostname.clone(),
        },
    );
    assert_eq!(
        reply,
        Reply::Revoked {
            hostname,
            session_closed: false
        }
    );
    assert_eq!(
        execute_offline(&config, &registry, Command::Homes),
        Reply::Homes { homes: Vec::new() }
    );
    let second = Registry::open(directory.path());
    assert!(matches!(second, Err(RegistryError::InUse { .. })));
}

over_ipv6! {
    the_socket_is_its_owner_s_alone,
    a_line_that_is_no_command_is_answered_with_an_error,
    a_revoked_home_is_cut_at_once,
    a_name_that_is_bound_is_invited_only_by_force,
}
