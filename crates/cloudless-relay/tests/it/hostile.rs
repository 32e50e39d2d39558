//! Those who mean harm: it stays theirs.

use std::time::Duration;

use cloudless_proto::control::Refusal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{
    ALERT, HOME_NAME, HomeKey, SlowPath, TestRelay, Tunnel, Visitor, tunnel_hello,
};

/// HTTP/2 libraries close a connection whose peer has sent this often on streams that are gone.
const LATE_FRAMES: usize = 1024;

#[tokio::test(flavor = "multi_thread")]
async fn visitors_that_reset_do_not_end_the_tunnel_of_the_others() {
    let relay = TestRelay::start_with(|config| config.limits.connections_per_source = 4096).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let path = SlowPath::to(relay.address()).await;
    let mut home = Tunnel::online(path.address, HomeKey(1), 1).await;
    let (mut staying, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    let mut staying_stream = home.accept(&hello).await;

    let mut n_late = 0;
    while n_late <= LATE_FRAMES + 500 {
        let mut leaving = Vec::new();
        for _ in 0..200 {
            let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
            let mut stream = home.accept(&hello).await;
            stream.send(b"a part").await.unwrap();
            visitor.expect(b"a part").await;
            leaving.push((visitor, stream));
        }
        // The home learns too late that they have gone.
        path.hold();
        let mut streams = Vec::new();
        for (visitor, stream) in leaving {
            visitor.reset();
            streams.push(stream);
        }
        relay.until(|status| status.totals.visitors_now == 1).await;
        n_late += streams.len();
        for stream in &mut streams {
            stream.send(b"late").await.unwrap();
        }
        staying_stream.send(b"still here").await.unwrap();
        staying.expect(b"still here").await;
        path.release();
        for stream in &mut streams {
            stream.expect_reset().await;
        }
    }
    assert_eq!(relay.outcome("session").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_never_speaks_keeps_nobody_out() {
    let relay = TestRelay::start_with(|config| {
        config.limits.handshakes = 8;
        config.timings.client_hello = Duration::from_secs(3600);
    })
    .await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(relay.address()).await.unwrap());
    }
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
    // The oldest went first, and only as many as had to.
    relay.until_outcome("handshake_limit", 92).await;
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_unfinished_tunnels_keeps_no_home_out() {
    let relay = TestRelay::start_with(|config| {
        config.limits.handshakes = 8;
        config.limits.sessions = 1;
        config.timings.handshake = Duration::from_secs(3600);
    })
    .await;
    let hello = tunnel_hello();
    let mut crowd = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        crowd.push(stream);
    }
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_takes_few_bytes_may_refuse_before_it_has_the_hello() {
    let relay = TestRelay::start_with(|config| {
        config.timings.connect = Duration::from_secs(3600);
    })
    .await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    // Enough for the welcome, too few for a hello.
    let mut home = Tunnel::dial_with_window(relay.address(), HomeKey(1), 128).await;
    home.hello(1, 1);
    home.hear_welcome().await;
    let (mut visitor, _) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.arrival().await.refuse();
    assert_eq!(visitor.read_to_end().await, ALERT);
    assert_eq!(relay.outcome("home_refused").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_name_never_gets_to_the_home_that_lost_it() {
    let relay = TestRelay::start_with(|config| config.hold = Duration::from_secs(3600)).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    relay.enroll(HomeKey(1), "other.example.test").await;
    let (_visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    relay.until(|status| status.totals.visitors_now == 1).await;

    let code = relay.invite_with(HOME_NAME, 600, true).await;
    let mut joining = Tunnel::dial(relay.address(), HomeKey(2)).await;
    joining.join(&code);
    joining.hear_joined().await;
    // The old one is still a home, under its other name.
    let mut old = Tunnel::online(relay.address(), HomeKey(1), 1).await;
    let mut new = Tunnel::online(relay.address(), HomeKey(2), 1).await;
    new.accept(&hello).await;
    assert!(old.has_no_arrival());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_relay_says_so_but_lets_its_homes_come_back() {
    let relay = TestRelay::start_with(|config| config.limits.sessions = 1).await;
    let _home = relay.home(HomeKey(1), HOME_NAME).await;
    relay.enroll(HomeKey(2), "other.example.test").await;
    let mut other = Tunnel::dial(relay.address(), HomeKey(2)).await;
    other.hello(2, 1);
    assert_eq!(other.hear_refused().await, Refusal::RateLimited);
    assert_eq!(relay.outcome("session_limit").await, 1);
    let home = Tunnel::online(relay.address(), HomeKey(1), 2).await;
    drop(home);
    relay.until(|status| status.totals.sessions_now == 0).await;
    Tunnel::online(relay.address(), HomeKey(2), 2).await;
}
