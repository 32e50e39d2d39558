//! How single streams end before their time, between ours and h2 both ways.

use bytes::Bytes;

use super::frames::{
    DATA, END_STREAM, HEADERS, OK, POST, RST_STREAM, Raw, frame, headers, rst_stream,
};
use super::h2_peers::{H2Client, H2Server, h2_read_all};
use super::peers::{CONFIG, Client, Server, connect, data, ok, ours, pipe, read_all, soon, stream};
use crate::{Error, Reason, Side};

const REASONS: [Reason; 10] = [
    Reason::NO_ERROR,
    Reason::PROTOCOL_ERROR,
    Reason::INTERNAL_ERROR,
    Reason::FLOW_CONTROL_ERROR,
    Reason::STREAM_CLOSED,
    Reason::FRAME_SIZE_ERROR,
    Reason::REFUSED_STREAM,
    Reason::CANCEL,
    Reason::COMPRESSION_ERROR,
    Reason::ENHANCE_YOUR_CALM,
];

/// Of a reset by the peer.
fn reason(error: &Error) -> Reason {
    assert!(error.is_reset() && error.is_remote(), "{error}");
    error.reason().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_of_h2_hears_why_its_stream_was_reset_and_says_why() {
    let (near, far) = pipe(10_000);
    let mut client = H2Client::new(near, &h2::client::Builder::new()).await;
    let mut server = Server::new(far, CONFIG);
    for told in REASONS {
        let code = h2::Reason::from(told.code());
        // Without an answer.
        let (response, _send) = client.open(connect("home.example:443")).await;
        let (_request, respond) = server.arrival().await;
        respond.reset(told);
        let error = soon(response).await.unwrap_err();
        assert!(error.is_reset() && error.is_remote());
        assert_eq!(error.reason(), Some(code));

        // With a part of one, which has to go before.
        let (response, _send) = client.open(connect("home.example:443")).await;
        let (mut recv, mut send) = server.accepted().await;
        let mut body = soon(response).await.unwrap().into_body();
        send.send_all(data(1000, 1)).await.unwrap();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), data(1000, 1));
        send.reset(told);
        if told != Reason::NO_ERROR {
            let error = h2_read_all(&mut body).await.unwrap_err();
            assert_eq!(error.reason(), Some(code));
        }
        let own = soon(recv.data()).await.unwrap().unwrap_err();
        assert!(own.is_reset() && !own.is_remote());
        assert_eq!(own.reason(), Some(told));

        // The other way.
        let (_response, mut near_send) = client.open(connect("home.example:443")).await;
        let (mut recv, mut send) = server.accepted().await;
        near_send.send_reset(code);
        let heard = soon(std::future::poll_fn(|cx| send.poll_reset(cx))).await;
        assert_eq!(heard.unwrap(), told);
        let error = send.queue(Bytes::from_static(b"late")).unwrap_err();
        assert_eq!(reason(&error), told);
        if told != Reason::NO_ERROR {
            assert_eq!(reason(&soon(recv.data()).await.unwrap().unwrap_err()), told);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_of_h2_hears_why_its_stream_was_reset_and_says_why() {
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut server = H2Server::new(far, &h2::server::Builder::new());
    for told in REASONS {
        let code = h2::Reason::from(told.code());
        let (answer, mut send) = client.open();
        let (request, _respond) = server.arrival().await;
        send.reset(told);
        if told != Reason::NO_ERROR {
            let error = h2_read_all(&mut request.into_body()).await.unwrap_err();
            assert_eq!(error.reason(), Some(code));
        }
        let own = soon(answer).await.unwrap_err();
        assert!(own.is_reset() && !own.is_remote());

        let (answer, mut send) = client.open();
        let (_request, mut respond) = server.arrival().await;
        respond.send_reset(code);
        assert_eq!(reason(&soon(answer).await.unwrap_err()), told);
        let heard = soon(std::future::poll_fn(|cx| send.poll_room(cx))).await;
        assert_eq!(reason(&heard.unwrap_err()), told);
    }
    client.finished().await;
}

/// A server that has said all may do without the rest of the request (RFC 9113 section 8.1).
#[tokio::test(start_paused = true)]
async fn no_error_after_a_whole_answer_leaves_the_answer_whole() {
    // By h2.
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut server = H2Server::new(far, &h2::server::Builder::new());
    let (answer, mut send) = client.open();
    let (request, mut respond) = server.arrival().await;
    let mut h2_send = respond.send_response(ok(), false).unwrap();
    h2_send.send_data(data(1000, 1), true).unwrap();
    drop((request, respond, h2_send));
    let heard = soon(std::future::poll_fn(|cx| send.poll_reset(cx))).await;
    assert_eq!(heard.unwrap(), Reason::NO_ERROR);
    // All of it was there before, and none of it was read.
    let mut recv = soon(answer).await.unwrap().into_body();
    assert_eq!(read_all(&mut recv).await.unwrap(), data(1000, 1));
    assert!(recv.ended().await.unwrap().is_none());
    let error = send.queue(data(10, 1)).unwrap_err();
    assert_eq!(reason(&error), Reason::NO_ERROR);

    // To h2.
    let (near, far) = pipe(10_000);
    let mut client = H2Client::new(near, &h2::client::Builder::new()).await;
    let mut server = Server::new(far, CONFIG);
    let (response, mut near_send) = client.open(connect("home.example:443")).await;
    let (recv, mut send) = server.accepted().await;
    send.finish(data(1000, 1)).unwrap();
    drop((recv, send));
    let mut body = soon(response).await.unwrap().into_body();
    assert_eq!(h2_read_all(&mut body).await.unwrap().0, data(1000, 1));
    let heard = soon(std::future::poll_fn(|cx| near_send.poll_reset(cx))).await;
    assert_eq!(heard.unwrap(), h2::Reason::NO_ERROR);
}

/// Otherwise a visitor would take a part for the whole.
#[tokio::test(start_paused = true)]
async fn no_error_in_the_middle_of_an_answer_is_not_its_end() {
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut raw = Raw::server(far).await;
    let (answer, _send) = client.open();
    raw.hear_of(HEADERS).await;
    let cut = [
        headers(0, 1, OK),
        frame(DATA, 0, 1, b"a part"),
        rst_stream(1, Reason::NO_ERROR),
    ];
    raw.say(&cut.concat()).await;
    let mut recv = soon(answer).await.unwrap().into_body();
    let error = read_all(&mut recv).await.unwrap_err();
    assert_eq!(reason(&error), Reason::NO_ERROR);
}

/// The server's reset goes before what it has queued, the client's too.
#[tokio::test(start_paused = true)]
async fn a_reset_waits_for_nothing_that_is_queued() {
    let (client, mut server) = ours(1000, CONFIG);
    let ((mut near_recv, mut near_send), (mut far_recv, mut far_send)) =
        stream(&client, &mut server).await;
    for send in [&mut near_send, &mut far_send] {
        send.queue(data(3_000_000, 1)).unwrap();
    }
    near_send.reset(Reason::CANCEL);
    let heard = soon(std::future::poll_fn(|cx| far_send.poll_reset(cx))).await;
    assert_eq!(heard.unwrap(), Reason::CANCEL);
    // What had come before is nobody's any more.
    let error = soon(far_recv.data()).await.unwrap().unwrap_err();
    assert_eq!(reason(&error), Reason::CANCEL);
    let error = soon(near_recv.data()).await.unwrap().unwrap_err();
    assert!(error.is_reset() && !error.is_remote());
    // Once is enough.
    near_send.reset(Reason::INTERNAL_ERROR);
    far_send.reset(Reason::INTERNAL_ERROR);
    let heard = soon(std::future::poll_fn(|cx| near_send.poll_reset(cx))).await;
    assert_eq!(heard.unwrap(), Reason::CANCEL);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_reset_once_however_often_it_is_asked_for() {
    let (near, far) = pipe(10_000);
    let mut server = Server::new(far, CONFIG);
    let mut raw = Raw::client(near).await;
    raw.say(&headers(0, 1, POST)).await;
    let (recv, mut send) = server.accepted().await;
    raw.hear_of(HEADERS).await;
    for told in [Reason::CANCEL, Reason::INTERNAL_ERROR] {
        send.reset(told);
    }
    drop((recv, send));
    let heard = raw.hear_all().await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(
        (heard[0].kind, heard[0].reason()),
        (RST_STREAM, Reason::CANCEL)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_after_the_end_is_refused() {
    let (client, mut server) = ours(1000, CONFIG);
    let ((_recv, mut send), (mut far_recv, mut far_send)) = stream(&client, &mut server).await;
    send.finish(data(10, 1)).unwrap();
    for late in [
        send.finish(Bytes::new()),
        send.queue(data(1, 1)),
        send.finish_with(&http::HeaderMap::new()),
        send.send_all(data(1, 1)).await,
        soon(std::future::poll_fn(|cx| send.poll_room(cx)))
            .await
            .map(drop),
    ] {
        assert!(matches!(late, Err(Error::Ended)), "{late:?}");
    }
    assert_eq!(read_all(&mut far_recv).await.unwrap(), data(10, 1));
    assert!(soon(far_recv.data()).await.is_none(), "it stays so");
    // The other direction goes on.
    far_send.finish(data(5, 1)).unwrap();
    assert_eq!(read_all(&mut { _recv }).await.unwrap(), data(5, 1));
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_what_is_taken_are_refused_and_the_others_go_on() {
    let config = crate::Config {
        streams_max: 2,
        ..CONFIG
    };
    // Ours.
    let (client, mut server) = ours(10_000, config.clone());
    let first = stream(&client, &mut server).await;
    assert_eq!(client.requests.streams_max(), 2);
    let ((mut recv, mut send), (mut far_recv, mut far_send)) = stream(&client, &mut server).await;
    let (refused, _refused_send) = client.open();
    let error = soon(refused).await.unwrap_err();
    assert_eq!(reason(&error), Reason::REFUSED_STREAM);
    far_send.finish(data(10, 1)).unwrap();
    send.finish(data(10, 2)).unwrap();
    assert_eq!(read_all(&mut recv).await.unwrap(), data(10, 1));
    assert_eq!(read_all(&mut far_recv).await.unwrap(), data(10, 2));
    // One has made room, even while handles to it are kept.
    let third = stream(&client, &mut server).await;
    drop((first, third));

    // A client of h2 waits with the third.
    let (near, far) = pipe(10_000);
    let mut client = H2Client::new(near, &h2::client::Builder::new()).await;
    let mut server = Server::new(far, config);
    let (_first, _send) = client.open(connect("home.example:443")).await;
    let _accepted = server.accepted().await;
    let (_second, mut send) = client.open(connect("home.example:443")).await;
    let (second_recv, mut second_send) = server.accepted().await;
    let ready = std::future::poll_fn(|cx| client.requests.poll_ready(cx));
    soon(ready).await.unwrap();
    let mut requests = client.requests.clone();
    let (_third, _third_send) = requests
        .send_request(connect("b.example:443"), false)
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(server.arrived().is_none());
    second_send.finish(Bytes::new()).unwrap();
    send.send_data(Bytes::new(), true).unwrap();
    let (third, _respond) = server.arrival().await;
    assert_eq!(*third.uri(), "b.example:443");
    drop(second_recv);

    // A server of h2 refuses.
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut server = H2Server::new(far, h2::server::Builder::new().max_concurrent_streams(1));
    let (_answer, _send) = client.open();
    let _arrival = server.arrival().await;
    let (refused, _refused_send) = client.open();
    let error = soon(refused).await.unwrap_err();
    assert_eq!(reason(&error), Reason::REFUSED_STREAM);
}

/// A peer that has refused one has looked at nothing of it.
#[tokio::test(start_paused = true)]
async fn what_comes_on_a_refused_stream_is_dropped() {
    let config = crate::Config {
        streams_max: 1,
        ..CONFIG
    };
    let (near, far) = pipe(100_000);
    let mut server = Server::new(far, config);
    let mut raw = Raw::client(near).await;
    raw.say(&headers(0, 1, POST)).await;
    let _accepted = server.accepted().await;
    raw.say(&headers(0, 3, POST)).await;
    raw.say(&frame(DATA, 0, 3, &[0; 1000])).await;
    raw.say(&headers(END_STREAM, 3, &[])).await;
    let heard = raw.hear_all().await;
    let resets: Vec<_> = heard.iter().filter(|it| it.kind == RST_STREAM).collect();
    assert_eq!(resets.len(), 1, "{heard:?}");
    assert_eq!(
        (resets[0].stream, resets[0].reason()),
        (3, Reason::REFUSED_STREAM)
    );
    assert!(server.arrived().is_none());
}

#[test]
fn errors_say_what_they_are() {
    let reset = |by| Error::Reset {
        reason: Reason::CANCEL,
        by,
    };
    let gone = |by| Error::GoneAway {
        reason: Reason::from_code(77),
        by,
    };
    assert_eq!(
        reset(Side::Remote).to_string(),
        "the stream was reset by the peer: CANCEL"
    );
    let said = gone(Side::Local).to_string();
    assert_eq!(
        said,
        "the connection was given up by this side: error code 77"
    );
    assert!(reset(Side::Local).is_reset() && !gone(Side::Local).is_reset());
    assert!(gone(Side::Remote).is_remote() && !reset(Side::Local).is_remote());
    assert!(!Error::Closed.is_remote() && Error::Closed.reason().is_none());
    assert_eq!(gone(Side::Remote).reason(), Some(Reason::from_code(77)));
}
