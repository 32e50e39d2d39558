//! Streams whose handles are all dropped, at each stage: what the peer hears of it, and that nothing is
//! left of them.

use bytes::Bytes;

use super::frames::{
    DATA, END_STREAM, Frame, HEADERS, OK, POST, RST_STREAM, Raw, frame, headers, rst_stream,
    window, window_update,
};
use super::held::Held;
use super::peers::{CONFIG, Client, data, pipe, soon};
use crate::client::Answer;
use crate::{Reason, RecvStream, SendStream};

/// What a peer has heard of a stream: bytes, ends and resets, in their order.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Head,
    Data(usize),
    End,
    Reset(Reason),
}
use Heard::{Data, End, Head, Reset};

fn of_stream(frames: &[Frame], stream: u32) -> Vec<Heard> {
    let mut heard = Vec::new();
    for frame in frames.iter().filter(|it| it.stream == stream) {
        match (frame.kind, heard.last_mut()) {
            (HEADERS, _) => heard.push(Head),
            (DATA, _) if frame.payload.is_empty() => {}
            (DATA, Some(Data(len))) => *len += frame.payload.len(),
            (DATA, _) => heard.push(Data(frame.payload.len())),
            (RST_STREAM, _) => heard.push(Reset(frame.reason())),
            _ => {}
        }
        if frame.flags & END_STREAM != 0 && frame.kind <= HEADERS {
            heard.push(End);
        }
    }
    heard
}

/// Opens a stream on a client, has `before` said by the peer once the head is out and `act` done to the
/// stream, and then drops it. Returns what the peer has heard of it.
async fn abandoned_by_client(
    before: &[u8],
    act: impl AsyncFnOnce(&mut Answer, &mut SendStream),
) -> Vec<Heard> {
    let (near, far) = pipe(1_000_000);
    let client = Client::new(near, CONFIG);
    let mut raw = Raw::server(far).await;
    raw.say(&[window(1_000_000), window_update(0, 1_000_000)].concat())
        .await;
    let (mut answer, mut send) = client.open();
    let mut heard = vec![raw.hear_of(HEADERS).await];
    raw.say(before).await;
    heard.extend(raw.hear_all().await);
    act(&mut answer, &mut send).await;
    heard.extend(raw.hear_all().await);
    let n_before = heard.len();
    // Nothing happens as long as anybody can still read or write it.
    drop(send);
    heard.extend(raw.hear_all().await);
    assert_eq!(heard.len(), n_before);
    drop(answer);
    heard.extend(raw.hear_all().await);
    client.finished().await;
    of_stream(&heard, 1)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_know_of_a_stream_hears_nothing() {
    let (near, far) = pipe(10_000);
    let (requests, connection) = crate::client::connect(tokio::io::BufReader::new(near), CONFIG);
    let request = super::peers::connect("home.example:443");
    // Nobody has driven the connection.
    let (answer, mut send) = requests.open(&request).unwrap();
    send.queue(data(10, 1)).unwrap();
    drop((answer, send));
    let kept = requests.open(&request).unwrap();
    let end = tokio::spawn(connection);
    let mut raw = Raw::server(far).await;
    let heard = raw.hear_all().await;
    assert_eq!(of_stream(&heard, 1), []);
    assert_eq!(of_stream(&heard, 3), [Head]);
    drop((requests, kept));
    assert_eq!(of_stream(&raw.hear_all().await, 3), [Reset(Reason::CANCEL)]);
    soon(end).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_hears_of_cancel_after_what_was_said_before() {
    let heard = abandoned_by_client(&[], async |_, _| {}).await;
    assert_eq!(heard, [Head, Reset(Reason::CANCEL)]);
    let heard = abandoned_by_client(&[], async |_, send| send.queue(data(10, 1)).unwrap()).await;
    assert_eq!(heard, [Head, Data(10), Reset(Reason::CANCEL)]);
    let end = async |_: &mut Answer, send: &mut SendStream| send.finish(data(10, 1)).unwrap();
    let heard = abandoned_by_client(&[], end).await;
    assert_eq!(heard, [Head, Data(10), End, Reset(Reason::CANCEL)]);
    // It has answered all, and we have not said all.
    let answered = headers(END_STREAM, 1, OK);
    let heard = abandoned_by_client(&answered, async |_, _| {}).await;
    assert_eq!(heard, [Head, Reset(Reason::CANCEL)]);
    let heard = abandoned_by_client(&headers(0, 1, OK), async |_, _| {}).await;
    assert_eq!(heard, [Head, Reset(Reason::CANCEL)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_hears_nothing_after_both_ends_or_a_reset() {
    let end = async |_: &mut Answer, send: &mut SendStream| send.finish(Bytes::new()).unwrap();
    let heard = abandoned_by_client(&headers(END_STREAM, 1, OK), end).await;
    assert_eq!(heard, [Head, End]);
    let by_peer = rst_stream(1, Reason::REFUSED_STREAM);
    let heard = abandoned_by_client(&by_peer, async |_, _| {}).await;
    assert_eq!(heard, [Head]);
    let by_us = async |_: &mut Answer, send: &mut SendStream| send.reset(Reason::INTERNAL_ERROR);
    let heard = abandoned_by_client(&[], by_us).await;
    assert_eq!(heard, [Head, Reset(Reason::INTERNAL_ERROR)]);
}

/// A peer that gives no window would have more and more of it kept.
#[tokio::test(start_paused = true)]
async fn what_the_window_does_not_take_is_not_kept_once_nobody_has_the_stream() {
    for finishes in [false, true] {
        let (near, far) = pipe(1_000_000);
        let client = Client::new(near, CONFIG);
        let mut raw = Raw::server(far).await;
        let (answer, mut send) = client.open();
        let mut heard = vec![raw.hear_of(HEADERS).await];
        // Both the stream's window and that of all are smaller.
        if finishes {
            send.finish(data(100_000, 1)).unwrap();
        } else {
            send.queue(data(100_000, 1)).unwrap();
        }
        drop((answer, send));
        heard.extend(raw.hear_all().await);
        let heard = of_stream(&heard, 1);
        assert_eq!(heard.last(), Some(&Reset(Reason::CANCEL)), "{heard:?}");
        client.finished().await;
    }
}

/// The other way round: a stream of this request arrives at a server, `act` is done to it, and then it
/// is dropped. Returns what the peer has heard of it.
async fn abandoned_by_server(
    request: &[u8],
    act: impl AsyncFnOnce(&mut Raw, RecvStream, SendStream),
) -> Vec<Heard> {
    let (near, far) = pipe(1_000_000);
    let mut held = Held::server(far, CONFIG);
    let mut raw = Raw::client(near).await;
    raw.say(request).await;
    let (recv, send) = held.arrival().await;
    assert_eq!(held.n_open(), 1);
    act(&mut raw, recv, send).await;
    let heard = of_stream(&raw.hear_all().await, 1);
    held.assert_empty();
    heard
}

#[tokio::test(start_paused = true)]
async fn a_client_hears_of_cancel_if_it_was_not_told_all() {
    let request = headers(0, 1, POST);
    let heard = abandoned_by_server(&request, async |_, _, _| {}).await;
    assert_eq!(heard, [Reset(Reason::CANCEL)]);
    let heard = abandoned_by_server(&request, async |_, _, send| Held::answer(&send)).await;
    assert_eq!(heard, [Head, Reset(Reason::CANCEL)]);
    let part = async |_: &mut Raw, _, mut send: SendStream| {
        Held::answer(&send);
        send.queue(data(40_000, 1)).unwrap();
    };
    let heard = abandoned_by_server(&request, part).await;
    assert_eq!(heard, [Head, Data(40_000), Reset(Reason::CANCEL)]);
    // It has said all itself, which changes nothing.
    let whole = headers(END_STREAM, 1, POST);
    let heard = abandoned_by_server(&whole, async |_, _, send| Held::answer(&send)).await;
    assert_eq!(heard, [Head, Reset(Reason::CANCEL)]);
}

#[tokio::test(start_paused = true)]
async fn a_client_hears_of_no_error_if_it_was_told_all_and_has_not_said_all() {
    let all = async |_: &mut Raw, _, mut send: SendStream| {
        Held::answer(&send);
        send.finish(data(40_000, 1)).unwrap();
    };
    let heard = abandoned_by_server(&headers(0, 1, POST), all).await;
    assert_eq!(heard, [Head, Data(40_000), End, Reset(Reason::NO_ERROR)]);
    let heard = abandoned_by_server(&headers(END_STREAM, 1, POST), all).await;
    assert_eq!(heard, [Head, Data(40_000), End]);
    let trailers = async |_: &mut Raw, _, mut send: SendStream| {
        Held::answer(&send);
        send.finish_with(&http::HeaderMap::new()).unwrap();
    };
    let heard = abandoned_by_server(&headers(0, 1, POST), trailers).await;
    assert_eq!(heard, [Head, Head, End, Reset(Reason::NO_ERROR)]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_reset_a_stream_hears_nothing_of_it() {
    let reset = async |raw: &mut Raw, recv: RecvStream, send: SendStream| {
        Held::answer(&send);
        raw.say(&rst_stream(1, Reason::CANCEL)).await;
        assert_eq!(of_stream(&raw.hear_all().await, 1), [Head]);
        drop((recv, send));
    };
    let heard = abandoned_by_server(&headers(0, 1, POST), reset).await;
    assert_eq!(heard, []);
}

/// It goes on sending for a while, and hears no more of it.
#[tokio::test(start_paused = true)]
async fn what_comes_for_an_abandoned_stream_is_dropped() {
    let (near, far) = pipe(1_000_000);
    let mut held = Held::server(far, CONFIG);
    let mut raw = Raw::client(near).await;
    raw.say(&[headers(0, 1, POST), frame(DATA, 0, 1, &[0; 1000])].concat())
        .await;
    drop(held.arrival().await);
    let heard = raw.hear_all().await;
    assert_eq!(of_stream(&heard, 1), [Reset(Reason::CANCEL)]);
    let late = [
        frame(DATA, 0, 1, &[0; 1000]),
        window_update(1, 10),
        headers(END_STREAM, 1, &[]),
    ];
    raw.say(&late.concat()).await;
    assert_eq!(of_stream(&raw.hear_all().await, 1), []);
    held.assert_empty();
}

/// Nobody has asked for it yet.
#[tokio::test(start_paused = true)]
async fn a_stream_that_its_peer_resets_before_it_is_taken_never_arrives() {
    let (near, far) = pipe(1_000_000);
    let mut held = Held::server(far, CONFIG);
    let mut raw = Raw::client(near).await;
    raw.hear_all().await;
    let gone = [
        headers(0, 1, POST),
        rst_stream(1, Reason::CANCEL),
        headers(0, 3, POST),
        window_update(3, 0),
        headers(END_STREAM, 5, POST),
    ];
    raw.say(&gone.concat()).await;
    let (_recv, send) = held.arrival().await;
    assert_eq!(send.id(), 5);
    let heard = raw.hear_all().await;
    assert_eq!(of_stream(&heard, 3), [Reset(Reason::PROTOCOL_ERROR)]);
    assert_eq!(held.n_open(), 1);
}
