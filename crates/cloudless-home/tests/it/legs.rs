//! Visitors that go past the tunnel, between a relay and a home that run.

mod gate;
mod hang_up;
mod pair;
mod random;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use cloudless_proto::leg::{PREFACE_LEN, THRESHOLD, Ticket, Token};
use cloudless_relay::admin::Command;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use gate::{Fate, reset};
use pair::{NAS, Pair, Terms, exchange, soon};

const BULK_LEN: usize = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn bulk_arrives_exactly_both_ways_and_so_does_each_fin() {
    for index in [0, 1] {
        let pair = Pair::start(Terms {
            dial: Some(index),
            ..Terms::default()
        })
        .await;
        let (mut visitor, mut server) = pair.visit(pair.relay[index]).await;
        soon(async {
            let (up, down) = (pattern(3), pattern(5));
            let (mut from_server, mut to_server) = visitor.split();
            let (mut from_visitor, mut to_visitor) = server.split();
            tokio::join!(
                dribble(&mut to_server, &up, 11),
                dribble(&mut to_visitor, &down, 12),
                expect_all(&mut from_visitor, &up, 13),
                expect_all(&mut from_server, &down, 14),
            );
        })
        .await;
        let status = pair.until(|status| status.totals.visitors_now == 0).await;
        let row = &status.homes[0];
        assert_eq!((row.legs_total, row.legs_now), (1, 0));
        assert_eq!(row.bytes_down, BULK_LEN as u64);
        assert!(row.bytes_up > BULK_LEN as u64);
        let on_stream = |all: u64, on_leg: u64| {
            // How many depends on how soon the leg is there, and so on what else the machine does.
            assert!(on_leg > 0, "none of {all} bytes on the leg");
            all - on_leg
        };
        let up = on_stream(row.bytes_up, row.leg_bytes_up);
        let down = on_stream(row.bytes_down, row.leg_bytes_down);
        assert!(up.max(down) >= THRESHOLD, "{up} up, {down} down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_bytes_stay_in_the_tunnel() {
    let pair = Pair::start(Terms::default()).await;
    let (mut visitor, mut server) = pair.visit(pair.address()).await;
    let nearly = vec![1; usize::try_from(THRESHOLD).unwrap() - 1];
    exchange(&mut visitor, &mut server, &nearly).await;
    exchange(&mut server, &mut visitor, &nearly).await;
    pair.until(|status| status.totals.bytes_down == THRESHOLD - 1)
        .await;
    assert_eq!(pair.row().await.legs_now, 0);
    exchange(&mut server, &mut visitor, &[1]).await;
    pair.until(|status| status.homes[0].legs_total == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_may_end_first_on_a_leg() {
    let pair = Pair::start(Terms::default()).await;
    for visitor_ends_first in [true, false] {
        let (visitor, server) = pair.visit_on_leg().await;
        let (mut first, mut second) = if visitor_ends_first {
            (visitor, server)
        } else {
            (server, visitor)
        };
        first.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut second).await.unwrap(), b"");
        exchange(&mut second, &mut first, b"after the FIN").await;
        second.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut first).await.unwrap(), b"");
        pair.until(|status| status.totals.visitors_now == 0).await;
        assert_eq!(pair.row().await.legs_now, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_on_one_side_of_a_leg_is_a_reset_on_the_other() {
    let pair = Pair::start(Terms::default()).await;
    for visitor_resets in [true, false] {
        let (visitor, server) = pair.visit_on_leg().await;
        let (first, mut second) = if visitor_resets {
            (visitor, server)
        } else {
            (server, visitor)
        };
        reset(first);
        let error = read_to_end(&mut second).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        pair.until(|status| status.totals.visitors_now == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_cannot_be_made_costs_nothing() {
    for fate in [Fate::Close, Fate::Swallow, Fate::Garble] {
        let pair = Pair::start(Terms {
            fate,
            ..Terms::default()
        })
        .await;
        let (mut visitor, mut server) = pair.visit(pair.address()).await;
        let bulk = pattern(1);
        exchange(&mut visitor, &mut server, &bulk).await;
        exchange(&mut server, &mut visitor, &bulk).await;
        assert!(pair.gate.legs() > 0, "{fate:?}: no leg was tried");
        if fate == Fate::Garble {
            pair.until_outcome("leg_refused", 1).await;
        }
        let row = pair.row().await;
        assert_eq!(
            (row.legs_total, row.leg_bytes_up + row.leg_bytes_down),
            (0, 0)
        );
        visitor.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut server).await.unwrap(), b"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn legs_that_break_under_their_visitors_are_offered_no_more() {
    for fate in [Fate::CutAfter(50_000), Fate::SwallowAfter(50_000)] {
        let pair = Pair::start(Terms {
            fate,
            relay: |config| config.timings.half_closed_silence = Duration::from_millis(300),
            ..Terms::default()
        })
        .await;
        for made in 1..=3 {
            let (mut visitor, mut server) = pair.visit(pair.address()).await;
            let (mut from_server, mut to_server) = visitor.split();
            let bulk = pattern(made);
            let download = async {
                let sent = async { drop(server.write_all(&bulk).await) };
                let mut received = Vec::new();
                let (_, ended) = tokio::join!(sent, from_server.read_to_end(&mut received));
                ended.map(|_| received.len())
            };
            // Whoever waits in vain hangs up.
            let hang_up = async {
                pair.until(|status| status.homes[0].legs_total == made)
                    .await;
                to_server.shutdown().await
            };
            let (received, _) = soon(async { tokio::join!(download, hang_up) }).await;
            assert_eq!(received.unwrap_err().kind(), ErrorKind::ConnectionReset);
            pair.until(|status| status.totals.visitors_now == 0).await;
        }
        let (mut visitor, mut server) = pair.visit(pair.address()).await;
        let bulk = pattern(4);
        exchange(&mut server, &mut visitor, &bulk).await;
        exchange(&mut visitor, &mut server, &bulk).await;
        let row = pair.row().await;
        assert_eq!(row.legs_total, 3);
        let message = row.last_error.unwrap().message;
        assert!(message.contains("stay in the tunnel"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_for_five_seconds_and_once() {
    let pair = Pair::start(Terms {
        fate: Fate::Hold,
        ..Terms::default()
    })
    .await;
    let (mut visitor, mut server) = pair.visit(pair.address()).await;
    exchange(&mut visitor, &mut server, &[1; 100_000]).await;
    pair.until(|status| status.homes[0].legs_now == 1).await;
    let offered = Instant::now();
    // The offer ends, and the leg comes after it.
    pair.until(|status| status.homes[0].legs_now == 0).await;
    let lifetime = offered.elapsed();
    assert!(lifetime > Duration::from_secs(4), "{lifetime:?}");
    assert!(lifetime < Duration::from_secs(10), "{lifetime:?}");
    pair.gate.release();
    pair.until_outcome("leg_refused", 1).await;
    assert_eq!(pair.row().await.legs_total, 0);
    // The next leg comes in time, sixteen times as many bytes later.
    exchange(&mut visitor, &mut server, &pattern(1)).await;
    pair.until(|status| status.homes[0].legs_total == 1).await;
    let mut thief = TcpStream::connect(pair.address()).await.unwrap();
    thief.write_all(&pair.gate.last_preface()).await.unwrap();
    let error = read_to_end(&mut thief).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    pair.until_outcome("leg_refused", 2).await;
    exchange(&mut server, &mut visitor, &pattern(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_may_do_without_legs() {
    for home_legs in [true, false] {
        let pair = Pair::start(Terms {
            home_legs,
            relay: |config| config.legs = false,
            ..Terms::default()
        })
        .await;
        stays_in_the_tunnel(&pair).await;
    }
    let pair = Pair::start(Terms {
        home_legs: false,
        ..Terms::default()
    })
    .await;
    stays_in_the_tunnel(&pair).await;
}

async fn stays_in_the_tunnel(pair: &Pair) {
    let (mut visitor, mut server) = pair.visit(pair.address()).await;
    exchange(&mut visitor, &mut server, &pattern(1)).await;
    exchange(&mut server, &mut visitor, &pattern(2)).await;
    let row = pair.row().await;
    assert_eq!((row.legs_now, row.legs_total, pair.gate.legs()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_has_so_many_legs_and_its_other_visitors_stay_in_the_tunnel() {
    let pair = Pair::start(Terms {
        relay: |config| config.limits.legs_per_home = 1,
        ..Terms::default()
    })
    .await;
    let first = pair.visit_on_leg().await;
    let (mut visitor, mut server) = pair.visit(pair.address()).await;
    exchange(&mut visitor, &mut server, &pattern(1)).await;
    pair.until_outcome("leg_limit", 1).await;
    let row = pair.row().await;
    assert_eq!((row.legs_now, row.legs_total), (1, 1));
    drop(first);
    pair.until(|status| status.homes[0].legs_now == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_on_a_leg_goes_on_when_the_tunnel_is_lost() {
    let pair = Pair::start(Terms::default()).await;
    let (mut visitor, mut server) = pair.visit_on_leg().await;
    let (mut staying, mut staying_server) = pair.visit(pair.address()).await;
    // Until home's side has said something a visitor would be brought to the session that is next.
    exchange(&mut staying_server, &mut staying, b"answered").await;
    pair.gate.cut_tunnels();
    for end in [&mut staying, &mut staying_server] {
        let error = read_to_end(end).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    exchange(&mut visitor, &mut server, &pattern(1)).await;
    exchange(&mut server, &mut visitor, &pattern(2)).await;
    // And it is told from those of the session that is next.
    pair.until(|status| status.outcomes["session"] == 2).await;
    exchange(&mut visitor, &mut server, b"still here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_home_loses_its_visitors_on_legs_at_once() {
    let pair = Pair::start(Terms::default()).await;
    let (mut visitor, mut server) = pair.visit_on_leg().await;
    let hostname = NAS.parse().unwrap();
    pair.command(&Command::Revoke { hostname }).await;
    for end in [&mut visitor, &mut server] {
        let error = read_to_end(end).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_waits_for_visitors_on_legs() {
    let pair = Pair::start(Terms::default()).await;
    let (mut visitor, mut server) = pair.visit_on_leg().await;
    pair.shutdown.cancel();
    exchange(&mut visitor, &mut server, &pattern(1)).await;
    assert!(!pair.running.is_finished());
    drop((visitor, server));
    soon(pair.running).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_stops_waits_for_visitors_on_legs() {
    let mut pair = Pair::start(Terms::default()).await;
    let (mut visitor, mut server) = pair.visit_on_leg().await;
    pair.home.begin_stop();
    pair.until(|status| status.totals.sessions_now == 0).await;
    exchange(&mut visitor, &mut server, &pattern(1)).await;
    drop((visitor, server));
    pair.home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_a_leg_is_closed() {
    let pair = Pair::start(Terms::default()).await;
    let preface = Ticket {
        number: 0,
        token: Token::new([1; 16]),
    }
    .preface();
    let mut longer = preface.to_vec();
    longer.push(0);
    let mut other = preface;
    other[1] = b'x';
    for address in pair.relay {
        for bytes in [&preface[..], &longer, &other] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let _ = soon(stream.read_to_end(&mut Vec::new())).await;
        }
    }
    pair.until_outcome("leg_refused", 4).await;
    pair.until_outcome("not_tls", 2).await;
    // Half a preface ends too.
    let mut stream = TcpStream::connect(pair.address()).await.unwrap();
    stream.write_all(&preface[..PREFACE_LEN / 2]).await.unwrap();
    stream.shutdown().await.unwrap();
    pair.until_outcome("leg_closed_early", 1).await;
}

/// Bytes that repeat late, so that a lost or repeated chunk shows.
fn pattern(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(BULK_LEN);
    while bytes.len() < BULK_LEN {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    fn below(&mut self, max: u64) -> u64 {
        (self.next() >> 20) % max
    }

    /// A length of some thousands, sometimes few and sometimes many.
    fn length(&mut self) -> usize {
        let bits = self.next() >> 40;
        1 + usize::try_from(bits % (1 << (bits % 18))).unwrap()
    }

    /// Seldom long, sometimes short, mostly none.
    async fn pause(&mut self) {
        let turns = match self.next() >> 58 {
            0 => 200,
            1..20 => 1,
            _ => 0,
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
}

/// Sends all in pieces, with pauses, and then FIN.
async fn dribble(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], seed: u64) {
    let mut random = Random(seed);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.length().min(rest.len()));
        to.write_all(piece).await.unwrap();
        random.pause().await;
        rest = after;
    }
    to.shutdown().await.unwrap();
}

/// Receives all in pieces, with pauses, and then FIN.
async fn expect_all(from: &mut (impl AsyncRead + Unpin), expected: &[u8], seed: u64) {
    let mut random = Random(seed);
    let mut received = Vec::with_capacity(expected.len());
    let mut buffer = vec![0; 1 << 18];
    loop {
        let room = random.length();
        let n = from.read(&mut buffer[..room]).await.unwrap();
        if n == 0 {
            break;
        }
        received.extend_from_slice(&buffer[..n]);
        random.pause().await;
    }
    assert_eq!(received.len(), expected.len());
    assert!(received == expected, "other bytes than were sent");
}

async fn read_to_end(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    soon(stream.read_to_end(&mut bytes)).await?;
    Ok(bytes)
}

over_ipv6! {
    few_bytes_stay_in_the_tunnel,
    either_side_may_end_first_on_a_leg,
    a_reset_on_one_side_of_a_leg_is_a_reset_on_the_other,
    a_leg_that_cannot_be_made_costs_nothing,
    legs_that_break_under_their_visitors_are_offered_no_more,
    a_ticket_is_good_for_five_seconds_and_once,
    either_side_may_do_without_legs,
    a_home_has_so_many_legs_and_its_other_visitors_stay_in_the_tunnel,
    a_visitor_on_a_leg_goes_on_when_the_tunnel_is_lost,
    a_revoked_home_loses_its_visitors_on_legs_at_once,
    a_relay_that_stops_waits_for_visitors_on_legs,
    a_home_that_stops_waits_for_visitors_on_legs,
}
