//! Bytes between visitors and a home that is online.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{HOME_NAME, HomeKey, TestRelay, Visitor, client_hello, soon};
use tokio::net::TcpSocket;

/// More than any socket buffers and windows on the way hold together.
const LARGE_LEN: usize = 24 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_arrive_exactly_both_ways_and_so_does_each_fin() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    for address in relay.https {
        let (mut visitor, hello) = Visitor::hello(address, HOME_NAME).await;
        let arrival = home.arrival().await;
        assert_eq!(arrival.request.method(), http::Method::CONNECT);
        assert_eq!(arrival.request.uri(), &*format!("{HOME_NAME}:443"));
        let header = arrival.request.headers()["cloudless-visitor"]
            .to_str()
            .unwrap();
        assert_eq!(header, visitor.stream.local_addr().unwrap().to_string());
        let mut stream = arrival.accept();
        stream.expect(&hello).await;

        let (up, down) = (pattern(3, 1_000_000), pattern(5, 1_500_000));
        soon(async {
            tokio::join!(
                async {
                    visitor.send(&up).await;
                    visitor.expect(&down).await;
                },
                async {
                    stream.send(&down).await.unwrap();
                    stream.expect(&up).await;
                }
            )
        })
        .await;

        // The visitor ends first, the home goes on.
        visitor.finish().await;
        stream.expect_end().await;
        stream.send(b"after the visitor's FIN").await.unwrap();
        visitor.expect(b"after the visitor's FIN").await;
        stream.finish();
        assert_eq!(visitor.read_to_end().await, b"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_may_end_first() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"all I have").await.unwrap();
    stream.finish();
    assert_eq!(visitor.read_to_end().await, b"all I have");
    visitor.send(b"after the home's FIN").await;
    stream.expect(b"after the home's FIN").await;
    visitor.finish().await;
    stream.expect_end().await;
    let status = relay.until(|status| status.totals.visitors_now == 0).await;
    assert_eq!(status.totals.visitors_total, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_the_hello_arrive_with_it() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut visitor = Visitor::connect(relay.address()).await;
    let mut opening = client_hello(HOME_NAME);
    opening.extend(b"\x14\x03\x03\x00\x01\x01 and early data");
    visitor.send(&opening).await;
    home.accept(&opening).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_on_one_side_is_a_reset_on_the_other() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;

    let (visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    visitor.reset();
    stream.expect_reset().await;

    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"a part").await.unwrap();
    visitor.expect(b"a part").await;
    stream.send.send_reset(h2::Reason::CANCEL);
    visitor.expect_reset().await;

    // Before the first byte too.
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.arrival().await.respond.send_reset(h2::Reason::CANCEL);
    visitor.expect_reset().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_has_heard_enough_still_gets_its_answer_through() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    let answer = pattern(9, 300_000);
    stream.send(&answer).await.unwrap();
    stream.finish();
    // A stream dropped after its end is reset with NO_ERROR: no more requests, please.
    drop(stream);
    assert!(visitor.read_to_end().await == answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_refuses_gets_the_visitor_an_alert() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    let response = http::Response::builder().status(503).body(()).unwrap();
    home.arrival()
        .await
        .respond
        .send_response(response, true)
        .unwrap();
    assert_eq!(visitor.read_to_end().await, crate::support::ALERT);
    assert_eq!(relay.outcome("home_refused").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_stops_reading_stalls_only_itself() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let large = pattern(7, LARGE_LEN);

    let (mut slow, hello) = slow_visitor(&relay).await;
    let mut slow_stream = home.accept(&hello).await;
    let slow_sending = {
        let large = large.clone();
        tokio::spawn(async move {
            slow_stream.send(&large).await.unwrap();
            slow_stream.finish();
        })
    };
    slow.expect(&large[..1]).await;

    let (mut fast, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut fast_stream = home.accept(&hello).await;
    soon(async {
        tokio::join!(fast.expect(&large), async {
            fast_stream.send(&large).await.unwrap()
        })
    })
    .await;
    assert!(
        !slow_sending.is_finished(),
        "somebody holds {LARGE_LEN} bytes for a visitor"
    );

    // It was only slow, so it gets everything after all.
    slow.expect(&large[1..]).await;
    assert_eq!(slow.read_to_end().await, b"");
    slow_sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_beyond_the_budget_cost_the_visitor_that_does_not_read() {
    let relay =
        TestRelay::start_with(|config| config.limits.queued_bytes_per_home = 512 * 1024).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let large = pattern(7, LARGE_LEN);

    let (mut fast, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut fast_stream = home.accept(&hello).await;

    let (mut slow, hello) = slow_visitor(&relay).await;
    let mut slow_stream = home.accept(&hello).await;
    let sent = soon(slow_stream.send(&large)).await;
    assert!(
        sent.is_err(),
        "the relay holds {LARGE_LEN} bytes for a visitor"
    );
    slow_stream.expect_reset().await;
    slow.expect_reset().await;

    fast_stream.send(b"still here").await.unwrap();
    fast.expect(b"still here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_connection_that_stays_silent_is_reaped() {
    let relay = TestRelay::start_with(|config| {
        config.timings.half_closed_silence = Duration::from_millis(100);
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    visitor.finish().await;
    stream.expect_end().await;
    stream.expect_reset().await;
    visitor.expect_reset().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends() {
    let relay =
        TestRelay::start_with(|config| config.timings.idle = Duration::from_millis(100)).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    stream.send(b"hello").await.unwrap();
    visitor.expect(b"hello").await;
    stream.expect_reset().await;
    visitor.expect_reset().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_visitors_share_a_tunnel() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut pairs = Vec::new();
    for number in 0..50u8 {
        let (visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        pairs.push((number, visitor, home.accept(&hello).await));
    }
    for (number, visitor, stream) in &mut pairs {
        stream.send(&[*number; 100]).await.unwrap();
        visitor.expect(&[*number; 100]).await;
    }
    assert_eq!(relay.status().await.totals.visitors_now, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_counts_bytes_and_visitors() {
    let relay = TestRelay::start().await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    relay.enroll(HomeKey(2), "other.example.test").await;
    let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    visitor.send(b"0123456789").await;
    stream.expect(b"0123456789").await;
    stream.send(b"0123").await.unwrap();
    visitor.expect(b"0123").await;
    let up = hello.len() as u64 + 10;
    let status = relay
        .until(|status| (status.totals.bytes_up, status.totals.bytes_down) == (up, 4))
        .await;
    let [home_status, other] = &*status.homes else {
        panic!("{status:?}")
    };
    assert_eq!(home_status.hostname.as_str(), HOME_NAME);
    assert_eq!(home_status.key, HomeKey(1).public().into());
    assert!(home_status.online && home_status.since.is_some());
    assert_eq!(
        (home_status.visitors_now, home_status.visitors_total),
        (1, 1)
    );
    assert_eq!((home_status.bytes_up, home_status.bytes_down), (up, 4));
    assert_eq!(
        home_status.last_server_name.as_ref().unwrap().as_str(),
        HOME_NAME
    );
    assert!(!other.online && other.last_server_name.is_none());
    assert_eq!(
        (status.totals.sessions_now, status.totals.bytes_down),
        (1, 4)
    );
    assert_eq!(status.outcomes["visitor"], 1);
    assert_eq!(status.outcomes["joined"], 2);
}

/// A visitor with the smallest receive buffer there is.
async fn slow_visitor(relay: &TestRelay) -> (Visitor, Vec<u8>) {
    let socket = match relay.address() {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut visitor = Visitor {
        stream: socket.connect(relay.address()).await.unwrap(),
    };
    let hello = client_hello(HOME_NAME);
    visitor.send(&hello).await;
    (visitor, hello)
}

/// Bytes that repeat late, so that a lost or repeated chunk shows.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

over_ipv6! {
    a_home_may_end_first,
    bytes_behind_the_hello_arrive_with_it,
    a_reset_on_one_side_is_a_reset_on_the_other,
    a_home_that_has_heard_enough_still_gets_its_answer_through,
    a_home_that_refuses_gets_the_visitor_an_alert,
    a_visitor_that_stops_reading_stalls_only_itself,
    bytes_beyond_the_budget_cost_the_visitor_that_does_not_read,
    half_a_connection_that_stays_silent_is_reaped,
    an_idle_connection_ends,
    many_visitors_share_a_tunnel,
    the_status_counts_bytes_and_visitors,
}
