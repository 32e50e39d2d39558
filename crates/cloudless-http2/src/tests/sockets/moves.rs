//! Bytes on their way from socket to socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloudless_splice::{Pace, finish};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::peers::{CONFIG, data, ours, pipe, read_all, soon, stream};
use super::super::peers::{Client, Server};
use super::{AnyStream, Count, small_tcp, tcp, unix};
use crate::{Config, RecvStream, SendStream};

const LEN: usize = 3_000_000;

/// Joins a stream with a socket until both directions have ended; returns what was moved to the peer,
/// and from it.
async fn join(
    (recv, mut send): (RecvStream, SendStream),
    socket: impl AnyStream,
    pace: Option<Pace>,
) -> (usize, usize) {
    let socket = Arc::new(socket);
    let (sent, delivered) = (Count::new(), Count::new());
    let sending = async {
        soon(send.send_from(socket.clone(), sent.clone(), pace))
            .await
            .unwrap();
        send.finish(Bytes::new()).unwrap();
    };
    let delivering = async {
        soon(recv.deliver_to(socket.clone(), delivered.clone()))
            .await
            .unwrap();
        finish(&*socket).unwrap();
    };
    tokio::join!(sending, delivering);
    assert_eq!(delivered.waiting(), 0);
    (sent.moved(), delivered.moved())
}

/// Says all of `said` and then the end, and hears all until the end.
async fn talk(socket: impl AnyStream, said: Bytes) -> Vec<u8> {
    let (mut from, mut to) = split(socket);
    let saying = async {
        soon(to.write_all(&said)).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let hearing = soon(from.read_to_end(&mut heard));
    let ((), read) = tokio::join!(saying, hearing);
    read.unwrap();
    heard
}

async fn check<A: AnyStream, B: AnyStream>(
    near: (A, A),
    far: (B, B),
    pipe_len: usize,
    window: u32,
) {
    let config = Config {
        stream_window: window,
        ..CONFIG
    };
    let (client, mut server) = ours(pipe_len, config);
    let (near_stream, far_stream) = stream(&client, &mut server).await;
    let (there, back) = (data(LEN, 1), data(LEN + 1, 2));
    let (near_moved, far_moved, near_heard, far_heard) = tokio::join!(
        join(near_stream, near.0, None),
        join(far_stream, far.0, None),
        talk(near.1, there.clone()),
        talk(far.1, back.clone()),
    );
    assert!(
        far_heard == there && near_heard == back,
        "other bytes than said"
    );
    assert_eq!(near_moved, (LEN, LEN + 1));
    assert_eq!(far_moved, (LEN + 1, LEN));
    client.finished().await;
}

#[tokio::test]
async fn bytes_and_ends_go_from_socket_to_socket_both_ways() {
    for (pipe_len, window) in [(64 * 1024, 2 * 1024 * 1024), (1000, 65_535)] {
        check(tcp().await, unix(), pipe_len, window).await;
        check(unix(), tcp().await, pipe_len, window).await;
        check(small_tcp().await, small_tcp().await, pipe_len, window).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_move_at_once_with_their_ends_on_other_threads() {
    let (client, mut server) = ours(64 * 1024, CONFIG);
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let (near_stream, far_stream) = stream(&client, &mut server).await;
        let (near, far) = (tcp().await, unix());
        let (there, back) = (data(200_000, number), data(300_000, number + 50));
        tasks.spawn(join(near_stream, near.0, None).map_unit());
        tasks.spawn(join(far_stream, far.0, None).map_unit());
        tasks.spawn({
            let (said, expected) = (there.clone(), back.clone());
            async move { assert!(talk(near.1, said).await == expected) }
        });
        tasks.spawn(async move { assert!(talk(far.1, back).await == there) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    client.finished().await;
}

/// Forgets what a future brings.
trait MapUnit: Future + Sized {
    async fn map_unit(self) {
        self.await;
    }
}

impl<F: Future> MapUnit for F {}

#[tokio::test]
async fn what_was_queued_goes_before_what_comes_from_the_socket() {
    let (client, mut server) = ours(1000, CONFIG);
    let ((_recv, mut send), (mut far_recv, _far_send)) = stream(&client, &mut server).await;
    let (near, mut far) = unix();
    far.write_all(b"from the socket").await.unwrap();
    far.shutdown().await.unwrap();
    let queued = data(200_000, 1);
    for bytes in queued.chunks(30_000) {
        send.queue(Bytes::copy_from_slice(bytes)).unwrap();
    }
    let sending = async {
        let near = Arc::new(near);
        soon(send.send_from(near, Count::new(), None))
            .await
            .unwrap();
        send.finish(b", and the last"[..].into()).unwrap();
    };
    let ((), read) = tokio::join!(sending, read_all(&mut far_recv));
    let expected = [&queued[..], b"from the socket, and the last"].concat();
    assert!(read.unwrap() == expected);
}

/// What has come before there is a socket, too.
#[tokio::test]
async fn what_waits_already_is_delivered_first() {
    let (client, mut server) = ours(1000, CONFIG);
    let ((recv, _send), (_far_recv, mut far_send)) = stream(&client, &mut server).await;
    let said = data(200_000, 1);
    far_send.queue(said.clone()).unwrap();
    while recv.unreleased() < said.len() {
        tokio::task::yield_now().await;
    }
    let (near, far) = unix();
    let count = Count::new();
    let near = Arc::new(near);
    let delivering = async {
        let delivery = recv.deliver_to(near.clone(), count.clone());
        soon(delivery).await.unwrap();
        finish(&*near).unwrap();
    };
    let saying = async {
        far_send.send_all(said.clone()).await.unwrap();
        far_send.finish(Bytes::new()).unwrap();
    };
    let ((), (), heard) = tokio::join!(delivering, saying, talk(far, Bytes::new()));
    assert!(heard == [said.clone(), said].concat());
    assert_eq!((count.moved(), count.waiting()), (400_000, 0));
    assert_eq!(recv.unreleased(), 0);
}

/// The others on the connection do not notice.
#[tokio::test]
async fn a_socket_that_does_not_read_stalls_its_own_stream_and_no_other() {
    let (client, mut server) = ours(10_000, CONFIG);
    let window = CONFIG.stream_window as usize;
    let ((recv, _send), (_far_recv, mut stalled_send)) = stream(&client, &mut server).await;
    let (near, far) = small_tcp().await;
    let (near, count) = (Arc::new(near), Count::new());
    let delivery = tokio::spawn({
        let (near, delivery) = (near.clone(), recv.deliver_to(near.clone(), count.clone()));
        async move {
            delivery.await.unwrap();
            finish(&*near).unwrap();
        }
    });
    let said = data(4 * window, 1);
    let saying = tokio::spawn({
        let said = said.clone();
        async move {
            stalled_send.send_all(said).await.unwrap();
            stalled_send.finish(Bytes::new()).unwrap();
            stalled_send
        }
    });
    for _ in 0..3 {
        let (near_stream, far_stream) = stream(&client, &mut server).await;
        let (near, far) = (tcp().await, tcp().await);
        let said = data(LEN, 2);
        let (_, _, heard, _) = tokio::join!(
            join(near_stream, near.0, None),
            join(far_stream, far.0, None),
            talk(near.1, Bytes::new()),
            talk(far.1, said.clone()),
        );
        assert!(heard == said);
    }
    assert!(!saying.is_finished() && !delivery.is_finished());
    let (waiting, unreleased) = (count.waiting(), recv.unreleased());
    assert!(
        waiting > 0 && waiting <= unreleased,
        "{waiting} {unreleased}"
    );
    assert!(unreleased <= window, "{unreleased}");
    assert!(talk(far, Bytes::new()).await == said);
    soon(delivery).await.unwrap();
    soon(saying).await.unwrap();
    assert_eq!((count.moved(), count.waiting()), (said.len(), 0));
}

/// All that the socket has is there before it begins, so that nothing but its pace is waited for.
#[tokio::test(start_paused = true)]
async fn a_paced_socket_is_read_as_fast_as_it_may_be() {
    for pace in [true, false] {
        let (client, mut server) = ours(1_000_000, CONFIG);
        let ((_recv, mut send), (mut far_recv, _far_send)) = stream(&client, &mut server).await;
        let (near, far) = unix();
        let chunk = data(16 * 1024, 1);
        let mut n_said = 0;
        while let Ok(n) = far.try_write(&chunk) {
            n_said += n;
        }
        assert!(n_said >= 100_000, "{n_said}");
        drop(far);
        let start = Instant::now();
        let pace = pace.then(Pace::in_tunnel);
        let is_paced = pace.is_some();
        let sent = send.send_from(Arc::new(near), Count::new(), pace).await;
        sent.unwrap();
        let elapsed = start.elapsed();
        send.finish(Bytes::new()).unwrap();
        assert_eq!(read_all(&mut far_recv).await.unwrap().len(), n_said);
        if is_paced {
            // 64 MiB a second, of which a moment's worth may be ahead.
            let expected = Duration::from_secs_f64(n_said as f64 / (64.0 * 1024.0 * 1024.0));
            let range = expected.saturating_sub(Duration::from_millis(2))..expected * 2;
            assert!(range.contains(&elapsed), "{elapsed:?} for {n_said}");
        } else {
            assert!(elapsed < Duration::from_micros(100), "{elapsed:?}");
        }
    }
}

/// Ours has sockets, and h2 at the other end none.
#[tokio::test]
async fn sockets_are_joined_with_streams_of_h2() {
    use super::super::h2_peers::{H2Client, H2Server, h2_read_all, h2_send_all};
    use super::super::peers::{connect, ok};

    let (there, back) = (data(LEN, 1), data(LEN, 2));
    // The window of all streams is smaller.
    let window = 1_000_000;
    let (near, far) = pipe(10_000);
    let client = Client::new(near, CONFIG);
    let mut server = H2Server::new(far, h2::server::Builder::new().initial_window_size(window));
    let (answer, send) = client.open();
    let (request, mut respond) = server.arrival().await;
    let mut h2_send = respond.send_response(ok(), false).unwrap();
    let recv = soon(answer).await.unwrap().into_body();
    let (visitor, visitor_end) = tcp().await;
    let h2 = async {
        let saying = async {
            h2_send_all(&mut h2_send, back.clone()).await;
            h2_send.send_data(Bytes::new(), true).unwrap();
        };
        let mut body = request.into_body();
        let (heard, ()) = tokio::join!(h2_read_all(&mut body), saying);
        heard.unwrap().0
    };
    let (_, heard_there, heard_back) = tokio::join!(
        join((recv, send), visitor, None),
        h2,
        talk(visitor_end, there.clone())
    );
    assert!(heard_there == there && heard_back == back);
    client.finished().await;

    let (near, far) = pipe(10_000);
    let mut client =
        H2Client::new(near, h2::client::Builder::new().initial_window_size(window)).await;
    let mut server = Server::new(far, CONFIG);
    let (response, mut h2_send) = client.open(connect("home.example:443")).await;
    let accepted = server.accepted().await;
    let mut body = soon(response).await.unwrap().into_body();
    let (service, service_end) = tcp().await;
    let h2 = async {
        let saying = async {
            h2_send_all(&mut h2_send, there.clone()).await;
            h2_send.send_data(Bytes::new(), true).unwrap();
        };
        let (heard, ()) = tokio::join!(h2_read_all(&mut body), saying);
        heard.unwrap().0
    };
    let (_, heard_back, heard_there) = tokio::join!(
        join(accepted, service, None),
        h2,
        talk(service_end, back.clone())
    );
    assert!(heard_there == there && heard_back == back);
}
