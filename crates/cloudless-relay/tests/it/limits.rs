//! What one client, one home and all together may take.

use std::time::Duration;

use cloudless_proto::leg::THRESHOLD;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{
    HOME_NAME, HomeKey, TestRelay, Tunnel, Visitor, WebServer, soon, tunnel_hello,
};

const OTHER_NAME: &str = "other.example.test";
/// How long a write waits for room before it counts as stuck.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_source_s_newcomer_takes_the_place_of_its_oldest() {
    for family in [0, 1] {
        let relay = TestRelay::start_with(|config| config.limits.connections_per_source = 3).await;
        let address = relay.https[family];
        let mut home = relay.home(HomeKey(1), HOME_NAME).await;
        let mut inside = Vec::new();
        for n_shed in [0, 0, 0, 1, 2] {
            let (visitor, hello) = Visitor::hello(address, HOME_NAME).await;
            inside.push((visitor, home.accept(&hello).await));
            relay.until_outcome("source_limit", n_shed).await;
        }
        for (visitor, stream) in &mut inside[..2] {
            stream.expect_reset().await;
            visitor.gone().await;
        }
        for (visitor, stream) in &mut inside[2..] {
            visitor.send(b"still here").await;
            stream.expect(b"still here").await;
        }
        // Another source is another matter.
        let (_other, hello) = Visitor::hello_from([127, 0, 0, 2], relay.address(), HOME_NAME).await;
        home.accept(&hello).await;
        assert_eq!(relay.outcome("source_limit").await, 2);
    }
}

/// Somebody in the same house, or behind the same router of a provider.
#[tokio::test(flavor = "multi_thread")]
async fn a_neighbor_locks_neither_home_nor_phone_out() {
    let silent = async |address| Visitor::connect(address).await;
    let served = async |address| Visitor::hello(address, "unknown.example.test").await.0;
    let at_home = async |address| Visitor::hello(address, OTHER_NAME).await.0;
    let begun = async |address| {
        let mut tunnel = Visitor::connect(address).await;
        tunnel.send(&tunnel_hello()).await;
        tunnel
    };
    for family in [0, 1] {
        let web_server = WebServer::start().await;
        let relay = TestRelay::start_with(|config| {
            config.limits.connections_per_source = 8;
            config.limits.handshakes = 16;
            config.fallback.https = Some(web_server.address().into());
            config.timings.client_hello = LONG;
            config.timings.handshake = LONG;
        })
        .await;
        let address = relay.https[family];
        relay.enroll(HomeKey(1), HOME_NAME).await;
        let _other = relay.home(HomeKey(2), OTHER_NAME).await;
        let mut held = Vec::new();
        for (epoch, n) in (1..).zip([0, 1, 2, 3]) {
            for _ in 0..20 {
                held.push(match n {
                    0 => silent(address).await,
                    1 => served(address).await,
                    2 => at_home(address).await,
                    _ => begun(address).await,
                });
            }
            let mut home = Tunnel::online(address, HomeKey(1), epoch).await;
            let (mut phone, hello) = Visitor::hello(address, HOME_NAME).await;
            let mut stream = home.accept(&hello).await;
            // After a word of its home it is brought to no other session.
            stream.send(b"welcome").await.unwrap();
            phone.expect(b"welcome").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_are_for_no_home_leave_homes_their_visitors() {
    let web_server = WebServer::start().await;
    let relay = TestRelay::start_with(|config| {
        config.limits.visitors = 8;
        config.fallback.https = Some(web_server.address().into());
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut visits = Vec::new();
    for _ in 0..4 {
        let (visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        visits.push((visitor, home.accept(&hello).await));
    }
    // From as many addresses, so that no source is larger than that of those at home.
    let mut crowd = Vec::new();
    for source in 2..12 {
        let source = [127, 0, 0, source];
        crowd.push(Visitor::hello_from(source, relay.address(), "unknown.example.test").await);
    }
    relay.until_outcome("visitor_limit", 6).await;
    for (visitor, stream) in &mut visits {
        visitor.send(b"still here").await;
        stream.expect(b"still here").await;
    }
    let (_newcomer, hello) = Visitor::hello_from([127, 0, 0, 99], relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_home_s_visitors_the_largest_crowd_makes_room() {
    let relay = TestRelay::start_with(|config| config.limits.visitors_per_home = 10).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut other = relay.home(HomeKey(2), OTHER_NAME).await;
    let (mut phone, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    let (_others, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    let _others_stream = other.accept(&hello).await;

    let mut crowd = Vec::new();
    // Eight are no more than one is.
    for n_shed in [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3] {
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
    let (visitor, stream_of_last) = &mut crowd[11];
    visitor.send(b"the youngest stay").await;
    stream_of_last.expect(b"the youngest stay").await;
    phone.send(b"and so do small crowds").await;
    stream.expect(b"and so do small crowds").await;
    relay.until(|status| status.totals.visitors_now == 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_visitors_the_largest_crowd_makes_room_whosever_they_are() {
    let relay = TestRelay::start_with(|config| config.limits.visitors = 4).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut other = relay.home(HomeKey(2), OTHER_NAME).await;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let (visitor, hello) =
            Visitor::hello_from([127, 0, 0, 2], relay.address(), HOME_NAME).await;
        crowd.push((visitor, home.accept(&hello).await));
    }
    let (mut phone, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    let mut stream = other.accept(&hello).await;
    relay.until_outcome("visitor_limit", 1).await;
    let (visitor, stream_of_oldest) = &mut crowd[0];
    stream_of_oldest.expect_reset().await;
    visitor.gone().await;
    phone.send(b"here I am").await;
    stream.expect(b"here I am").await;
    // Homes can still come back.
    Tunnel::online(relay.address(), HomeKey(1), 2).await;
}

/// A botnet has an address for each connection; its members say hello and wait.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_moved_much_stays_when_strangers_come_one_by_one() {
    for limit in ["visitors", "visitors_per_home"] {
        let relay = TestRelay::start_with(|config| match limit {
            "visitors" => config.limits.visitors = 4,
            _ => config.limits.visitors_per_home = 4,
        })
        .await;
        let mut home = relay.home(HomeKey(1), HOME_NAME).await;
        let (mut phone, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        let mut stream = home.accept(&hello).await;
        phone.send(&[7; 8 * 1024]).await;
        stream.expect(&[7; 8 * 1024]).await;
        stream.send(&[8; 16 * 1024]).await.unwrap();
        phone.expect(&[8; 16 * 1024]).await;
        let mut crowd = Vec::new();
        for source in 2..12 {
            let source = [127, 0, 0, source];
            let (stranger, hello) = Visitor::hello_from(source, relay.address(), HOME_NAME).await;
            crowd.push((stranger, home.accept(&hello).await));
        }
        phone.send(b"still here").await;
        stream.expect(b"still here").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_with_two_names_gets_no_more_than_one_with_one() {
    let relay = TestRelay::start_with(|config| {
        config.limits.visitors_per_home = 4;
        config.limits.legs_per_home = 2;
    })
    .await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    relay.enroll(HomeKey(1), OTHER_NAME).await;
    let mut home = Tunnel::dial(relay.address(), HomeKey(1)).await;
    home.hello_with_legs(1, 1);
    home.hear_welcome().await;
    let bulk = vec![7; usize::try_from(THRESHOLD).unwrap()];
    let mut visits = Vec::new();
    for name in [HOME_NAME, OTHER_NAME, HOME_NAME, OTHER_NAME] {
        let (mut visitor, hello) = Visitor::hello(relay.address(), name).await;
        let mut stream = home.accept(&hello).await;
        stream.send(&bulk).await.unwrap();
        visitor.expect(&bulk).await;
        visits.push((visitor, stream));
    }
    relay.until_outcome("leg_limit", 2).await;
    let (_fifth, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    let _stream = home.accept(&hello).await;
    relay.until_outcome("home_limit", 1).await;
    relay.until(|status| status.totals.visitors_now == 4).await;
}

/// Whoever does not close after the answer is waited for, for a moment, and in a place that counts.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_answered_and_stays_makes_room() {
    let relay = TestRelay::start_with(|config| config.limits.handshakes = 4).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {HOME_NAME}\r\n\r\n");
    let mut crowd = Vec::new();
    for _ in 0..12 {
        let mut visitor = Visitor::connect(relay.http_address()).await;
        visitor.send(request.as_bytes()).await;
        visitor.expect(b"HTTP/1.1 308").await;
        crowd.push(visitor);
    }
    relay.until_outcome("handshake_limit", 8).await;
    // Those who are for the other port are no part of it.
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
}

/// An honest home on a slow line, and strangers who upload.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_home_has_a_bound_and_keeps_nobody_waiting_longer_than_the_home() {
    const MIB: usize = 1024 * 1024;
    static UPLOAD: [u8; 384 * 1024] = [7; 384 * 1024];
    let relay = TestRelay::start_with(|config| {
        config.limits.queued_bytes_per_home = 4 * MIB;
        config.limits.connections_per_source = 4096;
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (mut phone, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut stream = home.accept(&hello).await;
    let mut uploads = Vec::new();
    for _ in 0..200 {
        let (visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        uploads.push((visitor, home.accept(&hello).await));
    }
    home.freeze();
    let before = resident();
    let mut sending = JoinSet::new();
    for (mut visitor, stream) in uploads {
        sending.spawn(async move {
            let mut rest = &UPLOAD[..];
            while let Ok(Ok(n @ 1..)) = timeout(SHORT, visitor.stream.write(rest)).await {
                rest = &rest[n..];
            }
            (visitor, stream, UPLOAD.len() - rest.len())
        });
    }
    let uploads = soon(sending.join_all()).await;
    let grown = resident().saturating_sub(before);
    // Without a bound each holds 256 KiB and more.
    assert!(grown < 24 * MIB, "{} MiB", grown / MIB);
    phone.send(b"a small request").await;
    home.thaw();
    stream.expect(b"a small request").await;
    for (_visitor, mut stream, n) in uploads {
        stream.expect(&UPLOAD[..n]).await;
    }
}

/// What this process has in memory, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
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

over_ipv6! {
    a_home_with_two_names_gets_no_more_than_one_with_one,
    who_was_answered_and_stays_makes_room,
    what_waits_for_a_home_has_a_bound_and_keeps_nobody_waiting_longer_than_the_home,
    silent_connections_delay_nobody,
    a_hello_must_come_in_time,
}
