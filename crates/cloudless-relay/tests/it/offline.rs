//! Visitors of a home that is away for a moment.

use std::time::Duration;

use crate::support::{ALERT, HOME_NAME, HomeKey, TestRelay, Tunnel, Visitor};

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_is_held_until_the_home_is_back() {
    let relay = TestRelay::start().await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    relay.until(|status| status.totals.visitors_now == 1).await;
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 1).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"sorry for the wait").await.unwrap();
    visitor.expect(b"sorry for the wait").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_visitor_goes_where_its_name_goes() {
    for family in 0..2 {
        let relay = TestRelay::start_with(|config| config.hold = Duration::from_secs(60)).await;
        relay.enroll(HomeKey(1), HOME_NAME).await;
        let mut home = relay.home(HomeKey(2), "second.example.test").await;
        let (_visitor, hello) = Visitor::hello(relay.https[family], HOME_NAME).await;
        relay.until(|status| status.totals.visitors_now == 1).await;
        let code = relay.invite_with(HOME_NAME, 600, true).await;
        let mut tunnel = Tunnel::dial(relay.https[family], HomeKey(2)).await;
        tunnel.join(&code);
        tunnel.hear_joined().await;
        // This home has been there all the time: no session begins that could wake anybody.
        home.accept(&hello).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_hold_there_is_an_alert() {
    let relay = TestRelay::start_with(|config| config.hold = Duration::from_millis(100)).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    for address in relay.https {
        let (mut visitor, _) = Visitor::hello(address, HOME_NAME).await;
        assert_eq!(visitor.read_to_end().await, ALERT);
    }
    assert_eq!(relay.outcome("home_offline").await, 2);
    relay.until(|status| status.totals.visitors_now == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_was_not_answered_yet_moves_to_the_new_session() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let _unanswered = home.arrival().await;
    // The laptop's network is gone together with the answer.
    home.freeze();
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 2).await;
    home.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_that_was_accepted_but_has_heard_nothing() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let _stream = home.accept(&hello).await;
    drop(home);
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 2).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"the same bytes").await.unwrap();
    visitor.expect(b"the same bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_heard_something_is_reset() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"one byte is enough").await.unwrap();
    visitor.expect(b"one byte is enough").await;
    drop(home);
    visitor.expect_reset().await;
    relay.until(|status| !status.homes[0].online).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_never_answers_gets_its_visitors_an_alert() {
    let relay = TestRelay::start_with(|config| {
        config.hold = Duration::from_millis(100);
        config.timings.connect = Duration::from_millis(100);
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    let _arrival = home.arrival().await;
    assert_eq!(visitor.read_to_end().await, ALERT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_is_full_keeps_the_next_visitor_waiting_but_not_for_ever() {
    let relay = TestRelay::start_with(|config| {
        config.hold = Duration::from_millis(300);
        config.timings.connect = Duration::from_millis(300);
    })
    .await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    // The control stream and one visitor.
    let mut home = Tunnel::dial_with_streams(relay.address(), HomeKey(1), 2).await;
    home.hello(1, 1);
    home.hear_welcome().await;
    let (first, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    let (mut second, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    assert_eq!(second.read_to_end().await, ALERT);

    let (_third, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    first.reset();
    stream.expect_reset().await;
    home.accept(&hello).await;
}

over_ipv6! {
    a_visitor_is_held_until_the_home_is_back,
    a_visitor_that_was_not_answered_yet_moves_to_the_new_session,
    so_does_one_that_was_accepted_but_has_heard_nothing,
    one_that_has_heard_something_is_reset,
    a_home_that_never_answers_gets_its_visitors_an_alert,
    a_home_that_is_full_keeps_the_next_visitor_waiting_but_not_for_ever,
}
