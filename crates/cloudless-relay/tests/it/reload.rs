//! Files that are read again while the relay runs.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use cloudless_proto::control::FromRelay;
use cloudless_relay::admin::{Command, Reply};
use cloudless_relay::{Config, Reread, Source};

use crate::support::{HOME_NAME, HomeKey, TestRelay, Visitor, WebServer, test_config};

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

    for limit in [1, 2] {
        let mut config = test_config();
        config.limits.visitors = limit;
        let reply = reload(&relay, &next, Ok(config)).await;
        let waiting = vec!["the port takes a restart".to_owned()];
        assert_eq!(reply, Reply::Reloaded { waiting });
        // The limit counts who was there before it.
        let (mut second, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        if limit == 1 {
            second.gone().await;
        } else {
            home.accept(&hello).await;
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
