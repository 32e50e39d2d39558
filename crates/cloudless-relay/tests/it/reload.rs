//! Files that are read again while the relay runs.

mod open;

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use cloudless_proto::control::{FromRelay, Refusal};
use cloudless_relay::admin::{Command, Reply};
use cloudless_relay::{Config, Reread, Servers, Source};

use crate::support::{HOME_NAME, HomeKey, TestRelay, Tunnel, Visitor, WebServer, test_config};

const OTHER_NAME: &str = "other.example.test";

/// What the next look at the configuration finds.
type Next = Arc<Mutex<Option<Result<Config, &'static str>>>>;

async fn start() -> (TestRelay, Next) {
    let next = Next::default();
    let found = Arc::clone(&next);
    let source = Source::new(move || {
        let config = found.lock().unwrap().take().unwrap()?;
        Ok(Reread {
            config,
            waiting: vec!["the port takes a restart".to_owned()],
        })
    });
    let relay = TestRelay::start_with(|config| config.source = Some(source)).await;
    (relay, next)
}

/// The configuration with a route for `name` itself.
fn routed(name: &str) -> Config {
    let mut config = test_config();
    let servers = Servers {
        https: Some(SocketAddr::from(([127, 0, 0, 1], 9)).into()),
        ..Servers::default()
    };
    config.routes.0.insert(name.parse().unwrap(), servers);
    config
}

/// Writes `homes.toml`, as a person would.
fn write_homes(relay: &TestRelay, homes: &[(&str, HomeKey)]) {
    let table = |(hostname, key): &(&str, HomeKey)| {
        let key = key.public();
        format!(
            "[[home]]\nhostname = \"{hostname}\"\nkey = \"{key}\"\njoined = 2026-01-01T00:00:00Z\n"
        )
    };
    let text: String = homes.iter().map(table).collect();
    fs::write(relay.file("homes.toml"), text).unwrap();
}

/// Asserts that the files were refused, and that this was said.
fn refused(reply: &Reply, words: &[&str]) {
    let Reply::Error { message } = reply else {
        panic!("taken: {reply:?}");
    };
    for word in words {
        assert!(message.contains(word), "{message}");
    }
}

async fn reload(relay: &TestRelay, next: &Next, config: Result<Config, &'static str>) -> Reply {
    *next.lock().unwrap() = Some(config);
    relay.command(&Command::Reload).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_files_say_is_in_force_and_open_connections_stay() {
    let (relay, next) = start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;

    relay.enroll(HomeKey(2), OTHER_NAME).await;
    for limit in [1, 2] {
        let mut config = test_config();
        config.limits.sessions = limit;
        let reply = reload(&relay, &next, Ok(config)).await;
        let waiting = vec!["the port takes a restart".to_owned()];
        assert_eq!(reply, Reply::Reloaded { waiting });
        // The limit counts who was there before it.
        let mut second = Tunnel::dial(relay.address(), HomeKey(2)).await;
        second.hello(2, limit as u64);
        if limit == 1 {
            assert_eq!(second.hear_refused().await, Refusal::RateLimited);
        } else {
            second.hear_welcome().await;
        }
    }
    let mut config = test_config();
    let web_server = WebServer::start().await;
    config.fallback.https = Some(web_server.address().into());
    reload(&relay, &next, Ok(config)).await;
    let (_stranger, hello) = Visitor::hello(relay.address(), "unknown.example.test").await;
    web_server.accept().await.expect(&hello).await;
    visitor.send(b"still here").await;
    stream.expect(b"still here").await;
    stream.send(b"me too").await.unwrap();
    visitor.expect(b"me too").await;
    let status = relay.status().await;
    assert_eq!(status.reload.unwrap().refused, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_refused_and_said() {
    let (relay, next) = start().await;
    let web_server = WebServer::start().await;
    let mut good = test_config();
    good.fallback.https = Some(web_server.address().into());
    reload(&relay, &next, Ok(good)).await;

    let reply = reload(&relay, &next, Err("line 7 is wrong")).await;
    let message = "line 7 is wrong".to_owned();
    assert_eq!(reply, Reply::Error { message });
    let refused = relay.status().await.reload.unwrap().refused;
    assert_eq!(refused.as_deref(), Some("line 7 is wrong"));
    let (_stranger, hello) = Visitor::hello(relay.address(), "unknown.example.test").await;
    web_server.accept().await.expect(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_homes_file_changes_nothing_not_even_the_configuration() {
    let (relay, next) = start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let homes = fs::read_to_string(relay.file("homes.toml")).unwrap();
    fs::write(relay.file("homes.toml"), homes.replace("hostname", "name")).unwrap();

    let mut config = test_config();
    config.fallback.https = Some(SocketAddr::from(([127, 0, 0, 1], 9)).into());
    let Reply::Error { message } = reload(&relay, &next, Ok(config)).await else {
        panic!("a damaged file was taken");
    };
    assert!(message.contains("homes.toml is damaged"), "{message}");
    let (mut stranger, _) = Visitor::hello(relay.address(), "unknown.example.test").await;
    assert_eq!(stranger.read_to_end().await, b"");
    assert_eq!(relay.outcome("server_unreachable").await, 0);
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_hear_of_names_that_came_and_went_by_hand() {
    let (relay, next) = start().await;
    let mut stays = relay.home(HomeKey(1), HOME_NAME).await;
    let mut goes = relay.home(HomeKey(2), "other.example.test").await;
    let path = relay.file("homes.toml");
    let homes = fs::read_to_string(&path).unwrap();
    let [key_1, key_2] = [1, 2].map(|key| HomeKey(key).public().to_string());
    fs::write(&path, homes.replace(&key_2, &key_1)).unwrap();

    reload(&relay, &next, Ok(test_config())).await;
    let Some(FromRelay::Hostnames { hostnames }) = stays.hear().await else {
        panic!("the home hears nothing of its second name");
    };
    let expected = [HOME_NAME, "other.example.test"].map(|name| name.parse().unwrap());
    assert_eq!(hostnames, expected);
    goes.closed().await;
    let (_visitor, hello) = Visitor::hello(relay.address(), "other.example.test").await;
    stays.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_homes_have_pinned_stays_and_that_is_said() {
    let (relay, next) = start().await;
    let mut config = test_config();
    config.server_name = "another.example.test".parse().unwrap();
    config.identity = HomeKey(9).identity();
    let Reply::Reloaded { waiting } = reload(&relay, &next, Ok(config)).await else {
        panic!("not reloaded");
    };
    assert_eq!(waiting.len(), 3, "{waiting:?}");
    // It joins and dials as before.
    relay.home(HomeKey(1), HOME_NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_of_a_name_that_another_home_gets_is_cut_and_its_home_s_others_stay() {
    let (relay, next) = start().await;
    relay.enroll(HomeKey(1), OTHER_NAME).await;
    let mut before = relay.home(HomeKey(1), HOME_NAME).await;
    let mut after = relay.home(HomeKey(2), "third.example.test").await;
    let mut open = Vec::new();
    for name in [HOME_NAME, OTHER_NAME] {
        let (mut visitor, hello) = Visitor::hello(relay.address(), name).await;
        let mut stream = before.accept(&hello).await;
        stream.send(b"answer").await.unwrap();
        visitor.expect(b"answer").await;
        open.push((visitor, stream));
    }
    // The home has said nothing to this one yet.
    let (mut unanswered, unanswered_hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut silent = before.accept(&unanswered_hello).await;

    let homes = [
        (HOME_NAME, HomeKey(2)),
        (OTHER_NAME, HomeKey(1)),
        ("third.example.test", HomeKey(2)),
    ];
    write_homes(&relay, &homes);
    let reply = reload(&relay, &next, Ok(test_config())).await;
    assert!(matches!(reply, Reply::Reloaded { .. }), "{reply:?}");

    let [(cut, cut_stream), (stays, stays_stream)] = &mut open[..] else {
        panic!("two visitors");
    };
    cut.expect_reset().await;
    cut_stream.expect_reset().await;
    silent.expect_reset().await;
    // It is brought to who has the name now.
    let mut stream = after.accept(&unanswered_hello).await;
    stream.send(b"from the other home").await.unwrap();
    unanswered.expect(b"from the other home").await;
    stays.send(b"still here").await;
    stays_stream.expect(b"still here").await;
    stays_stream.send(b"me too").await.unwrap();
    stays.expect(b"me too").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routed_name_in_a_new_homes_file_is_refused_and_the_relay_starts_again() {
    let (relay, next) = start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    reload(&relay, &next, Ok(routed(OTHER_NAME))).await;
    let homes = [(HOME_NAME, HomeKey(1)), (OTHER_NAME, HomeKey(1))];
    write_homes(&relay, &homes);
    let reply = reload(&relay, &next, Ok(routed(OTHER_NAME))).await;
    refused(&reply, &[OTHER_NAME, "route", "relay revoke"]);
    let Reply::Homes { homes } = relay.command(&Command::Homes).await else {
        panic!("no list of homes");
    };
    assert_eq!(homes.len(), 1);
    // The files are as they were left. Whoever starts now is told, and serves.
    let relay = TestRelay::start_on(relay.stop().await, |config| {
        *config = routed(OTHER_NAME);
    })
    .await;
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 1).await;
    let (_visitor, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    home.accept(&hello).await;
    let idle = relay.status().await.routes_idle;
    assert_eq!(idle, [OTHER_NAME.parse().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_name_gets_no_route_and_a_routed_name_no_home() {
    let (relay, next) = start().await;
    let code = relay.invite(OTHER_NAME).await;
    let reply = reload(&relay, &next, Ok(routed(OTHER_NAME))).await;
    refused(&reply, &[OTHER_NAME, "join code", "relay revoke"]);
    // Nothing keeps relay.toml from being so at the next start.
    let relay = TestRelay::start_on(relay.stop().await, |config| {
        *config = routed(OTHER_NAME);
    })
    .await;
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
    tunnel.join(&code);
    assert_eq!(tunnel.hear_refused().await, Refusal::HostnameTaken);
    drop(tunnel);
    let relay = TestRelay::start_on(relay.stop().await, |_| {}).await;
    // Without the route the code is as good as before.
    let mut tunnel = Tunnel::dial(relay.address(), HomeKey(1)).await;
    tunnel.join(&code);
    tunnel.hear_joined().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_moves_between_homes_and_routes_in_one_reload() {
    let (relay, next) = start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    relay.enroll(HomeKey(1), OTHER_NAME).await;
    assert!(matches!(
        home.hear().await,
        Some(FromRelay::Hostnames { .. })
    ));
    write_homes(&relay, &[(HOME_NAME, HomeKey(1))]);
    let reply = reload(&relay, &next, Ok(routed(OTHER_NAME))).await;
    assert!(matches!(reply, Reply::Reloaded { .. }), "{reply:?}");
    let heard = home.hear().await;
    assert!(
        matches!(heard, Some(FromRelay::Hostnames { .. })),
        "{heard:?}"
    );

    write_homes(&relay, &[(HOME_NAME, HomeKey(1)), (OTHER_NAME, HomeKey(1))]);
    let reply = reload(&relay, &next, Ok(test_config())).await;
    assert!(matches!(reply, Reply::Reloaded { .. }), "{reply:?}");
    let (_visitor, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    home.accept(&hello).await;
    assert!(relay.status().await.routes_idle.is_empty());
}

over_ipv6! {
    what_the_files_say_is_in_force_and_open_connections_stay,
    a_bad_configuration_is_refused_and_said,
    a_bad_homes_file_changes_nothing_not_even_the_configuration,
    homes_hear_of_names_that_came_and_went_by_hand,
    what_homes_have_pinned_stays_and_that_is_said,
    a_visitor_of_a_name_that_another_home_gets_is_cut_and_its_home_s_others_stay,
    a_routed_name_in_a_new_homes_file_is_refused_and_the_relay_starts_again,
    an_invited_name_gets_no_route_and_a_routed_name_no_home,
    a_name_moves_between_homes_and_routes_in_one_reload,
}
