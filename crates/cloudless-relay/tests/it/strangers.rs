//! Visitors that a home does not know, above all those of a botnet, which has an address for each.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::support::{HOME_NAME, HomeKey, HomeStream, TestRelay, Tunnel, Visitor};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(300);
/// Of a TLS handshake that goes on, and of what follows it.
const ANSWER: [u8; 200] = [7; 200];

/// A relay in which so many strangers may begin, and nothing ends by itself.
async fn relay_with_places(strangers_per_home: usize) -> TestRelay {
    TestRelay::start_with(|config| {
        config.limits.strangers_per_home = strangers_per_home;
        config.timings.stranger = LONG;
        config.hold = LONG;
    })
    .await
}

/// Visits from this address; returns once the two are in a talk, as far as the relay can tell.
async fn talk(source: [u8; 4], relay: SocketAddr, home: &mut Tunnel) -> (Visitor, HomeStream) {
    let (mut visitor, hello) = Visitor::hello_from(source, relay, HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    converse(&mut visitor, &mut stream).await;
    (visitor, stream)
}

async fn converse(visitor: &mut Visitor, stream: &mut HomeStream) {
    stream.send(&ANSWER).await.unwrap();
    visitor.expect(&ANSWER).await;
    // The second time the relay is done with what the first one meant.
    for _ in 0..2 {
        visitor.send(b"finished").await;
        stream.expect(b"finished").await;
        stream.send(&ANSWER).await.unwrap();
        visitor.expect(&ANSWER).await;
    }
}

async fn hello(n: u8, relay: &TestRelay) -> (Visitor, Vec<u8>) {
    Visitor::hello_from([127, 0, 1, n], relay.https[0], HOME_NAME).await
}

async fn nobody_comes(home: &mut Tunnel) {
    let arrival = timeout(SHORT, home.arrival()).await;
    assert!(arrival.is_err(), "one too many");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_reach_a_home_a_few_at_a_time_and_whom_it_knows_waits_for_none() {
    let relay = relay_with_places(2).await;
    let phone = [127, 0, 0, 9];
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    drop(talk(phone, relay.https[0], &mut home).await);

    let (mut first, opening) = hello(1, &relay).await;
    let mut stream = home.accept(&opening).await;
    let (second, opening) = hello(2, &relay).await;
    let mut stream_of_second = home.accept(&opening).await;
    let _third = hello(3, &relay).await;
    let _fourth = hello(4, &relay).await;
    // An answer changes nothing, and neither does an end.
    stream.send(&ANSWER).await.unwrap();
    first.expect(&ANSWER).await;
    second.reset();
    stream_of_second.expect_reset().await;
    nobody_comes(&mut home).await;
    drop(talk(phone, relay.https[0], &mut home).await);

    converse(&mut first, &mut stream).await;
    // Which of them is one matter, how many is another.
    home.arrival().await.accept();
    nobody_comes(&mut home).await;
    // Who has talked is known from then on.
    let (_again, opening) = hello(1, &relay).await;
    home.accept(&opening).await;
    // Another home has strangers of its own.
    let other_name = "other.example.test";
    let mut other = relay.home(HomeKey(2), other_name).await;
    let (_visitor, opening) = Visitor::hello_from([127, 0, 1, 5], relay.https[0], other_name).await;
    other.accept(&opening).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_says_no_more_keeps_others_waiting_for_some_time_only() {
    let relay = TestRelay::start_with(|config| {
        config.limits.strangers_per_home = 1;
        config.timings.stranger = 2 * SHORT;
        config.hold = LONG;
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let start = Instant::now();
    let mut there = Vec::new();
    for n in 1..4 {
        let (visitor, opening) = hello(n, &relay).await;
        there.push((visitor, home.accept(&opening).await));
    }
    assert!(start.elapsed() >= 2 * 2 * SHORT, "{:?}", start.elapsed());
    // Slow is not gone.
    for (visitor, stream) in &mut there {
        converse(visitor, stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_at_home_are_no_crowd_beside_a_botnet() {
    for limit in ["visitors", "visitors_per_home"] {
        let relay = TestRelay::start_with(|config| match limit {
            "visitors" => config.limits.visitors = 8,
            _ => config.limits.visitors_per_home = 8,
        })
        .await;
        let mut home = relay.home(HomeKey(1), HOME_NAME).await;
        let family = [127, 0, 0, 9];
        let mut inside = Vec::new();
        for _ in 0..3 {
            inside.push(talk(family, relay.https[0], &mut home).await);
        }
        let (mut phone, opening) = Visitor::hello_from(family, relay.https[0], HOME_NAME).await;
        let mut stream = home.accept(&opening).await;
        let mut botnet = Vec::new();
        for n in 0..20 {
            let (visitor, opening) = hello(n, &relay).await;
            botnet.push((visitor, home.accept(&opening).await));
        }
        converse(&mut phone, &mut stream).await;
        inside.push((phone, stream));
        for (visitor, stream) in &mut inside {
            converse(visitor, stream).await;
        }
    }
}

/// A botnet may do all that a phone does.
#[tokio::test(flavor = "multi_thread")]
async fn those_that_have_talked_in_all_places_keep_nobody_out() {
    let relay = TestRelay::start_with(|config| config.limits.visitors_per_home = 16).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut botnet = Vec::new();
    for n in 0..16 {
        botnet.push(talk([127, 0, 1, n], relay.https[0], &mut home).await);
    }
    let (mut first, opening) = hello(101, &relay).await;
    let mut stream_of_first = home.accept(&opening).await;
    let (mut second, opening) = hello(102, &relay).await;
    let mut stream_of_second = home.accept(&opening).await;
    converse(&mut first, &mut stream_of_first).await;
    converse(&mut second, &mut stream_of_second).await;
    relay.until_outcome("home_limit", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_leaves_places_for_others() {
    let relay = relay_with_places(128).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let visitor = Visitor::hello_from([127, 0, 1, 1], relay.https[0], HOME_NAME).await;
        crowd.push(visitor);
    }
    for _ in 0..16 {
        home.arrival().await.accept();
    }
    nobody_comes(&mut home).await;
    let (_other, opening) = hello(2, &relay).await;
    home.accept(&opening).await;
}

/// The relay is started anew, knows nobody, and home comes back just before all patience ends.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_for_its_home_waits_for_its_turn_too() {
    let hold = Duration::from_secs(5);
    let relay = TestRelay::start_with(|config| {
        config.limits.strangers_per_home = 1;
        config.timings.stranger = Duration::from_millis(1_200);
        config.hold = hold;
    })
    .await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let start = Instant::now();
    let mut waiting = Vec::new();
    for n in 1..4 {
        waiting.push(hello(n, &relay).await);
    }
    tokio::time::sleep_until(start + hold - Duration::from_secs(2)).await;
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 1).await;
    for _ in &waiting {
        home.arrival().await.accept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_before_its_turn_costs_its_home_nothing() {
    let relay = relay_with_places(1).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut first, opening) = hello(1, &relay).await;
    let mut stream = home.accept(&opening).await;
    for n in 2..10 {
        let (hasty, _) = hello(n, &relay).await;
        relay
            .until(|status| status.totals.visitors_now == u64::from(n))
            .await;
        hasty.reset();
    }
    let (_patient, opening) = hello(10, &relay).await;
    relay.until(|status| status.totals.visitors_now == 10).await;
    converse(&mut first, &mut stream).await;
    home.accept(&opening).await;
    relay.until_outcome("stranger_limit", 8).await;
}
