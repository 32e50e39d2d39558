//! Which of two sessions with one key stays.

use std::time::Duration;

use cloudless_proto::control::{FromRelay, Refusal};

use crate::support::{HOME_NAME, HomeKey, TestRelay, Tunnel, Visitor};

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_dials_anew_replaces_its_old_session_at_once() {
    let relay = TestRelay::start().await;
    let mut old = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut old_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut old_stream = old.accept(&hello).await;
    old_stream.send(b"a part").await.unwrap();
    old_visitor.expect(b"a part").await;
    // Even one that does not react any more.
    old.freeze();

    let mut new = Tunnel::online(relay.https[1], HomeKey(1), 2).await;
    old_visitor.expect_reset().await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    new.accept(&hello).await;
    assert_eq!(relay.status().await.totals.sessions_now, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_connection_is_closed() {
    let relay = TestRelay::start().await;
    let mut old = relay.home(HomeKey(1), HOME_NAME).await;
    let mut new = Tunnel::online(relay.address(), HomeKey(1), 2).await;
    old.closed().await;
    assert!(!new.is_closed());
    let home = relay.status().await.homes.remove(0);
    assert!(home.online);
    assert_eq!(home.last_error, None, "a takeover is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_epoch_never_wins() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let mut current = Tunnel::online(relay.address(), HomeKey(1), 5).await;
    for epoch in [4, 5] {
        let mut late = Tunnel::dial(relay.address(), HomeKey(1)).await;
        late.hello(1, epoch);
        assert_eq!(late.hear_refused().await, Refusal::OldEpoch);
    }
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    current.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_live_instance_is_refused() {
    let relay = TestRelay::start().await;
    let mut current = relay.home(HomeKey(1), HOME_NAME).await;
    let mut clone = Tunnel::dial(relay.address(), HomeKey(1)).await;
    clone.hello(77, 100);
    assert_eq!(clone.hear_refused().await, Refusal::OtherInstance);
    clone.closed().await;
    // Both are told, and whoever looks at the relay.
    assert_eq!(current.hear().await, Some(FromRelay::OtherInstance));
    let home = relay.status().await.homes.remove(0);
    assert!(home.online);
    let error = home.last_error.unwrap().message;
    assert!(error.contains("second machine"), "{error}");
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    current.accept(&hello).await;
    assert_eq!(relay.outcome("refused_other_instance").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_dead_instance_is_replaced() {
    let relay =
        TestRelay::start_with(|config| config.timings.probe = Duration::from_millis(100)).await;
    let dead = relay.home(HomeKey(1), HOME_NAME).await;
    dead.freeze();
    let mut new = Tunnel::dial(relay.address(), HomeKey(1)).await;
    new.hello(77, 1);
    new.hear_welcome().await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    new.accept(&hello).await;
}

over_ipv6! {
    the_old_connection_is_closed,
    an_old_epoch_never_wins,
    another_live_instance_is_refused,
    another_dead_instance_is_replaced,
}
