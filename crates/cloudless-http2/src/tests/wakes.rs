//! Whoever waits for something goes on when it comes: that is all that wakes them.

use std::future::poll_fn;
use std::time::Duration;

use http::HeaderMap;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::frames::{
    DATA, END_STREAM, GOAWAY, HEADERS, OK, RST_STREAM, Raw, WINDOW_UPDATE, frame, goaway, headers,
    rst_stream, window, window_update,
};
use super::peers::{CONFIG, Client, Server, connect, data, pipe, soon};
use crate::{Error, Reason, RecvStream, SendStream};

/// Has a task wait, and lets it come to that.
async fn waiting<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let task = tokio::spawn(future);
    // Time goes on when all others wait.
    sleep(Duration::from_millis(1)).await;
    assert!(!task.is_finished());
    task
}

/// A stream of our client, whose server writes by hand and has answered it.
async fn answered() -> (Client, Raw, RecvStream, SendStream) {
    let (near, far) = pipe(1_000_000);
    let client = Client::new(near, CONFIG);
    let mut raw = Raw::server(far).await;
    let (answer, send) = client.open();
    raw.hear_of(HEADERS).await;
    raw.say(&headers(0, 1, OK)).await;
    let recv = soon(answer).await.unwrap().into_body();
    (client, raw, recv, send)
}

async fn room(send: &mut SendStream) -> Result<usize, Error> {
    poll_fn(|cx| send.poll_room(cx)).await
}

/// Has all of the window used, and a task wait for more.
async fn writer_without_room(
    raw: &mut Raw,
    mut send: SendStream,
    len: usize,
) -> JoinHandle<Result<usize, Error>> {
    send.queue(data(len, 1)).unwrap();
    let mut n_heard = 0;
    while n_heard < len {
        n_heard += raw.hear_of(DATA).await.payload.len();
    }
    waiting(async move {
        let room = room(&mut send).await;
        // Its owner goes on.
        std::mem::forget(send);
        room
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_writer_goes_on_when_its_window_grows() {
    for grow in [window_update(1, 7), window(65_535 + 7)] {
        let (_client, mut raw, _recv, send) = answered().await;
        raw.say(&window_update(0, 100_000)).await;
        let task = writer_without_room(&mut raw, send, 65_535).await;
        raw.say(&grow).await;
        assert_eq!(soon(task).await.unwrap().unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_goes_on_when_the_window_of_all_grows() {
    let (_client, mut raw, _recv, send) = answered().await;
    raw.say(&window_update(1, 100_000)).await;
    let task = writer_without_room(&mut raw, send, 65_535).await;
    raw.say(&window_update(0, 7)).await;
    assert_eq!(soon(task).await.unwrap().unwrap(), 7);
}

/// Another stream has used it up, and both wait.
#[tokio::test(start_paused = true)]
async fn all_writers_go_on_when_the_window_of_all_grows() {
    let (client, mut raw, _recv, mut first) = answered().await;
    let (_answer, mut second) = client.open();
    raw.hear_of(HEADERS).await;
    raw.say(&window_update(1, 100_000)).await;
    first.queue(data(65_535, 1)).unwrap();
    let mut n_heard = 0;
    while n_heard < 65_535 {
        n_heard += raw.hear_of(DATA).await.payload.len();
    }
    let tasks = [
        waiting(async move { first.send_all(data(70_000, 2)).await.map(|()| first) }).await,
        waiting(async move { second.send_all(data(50_000, 3)).await.map(|()| second) }).await,
    ];
    for _ in 0..12 {
        raw.say(&window_update(0, 10_000)).await;
    }
    for task in tasks {
        soon(task).await.unwrap().unwrap();
    }
}

/// Nobody but the connection waits for it, each time anew.
#[tokio::test(start_paused = true)]
async fn what_is_queued_goes_on_when_a_window_grows() {
    const ALL: u32 = 1_000_000;
    const STEP: u32 = 10_000;
    type Grow = fn(u32) -> Vec<u8>;
    let cases: [(Vec<u8>, Grow); 3] = [
        (window_update(0, ALL), |_| window_update(1, STEP)),
        (window_update(0, ALL), |n| window(65_535 + n * STEP)),
        (window_update(1, ALL), |_| window_update(0, STEP)),
    ];
    for (before, grow) in cases {
        let (_client, mut raw, _recv, mut send) = answered().await;
        raw.say(&before).await;
        send.queue(data(200_000, 1)).unwrap();
        for n in 0..5 {
            let len = if n == 0 { 65_535 } else { STEP as usize };
            let mut n_heard = 0;
            while n_heard < len {
                n_heard += raw.hear_of(DATA).await.payload.len();
            }
            assert_eq!(n_heard, len);
            raw.say(&grow(n + 1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_goes_on_when_what_it_had_queued_is_sent() {
    let (near, far) = pipe(1000);
    let client = Client::new(near, CONFIG);
    let mut raw = Raw::server(far).await;
    let (_answer, mut send) = client.open();
    raw.say(&[window(1_000_000), window_update(0, 1_000_000)].concat())
        .await;
    raw.hear_all().await;
    // More than one may have waiting, and the pipe takes hardly any of it.
    send.queue(data(128 * 1024, 1)).unwrap();
    let task = waiting(async move { room(&mut send).await.map(|_| send) }).await;
    while !task.is_finished() {
        raw.hear_of(DATA).await;
    }
    soon(task).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_woken_by_whatever_comes() {
    let trailers = headers(END_STREAM, 1, &[0x00, 1, b'x', 1, b'y']);
    let data = |recv: RecvStream| async move {
        let mut recv = recv;
        let data = recv.data().await;
        (data, recv.trailers())
    };
    for (case, bytes) in [
        ("data", frame(DATA, 0, 1, b"x")),
        ("the end", frame(DATA, END_STREAM, 1, b"")),
        ("trailers", trailers),
        ("a reset", rst_stream(1, Reason::CANCEL)),
        ("no error", rst_stream(1, Reason::NO_ERROR)),
        ("a violation", frame(DATA, 0, 0, b"")),
    ] {
        let (_client, mut raw, recv, _send) = answered().await;
        let task = waiting(data(recv)).await;
        raw.say(&bytes).await;
        let (data, trailers) = soon(task).await.unwrap();
        match case {
            "data" => assert_eq!(data.unwrap().unwrap(), b"x"[..]),
            "the end" => assert!(data.is_none() && trailers.is_none()),
            "trailers" => assert!(data.is_none() && trailers.unwrap()["x"] == "y"),
            "a reset" => assert!(data.unwrap().unwrap_err().is_reset()),
            "no error" => {}
            _ => assert!(data.unwrap().is_err()),
        }
    }
}

/// Each of those who can wait for the peer.
#[tokio::test(start_paused = true)]
async fn a_reset_wakes_everybody_on_its_stream_and_nobody_else() {
    type Waiter = fn(RecvStream, SendStream) -> JoinHandle<bool>;
    let waiters: [Waiter; 4] = [
        |recv, send| {
            tokio::spawn(async move {
                let ended = recv.ended().await;
                drop(send);
                ended.is_err()
            })
        },
        |mut recv, send| {
            tokio::spawn(async move {
                let arrived = recv.arrival().await;
                drop(send);
                arrived.is_err()
            })
        },
        |recv, mut send| {
            tokio::spawn(async move {
                let reset = poll_fn(|cx| send.poll_reset(cx)).await;
                drop(recv);
                reset.is_ok_and(|it| it == Reason::CANCEL)
            })
        },
        |recv, mut send| {
            tokio::spawn(async move {
                send.queue(data(65_535, 1)).unwrap();
                let room = room(&mut send).await;
                drop(recv);
                room.is_err()
            })
        },
    ];
    for waiter in waiters {
        let (client, mut raw, recv, send) = answered().await;
        let (mut other, _other_send) = client.open();
        let task = waiter(recv, send);
        raw.hear_all().await;
        sleep(Duration::from_millis(1)).await;
        assert!(!task.is_finished());
        raw.say(&rst_stream(1, Reason::CANCEL)).await;
        assert!(soon(task).await.unwrap());
        tokio::select! {
            biased;
            _ = &mut other => panic!("nobody has answered"),
            () = sleep(Duration::from_millis(1)) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_wakes_everybody() {
    for case in ["dropped", "closed", "violated"] {
        let (client, mut raw, mut recv, mut send) = answered().await;
        let (answer, mut other) = client.open();
        let Client {
            requests,
            mut ping_pong,
            end,
        } = client;
        ping_pong.send().unwrap();
        let tasks = [
            waiting(async move { recv.data().await.unwrap().map(drop) }).await,
            waiting(async move { send.send_all(data(100_000, 1)).await }).await,
            waiting(async move { poll_fn(|cx| other.poll_reset(cx)).await.map(drop) }).await,
            waiting(async move { poll_fn(|cx| ping_pong.poll_answer(cx)).await }).await,
            waiting(async move { answer.await.map(drop) }).await,
        ];
        match case {
            "dropped" => end.abort(),
            "closed" => raw.finish().await,
            _ => raw.say(&frame(DATA, 0, 0, b"")).await,
        }
        for task in tasks {
            assert!(soon(task).await.unwrap().is_err(), "{case}");
        }
        assert!(requests.open(&connect("late.example:443")).is_err());
    }
}

/// The connection waits for its peer and for its own side in one.
#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_is_woken_by_whatever_its_streams_do() {
    let (client, mut raw, mut recv, mut send) = answered().await;
    sleep(Duration::from_millis(1)).await;
    let (_answer, mut other) = client.open();
    assert_eq!(raw.hear_of(HEADERS).await.stream, 3);
    sleep(Duration::from_millis(1)).await;
    send.queue(data(5, 1)).unwrap();
    assert_eq!(raw.hear_of(DATA).await.payload, data(5, 1));
    sleep(Duration::from_millis(1)).await;
    raw.say(&frame(DATA, 0, 1, &vec![0; 32_000]).repeat(5))
        .await;
    let mut n_read = 0;
    while n_read < 160_000 {
        n_read += soon(recv.data()).await.unwrap().unwrap().len();
    }
    sleep(Duration::from_millis(1)).await;
    recv.release(n_read);
    let update = raw.hear_of(WINDOW_UPDATE).await;
    let update = if update.stream == 0 {
        raw.hear_of(WINDOW_UPDATE).await
    } else {
        update
    };
    assert_eq!(update.payload, 160_000_u32.to_be_bytes()[..]);
    sleep(Duration::from_millis(1)).await;
    send.finish_with(&HeaderMap::new()).unwrap();
    assert_eq!(raw.hear_of(HEADERS).await.flags & END_STREAM, END_STREAM);
    sleep(Duration::from_millis(1)).await;
    other.reset(Reason::CANCEL);
    assert_eq!(raw.hear_of(RST_STREAM).await.stream, 3);
    sleep(Duration::from_millis(1)).await;
    drop((recv, send));
    assert_eq!(raw.hear_of(RST_STREAM).await.stream, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_waits_is_woken_to_leave() {
    let (near, far) = pipe(10_000);
    let server = Server::new(far, CONFIG);
    let mut raw = Raw::client(near).await;
    raw.hear_all().await;
    server.ask(|it| it.leave()).await;
    let farewell = raw.hear_of(GOAWAY).await;
    assert_eq!(farewell.payload, goaway(0, Reason::NO_ERROR)[9..]);
}
