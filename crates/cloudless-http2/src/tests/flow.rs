//! Bodies and windows, between ours and h2 both ways.

use bytes::Bytes;

use super::frames::{
    ACK, DATA, END_STREAM, HEADERS, OK, PADDED, POST, Raw, SETTINGS, WINDOW_UPDATE, frame, headers,
    rst_stream, setting, window, window_update,
};
use super::h2_peers::{H2Client, H2Server, h2_read_all, h2_send_all};
use super::peers::{
    CONFIG, Client, Server, connect, data, ok, ours, pipe, pipe_of_pieces, read_all, soon, stream,
};
use crate::transmit::OUT_LEN;
use crate::{Config, Reason, SendStream};

#[derive(Clone, Copy, Debug)]
struct Windows {
    /// Of a stream of h2,
    stream: u32,
    /// and of all of them.
    all: u32,
    /// Of a stream of ours.
    ours: u32,
}

const fn windows(stream: u32, all: u32, ours: u32) -> Windows {
    Windows { stream, all, ours }
}

/// Much smaller and much larger than the bodies, which have so many bytes.
const CASES: [(Windows, usize); 5] = [
    (windows(65_535, 65_535, 65_535), 2_000_000),
    (windows(100, 65_535, 70_000), 50_000),
    (windows(2_000_000, 65_535, 1_000_000), 2_000_000),
    (windows(70_000, 4_000_000, 2_000_000), 2_000_000),
    (windows(8_000_000, 8_000_000, 8_000_000), 5_000_000),
];

impl Windows {
    fn client(self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(self.stream);
        builder.initial_connection_window_size(self.all);
        builder
    }

    fn server(self) -> h2::server::Builder {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(self.stream);
        builder.initial_connection_window_size(self.all);
        builder
    }

    fn config(self) -> Config {
        Config {
            stream_window: self.ours,
            ..CONFIG
        }
    }
}

/// The last bytes go with the end if `at_once`, and before it otherwise.
async fn send(stream: &mut SendStream, mut bytes: Bytes, at_once: bool) {
    let last = bytes.split_off(bytes.len() - if at_once { 10 } else { 0 });
    stream.send_all(bytes).await.unwrap();
    stream.finish(last).unwrap();
}

async fn h2_send(stream: &mut h2::SendStream<Bytes>, bytes: Bytes) {
    h2_send_all(stream, bytes).await;
    stream.send_data(Bytes::new(), true).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_has_no_room_for_is_counted_until_it_has() {
    let (near, far) = pipe(65_536);
    let windows = windows(100, 65_535, 65_535);
    let mut client = H2Client::new(near, &windows.client()).await;
    let mut server = Server::new(far, windows.config());
    let (response, _near_send) = client.open(connect("home.example:443")).await;
    let (_request, respond) = server.arrival().await;
    let mut send = respond.answer(&ok()).unwrap();
    assert_eq!(send.queued(), 0);
    send.queue(data(150, 1)).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    let first = soon(body.data()).await.unwrap().unwrap();
    assert_eq!((first.len(), send.queued()), (100, 50));
    body.flow_control().release_capacity(100).unwrap();
    let rest = soon(body.data()).await.unwrap().unwrap();
    assert_eq!((rest.len(), send.queued()), (50, 0));
}

#[tokio::test(start_paused = true)]
async fn megabytes_go_both_ways_at_once_from_a_client_of_h2() {
    for (number, (windows, len)) in CASES.into_iter().enumerate() {
        let (near, far) = pipe_of_pieces(number as u64, 40_000);
        let mut client = H2Client::new(near, &windows.client()).await;
        let mut server = Server::new(far, windows.config());
        let (response, mut near_send) = client.open(connect("home.example:443")).await;
        let (request, respond) = server.arrival().await;
        let mut far_recv = request.into_body();
        let mut far_send = respond.answer(&ok()).unwrap();
        let mut near_recv = soon(response).await.unwrap().into_body();
        let (there, back) = (data(len, 1), data(len, 2));
        let ((), (), there_read, back_read) = tokio::join!(
            h2_send(&mut near_send, there.clone()),
            send(&mut far_send, back.clone(), number % 2 == 0),
            read_all(&mut far_recv),
            h2_read_all(&mut near_recv),
        );
        assert!(there_read.unwrap() == there, "{windows:?}");
        assert!(back_read.unwrap().0 == back, "{windows:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn megabytes_go_both_ways_at_once_to_a_server_of_h2() {
    for (number, (windows, len)) in CASES.into_iter().enumerate() {
        let (near, far) = pipe_of_pieces(number as u64, 40_000);
        let client = Client::new(near, windows.config());
        let mut server = H2Server::new(far, &windows.server());
        let (answer, mut near_send) = client.open();
        let (request, mut respond) = server.arrival().await;
        let mut far_recv = request.into_body();
        let mut far_send = respond.send_response(ok(), false).unwrap();
        let mut near_recv = soon(answer).await.unwrap().into_body();
        let (there, back) = (data(len, 1), data(len, 2));
        let ((), (), there_read, back_read) = tokio::join!(
            send(&mut near_send, there.clone(), number % 2 == 0),
            h2_send(&mut far_send, back.clone()),
            h2_read_all(&mut far_recv),
            read_all(&mut near_recv),
        );
        assert!(there_read.unwrap().0 == there, "{windows:?}");
        assert!(back_read.unwrap() == back, "{windows:?}");
        drop((near_send, near_recv));
        client.finished().await;
    }
}

/// What is queued waits for no window in the caller.
#[tokio::test(start_paused = true)]
async fn what_is_queued_goes_as_the_windows_of_h2_allow() {
    let windows = windows(1000, 65_535, 65_535);
    let (near, far) = pipe(10_000);
    let client = Client::new(near, windows.config());
    let mut server = H2Server::new(far, &windows.server());
    let mut kept = Vec::new();
    for number in 0..4 {
        let (answer, mut send) = client.open();
        for bytes in data(200_000, number).chunks(33_333) {
            send.queue(Bytes::copy_from_slice(bytes)).unwrap();
        }
        send.finish(Bytes::new()).unwrap();
        kept.push((answer, send));
    }
    for number in 0..4 {
        let (request, _respond) = server.arrival().await;
        let read = h2_read_all(&mut request.into_body()).await.unwrap();
        assert!(read.0 == data(200_000, number));
    }
}

#[tokio::test(start_paused = true)]
async fn windows_that_h2_changes_midway_are_kept_to() {
    // To nothing, below what is under way, and back.
    let changes = [0, 10, 3_000_000, 500, 65_535];

    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut server = H2Server::new(far, &h2::server::Builder::new());
    let (_answer, mut near_send) = client.open();
    let (request, _respond) = server.arrival().await;
    let mut recv = request.into_body();
    let sent = data(2_000_000, 1);
    let sending = send(&mut near_send, sent.clone(), true);
    let reading = async {
        let mut read = Vec::new();
        for change in changes {
            read_some(&mut recv, &mut read, 30_000).await;
            let ask =
                move |it: &mut h2::server::Connection<_, _>| it.set_initial_window_size(change);
            // The last change may not have been heard of yet.
            while server.ask(ask).await.is_err() {
                read_some(&mut recv, &mut read, 1).await;
            }
        }
        read.extend_from_slice(&h2_read_all(&mut recv).await.unwrap().0);
        read
    };
    let ((), read) = tokio::join!(sending, reading);
    assert!(read == sent);

    let (near, far) = pipe(10_000);
    let mut client = H2Client::new(near, &h2::client::Builder::new()).await;
    let mut server = Server::new(far, CONFIG);
    let (response, _near_send) = client.open(connect("home.example:443")).await;
    let (_near_recv, mut far_send) = server.accepted().await;
    let mut recv = soon(response).await.unwrap().into_body();
    let sending = send(&mut far_send, sent.clone(), true);
    let reading = async {
        let mut read = Vec::new();
        for change in changes {
            read_some(&mut recv, &mut read, 30_000).await;
            let ask =
                move |it: &mut h2::client::Connection<_, _>| it.set_initial_window_size(change);
            while client.ask(ask).await.is_err() {
                read_some(&mut recv, &mut read, 1).await;
            }
        }
        read.extend_from_slice(&h2_read_all(&mut recv).await.unwrap().0);
        read
    };
    let ((), read) = tokio::join!(sending, reading);
    assert!(read == sent);
}

/// Reads at least so many bytes, of a stream that has them.
async fn read_some(recv: &mut h2::RecvStream, read: &mut Vec<u8>, least: usize) {
    let until = read.len() + least;
    while read.len() < until {
        let bytes = soon(recv.data()).await.unwrap().unwrap();
        recv.flow_control().release_capacity(bytes.len()).unwrap();
        read.extend_from_slice(&bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_released_holds_the_peer_back_at_the_window() {
    let (client, mut server) = ours(100_000, CONFIG);
    let ((_recv, mut near_send), (mut recv, _send)) = stream(&client, &mut server).await;
    let window = CONFIG.stream_window as usize;
    let sent = data(3 * window, 1);
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move {
            near_send.send_all(sent).await.unwrap();
            near_send
        }
    });
    let mut read = Vec::new();
    while read.len() < window {
        read.extend_from_slice(&soon(recv.data()).await.unwrap().unwrap());
        assert!(recv.unreleased() <= window);
    }
    assert_eq!(recv.unreleased(), window);
    tokio::select! {
        biased;
        _ = recv.data() => panic!("beyond the window"),
        // With nobody else to go on, this is when the time does.
        () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
    }
    // Of less than a part the peer is not told.
    recv.release(window / 2);
    while read.len() < sent.len() {
        let bytes = soon(recv.data()).await.unwrap().unwrap();
        read.extend_from_slice(&bytes);
        recv.release(bytes.len());
    }
    assert!(read == sent);
    drop(soon(sending).await.unwrap());
    recv.release(usize::MAX);
    assert_eq!(recv.unreleased(), 0);
}

/// Each way of ending takes one frame if the last bytes are there, and no window of its own.
#[tokio::test(start_paused = true)]
async fn the_end_goes_with_the_last_bytes_and_without_a_window() {
    let (near, far) = pipe(100_000);
    let client = Client::new(near, CONFIG);
    let mut raw = Raw::server(far).await;
    let (_answer, mut send) = client.open();
    send.queue(data(5, 1)).unwrap();
    send.finish(data(5, 2)).unwrap();
    let (_other_answer, mut other) = client.open();
    raw.say(&window(0)).await;
    let heard = raw.hear_all().await;
    let heard: Vec<_> = heard.iter().filter(|it| it.stream == 1).collect();
    let expected = [(HEADERS, 0), (DATA, 0), (DATA, END_STREAM)];
    let is_expected = heard
        .iter()
        .map(|it| (it.kind, it.flags & END_STREAM))
        .eq(expected);
    assert!(is_expected, "{heard:?}");
    other.finish(Bytes::new()).unwrap();
    let end = raw.hear_of(DATA).await;
    assert_eq!(
        (end.stream, end.flags, &end.payload[..]),
        (3, END_STREAM, &b""[..])
    );
}

/// Nobody reads padding, and it counts against the window.
#[tokio::test(start_paused = true)]
async fn padding_is_given_back_and_does_not_stall_a_stream() {
    let config = Config {
        stream_window: 2000,
        ..CONFIG
    };
    let (near, far) = pipe(100_000);
    let mut server = Server::new(far, config);
    let mut raw = Raw::client(near).await;
    raw.say(&frame(SETTINGS, ACK, 0, &[])).await;
    raw.say(&headers(0, 1, POST)).await;
    let (mut recv, mut send) = server.accepted().await;
    let mut room = 2000;
    for n in 0..200_u8 {
        let padded = [&[200][..], &[n], &[0; 200]].concat();
        while room < padded.len() {
            let update = raw.hear_of(WINDOW_UPDATE).await;
            let more = u32::from_be_bytes(update.payload[..].try_into().unwrap());
            room += if update.stream == 1 { more as usize } else { 0 };
        }
        room -= padded.len();
        raw.say(&frame(DATA, PADDED, 1, &padded)).await;
        assert_eq!(soon(recv.data()).await.unwrap().unwrap(), [n][..]);
        recv.release(1);
    }
    assert_eq!(recv.unreleased(), 0);
    send.finish(Bytes::new()).unwrap();
}

/// What comes on streams that are gone counts, too.
#[tokio::test(start_paused = true)]
async fn the_window_of_all_is_given_back_before_it_can_bind() {
    const LARGEST: usize = (1 << 31) - 1;
    let (near, far) = pipe(1_000_000);
    let mut server = Server::new(far, CONFIG);
    let mut raw = Raw::client(near).await;
    raw.say(&[headers(0, 1, POST), rst_stream(1, Reason::CANCEL)].concat())
        .await;
    let (mut room, mut n_updates) = (65_535, 0);
    let bytes = frame(DATA, 0, 1, &[0; 32_000]).repeat(20);
    for _ in 0..215 {
        while let Some(update) = raw.hear_at_once(WINDOW_UPDATE).await {
            room += u32::from_be_bytes(update.payload[..].try_into().unwrap()) as usize;
            n_updates += 1;
        }
        assert!((LARGEST / 2..=LARGEST).contains(&room), "{room}");
        raw.say(&bytes).await;
        room -= bytes.len() - 20 * 9;
    }
    // At first, and then seldom.
    assert_eq!(n_updates, 1 + 215 * 20 * 32_000 / (1 << 26));
    assert!(server.arrived().is_none());
}

/// A peer may use the default window until it has heard of a smaller one (RFC 9113 section 6.9.2).
#[tokio::test(start_paused = true)]
async fn what_a_peer_sends_before_it_has_heard_of_a_smaller_window_is_taken() {
    let config = Config {
        stream_window: 1000,
        ..CONFIG
    };
    let (near, far) = pipe(100_000);
    let mut server = Server::new(far, config);
    let mut raw = Raw::client(near).await;
    raw.say(&headers(0, 1, POST)).await;
    let sent = data(50_000, 1);
    for bytes in sent.chunks(10_000) {
        raw.say(&frame(DATA, 0, 1, bytes)).await;
    }
    raw.say(&frame(DATA, END_STREAM, 1, b"")).await;
    let (mut recv, _send) = server.accepted().await;
    assert!(read_all(&mut recv).await.unwrap() == sent);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_long_frames_gets_none_longer_than_it_takes() {
    const MAX_FRAME_SIZE: u16 = 5;
    for (frame_len, expected) in [
        (None, 16_384),
        (Some(20_000), 20_000),
        // What is gathered at a time, with a header.
        (Some(1 << 20), OUT_LEN - 9),
    ] {
        let (near, far) = pipe(1_000_000);
        let client = Client::new(near, CONFIG);
        let mut raw = Raw::server(far).await;
        if let Some(frame_len) = frame_len {
            raw.say(&setting(MAX_FRAME_SIZE, frame_len)).await;
        }
        raw.say(&[window(1_000_000), window_update(0, 1_000_000)].concat())
            .await;
        let (answer, mut send) = client.open();
        raw.hear_of(HEADERS).await;
        raw.say(&headers(0, 1, OK)).await;
        let _answer = soon(answer).await.unwrap();
        let sent = data(200_000, 1);
        send.finish(sent.clone()).unwrap();
        let (mut read, mut longest) = (Vec::new(), 0);
        while read.len() < sent.len() {
            let bytes = raw.hear_of(DATA).await.payload;
            longest = longest.max(bytes.len());
            read.extend_from_slice(&bytes);
        }
        assert!(read == sent);
        assert_eq!(longest, expected, "{frame_len:?}");
    }
}
