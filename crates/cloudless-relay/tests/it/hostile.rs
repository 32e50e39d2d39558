//! Those who mean harm: it stays theirs.

use std::io::Write as _;
use std::time::Duration;

use cloudless_proto::control::{FromRelay, Refusal};
use cloudless_proto::leg::{THRESHOLD, Ticket, Token};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{
    ALERT, HOME_NAME, HomeKey, HomeStream, SlowPath, TestRelay, Tunnel, Visitor, client_hello,
    soon, tunnel_hello,
};

const OTHER_NAME: &str = "other.example.test";
/// How long a write waits for room before it counts as stuck.
const SHORT: Duration = Duration::from_millis(300);

/// HTTP/2 libraries close a connection whose peer has sent this often on streams that are gone.
const LATE_FRAMES: usize = 1024;

#[tokio::test(flavor = "multi_thread")]
async fn visitors_that_reset_do_not_end_the_tunnel_of_the_others() {
    let relay = TestRelay::start_with(|config| {
        config.limits.connections_per_source = 4096;
        // None of them ever talks, and that is another matter.
        config.timings.stranger = Duration::ZERO;
    })
    .await;
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

/// On one thread, so that all of them have connected before the relay looks at the first.
#[tokio::test]
async fn a_crowd_that_comes_at_once_pushes_out_nobody_who_has_spoken() {
    let relay = TestRelay::start_with(|config| config.limits.handshakes = 8).await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let connect = || std::net::TcpStream::connect(relay.address()).unwrap();
    let hello = client_hello(HOME_NAME);
    let mut visitor = connect();
    visitor.write_all(&hello).unwrap();
    let _crowd: Vec<_> = (0..100).map(|_| connect()).collect();
    home.accept(&hello).await;
    relay.until_outcome("handshake_limit", 92).await;
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
async fn a_crowd_of_unfinished_tunnels_pushes_out_no_visitor_that_is_slow() {
    let relay = TestRelay::start_with(|config| {
        config.limits.handshakes = 8;
        config.limits.connections_per_source = 4096;
        config.timings.handshake = Duration::from_secs(3600);
    })
    .await;
    let mut home = relay.home(HomeKey(1), HOME_NAME).await;
    let mut slow = Visitor::connect(relay.address()).await;
    let whole = client_hello(HOME_NAME);
    slow.send(&whole[..100]).await;
    let hello = tunnel_hello();
    let mut crowd = Vec::new();
    for _ in 0..50 {
        let mut stream = Visitor::connect(relay.address()).await;
        stream.send(&hello).await;
        // Answered, it is not among those that have said nothing.
        stream.expect(&[0x16]).await;
        crowd.push(stream);
    }
    relay.until_outcome("handshake_limit", 42).await;
    slow.send(&whole[100..]).await;
    home.accept(&whole).await;
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

/// A second home, which does what it should, and one visitor of it.
async fn bystander(relay: &TestRelay) -> (Tunnel, Visitor, HomeStream) {
    let mut home = relay.home(HomeKey(2), OTHER_NAME).await;
    let (visitor, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    let stream = home.accept(&hello).await;
    (home, visitor, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_never_reads_costs_the_others_nothing() {
    let relay = TestRelay::start().await;
    let (mut other, mut visitor, mut stream) = bystander(&relay).await;
    let mut deaf = relay.home(HomeKey(1), HOME_NAME).await;
    let mut uploads = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..50 {
        let (upload, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        streams.push(deaf.accept(&hello).await);
        uploads.push(upload);
    }
    deaf.freeze();
    // Each of them sends for as long as anybody takes it.
    let n_uploads = uploads.len();
    let mut sending = JoinSet::new();
    for mut upload in uploads {
        sending.spawn(async move {
            let mut n_taken = 0;
            while let Ok(Ok(n)) = timeout(SHORT, upload.stream.write(&[7; 64 * 1024])).await {
                n_taken += n;
            }
            (upload, n_taken)
        });
    }
    let uploads = soon(sending.join_all()).await;
    let n_taken: usize = uploads.iter().map(|(_, n_taken)| n_taken).sum();
    // A window of each stream, and what the sockets hold; not all that somebody cares to send.
    let window = 2 * 1024 * 1024;
    assert!(n_taken < n_uploads * 4 * window, "{n_taken} bytes");
    visitor.send(b"still here").await;
    stream.expect(b"still here").await;
    let (_newcomer, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    other.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_resets_every_visitor_and_comes_and_goes_costs_the_others_nothing() {
    let relay = TestRelay::start_with(|config| config.limits.connections_per_source = 4096).await;
    let (mut other, mut visitor, mut stream) = bystander(&relay).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let mut n_reset = 0;
    for epoch in 1..=20 {
        let mut home = Tunnel::online(relay.address(), HomeKey(1), epoch).await;
        for _ in 0..20 {
            let (mut victim, _) = Visitor::hello(relay.address(), HOME_NAME).await;
            let mut arrival = home.arrival().await;
            arrival.respond.send_reset(h2::Reason::CANCEL);
            victim.gone().await;
            n_reset += 1;
        }
    }
    assert_eq!(relay.outcome("home_reset").await, n_reset);
    // All that is left of it is the last session, if that.
    let status = relay.until(|status| status.totals.visitors_now == 1).await;
    assert!(status.totals.sessions_now <= 2, "{status:?}");
    visitor.send(b"still here").await;
    stream.expect(b"still here").await;
    let (_newcomer, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    other.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_makes_legs_without_end_gets_those_that_it_was_offered() {
    let relay = TestRelay::start_with(|config| {
        config.limits.connections_per_source = 4096;
        config.limits.legs_per_home = 2;
    })
    .await;
    let (mut other, mut visitor, mut stream) = bystander(&relay).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let mut home = Tunnel::dial(relay.address(), HomeKey(1)).await;
    home.hello_with_legs(1, 1);
    home.hear_welcome().await;
    let bulk = vec![7; usize::try_from(THRESHOLD).unwrap()];
    let mut visitors = Vec::new();
    let mut tickets = Vec::new();
    // The third one has to stay in the tunnel.
    for n_offered in [1, 2, 2] {
        let (mut visitor, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
        let mut stream = home.accept(&hello).await;
        stream.send(&bulk).await.unwrap();
        visitor.expect(&bulk).await;
        if tickets.len() < n_offered {
            let Some(FromRelay::Leg { number, token, .. }) = home.hear().await else {
                panic!("no leg is offered");
            };
            tickets.push(Ticket { number, token });
        }
        visitors.push((visitor, stream));
    }
    relay.until_outcome("leg_limit", 1).await;
    // Each ticket is good once, however often it is shown, and no other is good at all.
    let wrong = Ticket {
        number: tickets[0].number,
        token: Token::new([9; 16]),
    };
    let mut legs = Vec::new();
    for _ in 0..50 {
        for ticket in tickets.iter().chain([&wrong]) {
            let mut leg = TcpStream::connect(relay.address()).await.unwrap();
            leg.write_all(&ticket.preface()).await.unwrap();
            legs.push(leg);
        }
    }
    relay.until_outcome("leg_refused", 148).await;
    let status = relay.status().await;
    assert_eq!(status.outcomes["leg"], 2);
    let row = |name: &str| status.homes.iter().find(|it| it.hostname.as_str() == name);
    assert_eq!(row(HOME_NAME).unwrap().legs_now, 2);
    visitor.send(b"still here").await;
    stream.expect(b"still here").await;
    let (_newcomer, hello) = Visitor::hello(relay.address(), OTHER_NAME).await;
    other.accept(&hello).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_with_guessed_keys_keep_nobody_out_and_learn_nothing() {
    let relay = TestRelay::start().await;
    let (_other, mut visitor, mut stream) = bystander(&relay).await;
    relay.enroll(HomeKey(1), HOME_NAME).await;
    let mut guesses = Vec::new();
    for key in 10..40 {
        let mut guess = Tunnel::dial(relay.address(), HomeKey(key)).await;
        guess.hello(key, 1);
        assert_eq!(guess.hear_refused().await, Refusal::UnknownKey);
        guesses.push(guess);
    }
    assert_eq!(relay.outcome("refused_unknown_key").await, 30);
    let mut home = Tunnel::online(relay.address(), HomeKey(1), 1).await;
    let (_newcomer, hello) = Visitor::hello(relay.address(), HOME_NAME).await;
    home.accept(&hello).await;
    visitor.send(b"still here").await;
    stream.expect(b"still here").await;
}

over_ipv6! {
    visitors_that_reset_do_not_end_the_tunnel_of_the_others,
    a_crowd_that_never_speaks_keeps_nobody_out,
    a_crowd_that_comes_at_once_pushes_out_nobody_who_has_spoken,
    a_crowd_of_unfinished_tunnels_keeps_no_home_out,
    a_crowd_of_unfinished_tunnels_pushes_out_no_visitor_that_is_slow,
    a_home_that_takes_few_bytes_may_refuse_before_it_has_the_hello,
    who_waits_for_a_name_never_gets_to_the_home_that_lost_it,
    a_full_relay_says_so_but_lets_its_homes_come_back,
    a_home_that_never_reads_costs_the_others_nothing,
    a_home_that_resets_every_visitor_and_comes_and_goes_costs_the_others_nothing,
    a_home_that_makes_legs_without_end_gets_those_that_it_was_offered,
    tunnels_with_guessed_keys_keep_nobody_out_and_learn_nothing,
}
