//! What one client, one home and all together may take.

use std::time::Duration;

use cloudless_relay::Status;
use tokio::io::AsyncWriteExt;

use crate::support::{
    ALERT, HOME_NAME, HomeKey, HomeStream, TestRelay, Tunnel, Visitor, client_hello, soon,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_source_has_its_share_and_no_more() {
    let relay = TestRelay::start_with(|config| config.limits.connections_per_source = 3).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    // The home's tunnel is the first connection from here; the one that it joined by may be there
    // for a moment longer.
    let mut inside = vec![let_in(&relay, &mut home).await];
    inside.push(let_in(&relay, &mut home).await);
    let n_refused = relay.outcome("source_limit").await;
    let mut outside = Visitor::connect(relay.https[0]).await;
    outside.gone().await;
    relay.until_outcome("source_limit", n_refused + 1).await;
    if relay.https[1].is_ipv6() {
        let (_other_source, hello) = Visitor::hello(relay.https[1], HOME_NAME).await;
        home.accept(&hello).await;
    }

    let (mut visitor, mut stream) = inside.pop().unwrap();
    visitor.finish().await;
    stream.finish();
    visitor.gone().await;
    let_in(&relay, &mut home).await;
}

/// A visitor that gets in as soon as there is a place for it: one is free a moment after the
/// connection that had it is gone.
async fn let_in(relay: &TestRelay, home: &mut Tunnel) -> (Visitor, HomeStream) {
    let hello = client_hello(HOME_NAME);
    let before = relay.status().await.totals.visitors_total;
    soon(async {
        loop {
            let n_refused = relay.outcome("source_limit").await;
            let mut visitor = Visitor::connect(relay.https[0]).await;
            // One that is refused may be closed before it has said anything.
            let _ = visitor.stream.write_all(&hello).await;
            let is_decided = |status: &Status| {
                let refused = status.outcomes.get("source_limit").copied();
                status.totals.visitors_total > before || refused.unwrap_or(0) > n_refused
            };
            if relay.until(is_decided).await.totals.visitors_total > before {
                let stream = home.accept(&hello).await;
                return (visitor, stream);
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_home_s_visitors_the_largest_crowd_makes_room() {
    let relay = TestRelay::start_with(|config| config.limits.visitors_per_home = 4).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut other = relay.home(HomeKey(2), "other.example.test").await;
    let (mut phone, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    let (_others, hello) = Visitor::hello(relay.address(), "other.example.test").await;
    let _others_stream = other.accept(&hello).await;

    let mut crowd = Vec::new();
    for n_shed in [0, 0, 0, 1, 2, 3] {
        let (visitor, hello) =
            Visitor::hello_from([127, 0, 0, 2], relay.address(), HOME_NAME).await;
        let stream = home.accept(&hello).await;
        crowd.push((visitor, stream));
        relay.until_outcome("home_limit", n_shed).await;
    }
    for (visitor, stream) in &mut crowd[..3] {
        stream.expect_reset().await;
        visitor.gone().await;
    }
    let (visitor, stream_of_last) = &mut crowd[5];
    visitor.send(b"the youngest stay").await;
    stream_of_last.expect(b"the youngest stay").await;
    phone.send(b"and so do small crowds").await;
    stream.expect(b"and so do small crowds").await;
    relay.until(|status| status.totals.visitors_now == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_visitors_have_a_limit_that_homes_do_not_share() {
    let relay = TestRelay::start_with(|config| config.limits.visitors = 1).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (_first, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
    let (mut second, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    assert_eq!(second.read_to_end().await, ALERT);
    // Homes can still come back.
    relay.home(HomeKey(2), "other.example.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_delay_nobody() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut visitor = Visitor::connect(relay.address()).await;
        visitor.send(b"\x16\x03\x01").await;
        silent.push(visitor);
    }
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_must_come_in_time() {
    let relay = TestRelay::start_with(|config| {
        config.timings.client_hello = Duration::from_millis(300);
    })
    .await;
    let mut silent = Visitor::connect(relay.address()).await;
    silent.send(b"\x16\x03\x01").await;
    assert_eq!(silent.read_to_end().await, b"");
    relay.until_outcome("client_hello_timeout", 1).await;
}
