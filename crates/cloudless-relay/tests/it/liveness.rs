//! Homes that vanish without a word.

use std::time::{Duration, Instant};

use cloudless_relay::Status;

use crate::support::{HOME_NAME, HomeKey, TestRelay, Visitor};

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_answers_no_ping_is_dead_after_a_while() {
    let relay = TestRelay::start_with(|config| {
        config.timings.ping_interval = Duration::from_millis(50);
        config.timings.dead_after = Duration::from_millis(200);
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"a part").await.unwrap();
    visitor.expect(b"a part").await;
    home.freeze();
    relay.until(|status| !status.homes[0].online).await;
    visitor.expect_reset().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_answers_pings_stays() {
    let dead_after = Duration::from_millis(500);
    let relay = TestRelay::start_with(|config| {
        config.timings.ping_interval = Duration::from_millis(50);
        config.timings.dead_after = dead_after;
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let start = Instant::now();
    let has_outlived = |status: &Status| {
        assert!(status.homes[0].online);
        start.elapsed() >= dead_after * 3
    };
    relay.until(has_outlived).await;
    assert!(!home.is_closed());
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_finds_out_at_once_whether_a_quiet_home_is_there() {
    let relay = TestRelay::start_with(|config| {
        config.timings.ping_interval = Duration::from_secs(3600);
        config.timings.quiet = Duration::ZERO;
        config.timings.dead_after = Duration::from_millis(100);
    })
    .await;
    let home = relay.home(HomeKey(1), HOME_NAME).await;
    // The ping of the beginning is answered.
    relay
        .until(|status| status.homes[0].round_trip.is_some())
        .await;
    home.freeze();
    let (_visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    relay.until(|status| !status.homes[0].online).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_how_long_a_ping_takes_and_why_a_tunnel_ended() {
    let relay = TestRelay::start().await;
    let home = relay.home(HomeKey(1), HOME_NAME).await;
    let is_measured = |status: &Status| {
        let home = &status.homes[0];
        assert_eq!(home.last_error, None);
        home.round_trip
            .is_some_and(|it| it.last_us > 0 && it.smoothed_us == it.last_us)
    };
    relay.until(is_measured).await;
    drop(home);
    relay.until(|status| !status.homes[0].online).await;
    let status = relay.status().await;
    assert_eq!(status.homes[0].round_trip, None);
    let error = status.homes[0].last_error.as_ref().unwrap();
    assert!(error.message.starts_with("the tunnel ended: "), "{error:?}");
}

over_ipv6! {
    a_home_that_answers_no_ping_is_dead_after_a_while,
    a_home_that_answers_pings_stays,
    a_visitor_finds_out_at_once_whether_a_quiet_home_is_there,
    the_status_says_how_long_a_ping_takes_and_why_a_tunnel_ended,
}
