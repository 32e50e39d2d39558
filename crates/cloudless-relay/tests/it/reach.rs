//! A home that tries its names from outside tells the relay what came of it.

use std::time::Duration;

use cloudless_proto::control::{FromHome, FromRelay, Reach};
use cloudless_relay::HomeStatus;

use crate::support::{HOME_NAME, HomeKey, TestRelay, Tunnel, Visitor};

const OTHER_NAME: &str = "other.example.test";

fn tells(hostname: &str, reach: Reach, message: &str) -> FromHome {
    FromHome::Reach {
        hostname: hostname.parse().unwrap(),
        reach,
        message: (!message.is_empty()).then(|| message.to_owned()),
    }
}

/// Waits until the first home's row is so, and returns it.
async fn until(relay: &TestRelay, wanted: impl Fn(&HomeStatus) -> bool) -> HomeStatus {
    relay.until(|status| wanted(&status.homes[0])).await;
    relay.status().await.homes.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_tries_its_name_is_online_only_while_phones_reach_it() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let mut home = Tunnel::dial(relay.address(), HomeKey(1)).await;
    home.hello_with_probes(1, 1);
    home.hear_welcome().await;
    let row = until(&relay, |row| row.since.is_some()).await;
    assert!(!row.online && row.probe.is_none(), "not known yet: {row:?}");

    home.say(&tells(HOME_NAME, Reach::Fails, "it leads elsewhere"));
    let row = until(&relay, |row| row.probe.is_some()).await;
    assert!(!row.online && row.last_error.is_none(), "{row:?}");
    let error = row.probe.unwrap().error;
    assert_eq!(error.as_deref(), Some("home says: it leads elsewhere"));
    // That some do not get there keeps nobody out who does.
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;

    home.say(&tells(HOME_NAME, Reach::Partly, "not over IPv6"));
    let row = until(&relay, |row| row.online).await;
    assert!(row.probe.unwrap().error.unwrap().contains("IPv6"));
    home.say(&tells(HOME_NAME, Reach::Works, ""));
    let is_well = |row: &HomeStatus| row.probe.as_ref().is_some_and(|it| it.error.is_none());
    assert!(until(&relay, is_well).await.online);

    // Of another home's name it may say what it likes.
    let _other = relay.home(HomeKey(2), OTHER_NAME).await;
    home.say(&tells(OTHER_NAME, Reach::Fails, "no"));
    home.say(&tells(HOME_NAME, Reach::Checking, ""));
    until(&relay, |row| !row.online).await;
    let status = relay.status().await;
    let other = status
        .homes
        .iter()
        .find(|it| it.hostname.as_str() == OTHER_NAME);
    let other = other.unwrap();
    assert!(
        other.online && other.probe.is_none(),
        "an older home says nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_in_a_session_ends_with_it() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    home.say(&tells(HOME_NAME, Reach::Fails, "it leads elsewhere"));
    until(&relay, |row| row.probe.is_some()).await;
    drop(home);
    until(&relay, |row| row.since.is_none()).await;
    let _home = Tunnel::online(relay.address(), HomeKey(1), 2).await;
    let row = until(&relay, |row| row.online).await;
    assert_eq!(row.probe, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_tells_without_end_is_heard_slowly_and_keeps_its_visitors() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    for n in 0..2_000 {
        home.say(&tells(HOME_NAME, Reach::Fails, &format!("number {n}")));
    }
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
    let error = |row: HomeStatus| row.probe.unwrap().error.unwrap();
    let row = until(&relay, |row| row.probe.is_some()).await;
    assert!(!error(row).contains("number 1999"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_that_talks_without_end_is_heard_slowly_and_hears_the_relay() {
    let relay =
        TestRelay::start_with(|config| config.timings.drain_idle = Duration::from_secs(10)).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    home.say_bytes(b"{\"type\":\"from a later version\"}\n".repeat(2_000));
    home.say(&tells(HOME_NAME, Reach::Fails, "it leads elsewhere"));
    relay.enroll(HomeKey(1), OTHER_NAME).await;
    let heard = home.hear().await;
    assert!(
        matches!(heard, Some(FromRelay::Hostnames { .. })),
        "{heard:?}"
    );
    let (_visitor, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    let _stream = home.accept(&hello).await;
    let row = relay.status().await.homes.remove(0);
    assert!(row.online && row.probe.is_none(), "{row:?}");
    relay.shutdown.cancel();
    let heard = home.hear().await;
    assert!(matches!(heard, Some(FromRelay::Drain { .. })), "{heard:?}");
}

over_ipv6! {
    a_home_that_tries_its_name_is_online_only_while_phones_reach_it,
    what_was_told_in_a_session_ends_with_it,
    a_home_that_tells_without_end_is_heard_slowly_and_keeps_its_visitors,
    a_later_version_that_talks_without_end_is_heard_slowly_and_hears_the_relay,
}
