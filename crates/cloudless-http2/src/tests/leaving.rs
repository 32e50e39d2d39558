//! Connections that take no more streams, are asked whether they live, and end.

use std::future::poll_fn;

use bytes::Bytes;

use super::frames::{
    ACK, DATA, END_STREAM, Frame, GOAWAY, HEADERS, OK, PING, POST, RST_STREAM, Raw, WINDOW_UPDATE,
    frame, goaway, headers, rst_stream,
};
use super::h2_peers::{H2Client, H2Server, h2_read_all};
use super::peers::{
    CONFIG, Client, Server, connect, data, ok, ours, pipe, pipe_of_pieces, read_all, soon, stream,
};
use crate::{Error, Reason, Side};

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_goes_on_with_what_is_open_and_takes_nothing_new() {
    let (client, mut server) = ours(10_000, CONFIG);
    let ((mut recv, mut send), (mut far_recv, mut far_send)) = stream(&client, &mut server).await;
    assert!(server.ask(|it| it.n_streams()).await > 0);
    server.ask(|it| it.leave()).await;
    server.ask(|it| it.leave()).await;
    // It is heard with the next bytes at the latest.
    far_send.send_all(data(10, 1)).await.unwrap();
    assert_eq!(soon(recv.data()).await.unwrap().unwrap(), data(10, 1));
    let error = client
        .requests
        .open(&connect("late.example:443"))
        .unwrap_err();
    let Error::GoneAway { reason, by } = error else {
        panic!("{error}");
    };
    assert_eq!((reason, by), (Reason::NO_ERROR, Side::Remote));
    for (from, to) in [(&mut send, &mut far_recv), (&mut far_send, &mut recv)] {
        from.finish(data(5, 2)).unwrap();
        assert_eq!(read_all(to).await.unwrap(), data(5, 2));
    }
    assert_eq!(server.ask(|it| it.n_streams()).await, 0);
    drop((recv, send));
    client.finished().await;
    assert!(matches!(soon(server.end).await.unwrap(), Error::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_client_of_h2_hears_that_a_server_leaves() {
    let (near, far) = pipe(10_000);
    let mut client = H2Client::new(near, &h2::client::Builder::new()).await;
    let mut server = Server::new(far, CONFIG);
    let (response, mut near_send) = client.open(connect("home.example:443")).await;
    let (mut far_recv, mut far_send) = server.accepted().await;
    let mut recv = soon(response).await.unwrap().into_body();
    server.ask(|it| it.leave()).await;
    let refused = async {
        loop {
            match poll_fn(|cx| client.requests.poll_ready(cx)).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    let error = soon(refused).await;
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
    near_send.send_data(data(10, 1), true).unwrap();
    assert_eq!(read_all(&mut far_recv).await.unwrap(), data(10, 1));
    far_send.finish(data(10, 2)).unwrap();
    assert_eq!(h2_read_all(&mut recv).await.unwrap().0, data(10, 2));
    // Then it has nothing to stay for.
    assert!(soon(client.end).await.unwrap().is_ok());
    assert!(matches!(soon(server.end).await.unwrap(), Error::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_server_of_h2_leaves() {
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut server = H2Server::new(far, &h2::server::Builder::new());
    let (answer, mut send) = client.open();
    let (_request, mut respond) = server.arrival().await;
    let mut h2_send = respond.send_response(ok(), false).unwrap();
    server.ask(|it| it.graceful_shutdown()).await;
    let mut recv = soon(answer).await.unwrap().into_body();
    h2_send.send_data(data(10, 1), true).unwrap();
    assert_eq!(read_all(&mut recv).await.unwrap(), data(10, 1));
    send.finish(Bytes::new()).unwrap();
    let opened = client.requests.open(&connect("late.example:443"));
    assert!(matches!(
        opened,
        Err(Error::GoneAway {
            by: Side::Remote,
            ..
        })
    ));
    assert!(soon(server.end).await.unwrap().is_ok());
    soon(client.end).await.unwrap().unwrap();
}

/// What the peer has not looked at may be tried elsewhere (RFC 9113 section 6.8).
#[tokio::test(start_paused = true)]
async fn streams_that_a_leaving_peer_has_not_served_are_told_from_those_that_it_has() {
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut raw = Raw::server(far).await;
    let (served, _served_send) = client.open();
    let (unserved, mut unserved_send) = client.open();
    raw.hear_of(HEADERS).await;
    raw.hear_of(HEADERS).await;
    raw.say(&goaway(1, Reason::ENHANCE_YOUR_CALM)).await;
    let error = soon(unserved).await.unwrap_err();
    assert!(!error.is_reset() && error.is_remote());
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    let late = unserved_send.queue(data(1, 1)).unwrap_err();
    assert!(matches!(
        late,
        Error::GoneAway {
            by: Side::Remote,
            ..
        }
    ));
    let heard = soon(poll_fn(|cx| unserved_send.poll_reset(cx))).await;
    assert!(matches!(heard, Err(Error::GoneAway { .. })));
    raw.say(&headers(END_STREAM, 1, OK)).await;
    let mut recv = soon(served).await.unwrap().into_body();
    assert_eq!(read_all(&mut recv).await.unwrap(), b"");
    // Nothing is said of what the peer does not know.
    let heard = raw.hear_all().await;
    assert!(heard.is_empty(), "{heard:?}");
}

/// A part of an answer is not taken for the whole, whatever the peer says of it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_a_leaving_peer_disowns_does_not_end_well() {
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut raw = Raw::server(far).await;
    let (answer, _send) = client.open();
    raw.hear_of(HEADERS).await;
    let disowned = [
        headers(0, 1, OK),
        frame(DATA, 0, 1, b"a part"),
        goaway(0, Reason::NO_ERROR),
    ];
    raw.say(&disowned.concat()).await;
    let mut recv = soon(answer).await.unwrap().into_body();
    let read = read_all(&mut recv).await;
    assert!(matches!(read, Err(Error::GoneAway { .. })), "{read:?}");
}

/// The peer gets the code whatever it was told before.
#[tokio::test(start_paused = true)]
async fn a_violation_after_the_farewell_is_told_too() {
    let (near, far) = pipe(10_000);
    let server = Server::new(far, CONFIG);
    let mut raw = Raw::client(near).await;
    server.ask(|it| it.leave()).await;
    let farewell = raw.hear_of(GOAWAY).await;
    assert_eq!(farewell.reason(), Reason::NO_ERROR);
    raw.say(&frame(DATA, 0, 0, b"")).await;
    let heard = raw.hear_all().await;
    let reasons: Vec<_> = heard.iter().map(Frame::reason).collect();
    assert_eq!(reasons, [Reason::PROTOCOL_ERROR]);
}

/// Streams that the peer opened before it heard are dropped, and their bytes and fields with them.
#[tokio::test(start_paused = true)]
async fn streams_that_crossed_the_farewell_are_passed_over() {
    let (near, far) = pipe(100_000);
    let mut server = Server::new(far, CONFIG);
    let mut raw = Raw::client(near).await;
    raw.say(&headers(0, 1, POST)).await;
    let (mut recv, _send) = server.accepted().await;
    server.ask(|it| it.leave()).await;
    let farewell = raw.hear_of(GOAWAY).await;
    assert_eq!(farewell.payload[..4], 1_u32.to_be_bytes());
    let crossed = [
        headers(0, 3, POST),
        frame(DATA, 0, 3, b"lost"),
        frame(WINDOW_UPDATE, 0, 3, &9_u32.to_be_bytes()),
        headers(END_STREAM, 3, &[]),
        rst_stream(5, Reason::CANCEL),
        frame(DATA, END_STREAM, 1, b"kept"),
    ];
    raw.say(&crossed.concat()).await;
    assert_eq!(read_all(&mut recv).await.unwrap(), b"kept");
    let heard = raw.hear_all().await;
    let is_fine = |it: &Frame| it.kind != GOAWAY && it.kind != RST_STREAM;
    assert!(heard.iter().all(is_fine), "{heard:?}");
    assert!(server.arrived().is_none());
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_both_ways_and_one_is_on_its_way_at_a_time() {
    for pieces in [None, Some(3)] {
        let pipe = || match pieces {
            None => pipe(10_000),
            Some(seed) => pipe_of_pieces(seed, 10),
        };
        // Ours asks h2, which asks ours.
        let (near, far) = pipe();
        let Client {
            requests,
            mut ping_pong,
            end,
        } = Client::new(near, CONFIG);
        let server = H2Server::new(far, &h2::server::Builder::new());
        let mut h2_ping_pong = server.ask(|it| it.ping_pong().unwrap()).await;
        for _ in 0..3 {
            ping_pong.send().unwrap();
            assert!(matches!(ping_pong.send(), Err(Error::Pinging)));
            soon(poll_fn(|cx| ping_pong.poll_answer(cx))).await.unwrap();
            soon(h2_ping_pong.ping(h2::Ping::opaque())).await.unwrap();
        }
        drop(requests);
        soon(end).await.unwrap().unwrap();
        assert!(ping_pong.send().is_err());
        assert!(soon(poll_fn(|cx| ping_pong.poll_answer(cx))).await.is_err());

        let (near, far) = pipe();
        let client = H2Client::new(near, &h2::client::Builder::new()).await;
        let server = Server::new(far, CONFIG);
        let mut ping_pong = server.ask(|it| it.ping_pong()).await;
        let mut h2_ping_pong = client.ask(|it| it.ping_pong().unwrap()).await;
        for _ in 0..3 {
            ping_pong.send().unwrap();
            soon(poll_fn(|cx| ping_pong.poll_answer(cx))).await.unwrap();
            soon(h2_ping_pong.ping(h2::Ping::opaque())).await.unwrap();
        }
    }
}

/// Only what it was asked is an answer.
#[tokio::test(start_paused = true)]
async fn an_answer_to_another_ping_is_none() {
    let (near, far) = pipe(10_000);
    let server = Server::new(far, CONFIG);
    let mut raw = Raw::client(near).await;
    let mut ping_pong = server.ask(|it| it.ping_pong()).await;
    ping_pong.send().unwrap();
    let ping = raw.hear_of(PING).await;
    let mut other = ping.payload.to_vec();
    other[0] ^= 1;
    for payload in [&other[..], &[0; 8]] {
        raw.say(&frame(PING, ACK, 0, payload)).await;
    }
    raw.hear_all().await;
    assert!(matches!(ping_pong.send(), Err(Error::Pinging)));
    raw.say(&frame(PING, ACK, 0, &ping.payload)).await;
    soon(poll_fn(|cx| ping_pong.poll_answer(cx))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_with_nothing_to_do_and_nobody_to_ask_for_more_closes() {
    for builder in [false, true] {
        let (near, far) = pipe(10_000);
        let client = Client::new(near, CONFIG);
        if builder {
            let mut server = H2Server::new(far, &h2::server::Builder::new());
            let (answer, mut send) = client.open();
            let (_request, mut respond) = server.arrival().await;
            respond.send_response(ok(), true).unwrap();
            let clone = client.requests.clone();
            let Client {
                requests, mut end, ..
            } = client;
            drop(requests);
            send.finish(data(10, 1)).unwrap();
            let answer = soon(answer).await.unwrap();
            drop(send);
            let nobody_ends = tokio::time::timeout(std::time::Duration::from_secs(1), &mut end);
            assert!(
                nobody_ends.await.is_err(),
                "a stream is held, and a way to open others"
            );
            drop(answer);
            let nobody_ends = tokio::time::timeout(std::time::Duration::from_secs(1), &mut end);
            assert!(nobody_ends.await.is_err(), "there is a way to open others");
            drop(clone);
            soon(end).await.unwrap().unwrap();
            assert!(soon(server.end).await.unwrap().is_ok());
        } else {
            let server = Server::new(far, CONFIG);
            client.finished().await;
            soon(server.end).await.unwrap();
        }
    }
}

/// What a peer says of the end of a connection is what its owner hears.
#[tokio::test(start_paused = true)]
async fn a_peer_that_gives_up_the_connection_is_heard() {
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut raw = Raw::server(far).await;
    let (answer, _send) = client.open();
    raw.hear_of(HEADERS).await;
    raw.say(&goaway(1, Reason::PROTOCOL_ERROR)).await;
    drop(raw);
    let error = soon(client.end).await.unwrap().unwrap_err();
    assert!(error.is_remote(), "{error}");
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    assert!(soon(answer).await.is_err());

    let (near, far) = pipe(10_000);
    let server = Server::new(far, CONFIG);
    let mut raw = Raw::client(near).await;
    raw.hear_all().await;
    raw.say(&goaway(0, Reason::PROTOCOL_ERROR)).await;
    drop(raw);
    let error = soon(server.end).await.unwrap();
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{error}");
}
