//! A server of which a test can see all that it holds, and what peers can make an end hold.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::io::BufReader;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use super::frames::{
    DATA, END_STREAM, PING, POST, RST_STREAM, Raw, SETTINGS, frame, headers, rst_stream,
};
use super::peers::{CONFIG, Client, End, ROOM, Server, ok, ours, pipe, soon, stream};
use crate::driver::Driver;
use crate::state::{Role, Shared, State};
use crate::{Config, Error, Reason, RecvStream, SendStream, head};

/// Takes streams as [`Connection`](crate::server::Connection) does.
pub(super) struct Held {
    shared: Arc<Shared>,
    arrivals: Receiver<(RecvStream, SendStream)>,
    end: JoinHandle<Error>,
}

impl Held {
    pub(super) fn server(io: End, config: Config) -> Self {
        let shared = Shared::new(config, Role::Server);
        let mut driver = Driver::new(BufReader::new(io), Arc::clone(&shared));
        let (arrived, arrivals) = channel(ROOM);
        let of_task = Arc::clone(&shared);
        let end = tokio::spawn(async move {
            loop {
                let has_arrival = |state: &mut State| !state.arrivals.is_empty();
                if let Err(error) = poll_fn(|cx| driver.poll(cx, has_arrival)).await {
                    return error;
                }
                let id = {
                    let mut state = of_task.lock();
                    let (id, _) = state.arrivals.pop_front().unwrap();
                    let Some(stream) = state.streams.get_mut(&id) else {
                        continue;
                    };
                    stream.n_handles = 2;
                    id
                };
                let recv = RecvStream::new(Arc::clone(&of_task), id);
                let send = SendStream::new(Arc::clone(&of_task), id);
                drop(arrived.try_send((recv, send)));
            }
        });
        Self {
            shared,
            arrivals,
            end,
        }
    }

    pub(super) async fn arrival(&mut self) -> (RecvStream, SendStream) {
        soon(self.arrivals.recv()).await.unwrap()
    }

    pub(super) fn answer(send: &SendStream) {
        send.answer(head::response(&ok()).unwrap()).unwrap();
    }

    pub(super) fn n_open(&self) -> usize {
        self.shared.lock().n_open
    }

    /// Nothing is left of any stream.
    pub(super) fn assert_empty(&self) {
        let state = self.shared.lock();
        assert_eq!((state.streams.len(), state.n_open), (0, 0));
        let n_waiting = state.ready.len() + state.updates.len() + state.resets.len();
        let n_waiting = n_waiting + state.windowless.len() + state.arrivals.len();
        assert_eq!((n_waiting, state.paced.len()), (0, 0));
    }
}

fn calm(error: &Error) -> bool {
    !error.is_remote() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
}

/// What may wait at most for a peer that reads nothing, with what is under way in the pipe.
const UNREAD_MAX: usize = 512 * 1024;

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_more_answered_than_it_reads_loses_its_connection() {
    let ping = frame(PING, 0, 0, &[7; 8]);
    let settings = frame(SETTINGS, 0, 0, &[]);
    for (name, frame) in [("PING", ping), ("SETTINGS", settings)] {
        let (near, far) = pipe(1000);
        let server = Server::new(far, CONFIG);
        let mut raw = Raw::client(near).await;
        let n_taken = raw.flood(&frame.repeat(100), UNREAD_MAX).await;
        assert!(n_taken < UNREAD_MAX, "{name}: {n_taken}");
        let error = soon(server.end).await.unwrap();
        assert!(calm(&error), "{name}: {error}");

        let (near, far) = pipe(1000);
        let client = Client::new(near, CONFIG);
        let mut raw = Raw::server(far).await;
        let n_taken = raw.flood(&frame.repeat(100), UNREAD_MAX).await;
        assert!(n_taken < UNREAD_MAX, "{name}: {n_taken}");
        let error = soon(client.end).await.unwrap().unwrap_err();
        assert!(calm(&error), "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_more_streams_refused_than_it_reads_loses_its_connection() {
    let config = Config {
        streams_max: 1,
        ..CONFIG
    };
    // Refused, or malformed.
    for block in [POST, &[0x83]] {
        let (near, far) = pipe(1000);
        let mut server = Server::new(far, config.clone());
        let mut raw = Raw::client(near).await;
        raw.say(&headers(0, 1, POST)).await;
        let _first = server.arrival().await;
        let streams = (3..200_000).step_by(2);
        let flood: Vec<u8> = streams
            .flat_map(|id| headers(END_STREAM, id, block))
            .collect();
        raw.say_in_pieces(&flood, 10_000).await;
        let error = soon(server.end).await.unwrap();
        assert!(calm(&error), "{error}");
    }
}

/// Whoever reads may ask as often as it likes.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_has_all_answered() {
    let (near, far) = pipe(1000);
    let server = Server::new(far, CONFIG);
    let mut raw = Raw::client(near).await;
    for _ in 0..300 {
        raw.say(&frame(PING, 0, 0, &[7; 8]).repeat(20)).await;
        raw.say(&frame(SETTINGS, 0, 0, &[]).repeat(20)).await;
        raw.hear_all().await;
    }
    assert!(!server.end.is_finished());
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_opened_and_reset_again_and_again_leave_nothing() {
    let (near, far) = pipe(20_000);
    let mut held = Held::server(far, CONFIG);
    let mut raw = Raw::client(near).await;
    let mut id = 1;
    for _ in 0..100 {
        let mut flood = Vec::new();
        for _ in 0..1000 {
            flood.extend(headers(0, id, POST));
            flood.extend(rst_stream(id, Reason::CANCEL));
            id += 2;
        }
        raw.say(&flood).await;
        let heard = raw.hear_all().await;
        assert!(heard.is_empty(), "{heard:?}");
        // Some may have arrived before they were reset.
        while let Ok(arrival) = held.arrivals.try_recv() {
            drop(arrival);
        }
        held.assert_empty();
    }
    assert!(!held.end.is_finished());
    raw.say(&headers(0, id, POST)).await;
    let (_recv, send) = held.arrival().await;
    assert_eq!(send.id(), id);
}

/// They are answered and what they bring is read, and nothing of that can be said.
#[tokio::test(start_paused = true)]
async fn streams_of_a_peer_that_reads_nothing_leave_nothing_when_they_are_reset() {
    let (near, far) = pipe(1000);
    let mut held = Held::server(far, CONFIG);
    let mut raw = Raw::client(near).await;
    // Until nothing can be written.
    let mut id = 1;
    for _ in 0..20_000 {
        raw.say(&headers(0, id, POST)).await;
        let (mut recv, send) = held.arrival().await;
        Held::answer(&send);
        raw.say(&frame(DATA, 0, id, &[0; 1000]).repeat(17)).await;
        while recv.unreleased() < 17_000 {
            tokio::task::yield_now().await;
        }
        recv.release(17_000);
        raw.say(&rst_stream(id, Reason::CANCEL)).await;
        while soon(recv.data()).await.unwrap().is_ok() {}
        id += 2;
    }
    let state = held.shared.lock();
    assert_eq!((state.streams.len(), state.n_open), (0, 0));
    let n_waiting = state.ready.len() + state.updates.len();
    assert!(
        n_waiting < 1000,
        "{n_waiting} turns of streams that are gone"
    );
}

#[cfg(target_os = "linux")]
mod memory {
    use std::env;
    use std::process::Command;

    use super::*;

    const ALONE: &str = "CLOUDLESS_HTTP2_TEST_ALONE";

    /// Runs `inside` in a process that has nothing but this test, so that what it has in memory is the
    /// test's.
    fn in_a_process_of_its_own(test: &str, inside: impl Future<Output = ()>) {
        if env::var_os(ALONE).is_none() {
            let output = Command::new(env::current_exe().unwrap())
                .args(["--exact", "--nocapture"])
                .arg(format!("tests::held::memory::{test}"))
                .env(ALONE, "")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{said}");
            return;
        }
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(inside);
    }

    /// What this process has in memory, in bytes.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.unwrap().parse::<usize>().unwrap() * 1024
    }

    #[test]
    fn connections_that_are_idle_hold_no_buffers() {
        const N: usize = 300;
        in_a_process_of_its_own("connections_that_are_idle_hold_no_buffers", async {
            // All that is made once is made.
            let mut kept = vec![busy_and_idle().await];
            let before = resident();
            for _ in 0..N {
                kept.push(busy_and_idle().await);
            }
            // The pipes, their readers' buffers and two tasks are the tests' own.
            let each = (resident() - before) / N;
            assert!(each < 48 * 1024, "{each} bytes for two ends");
        });
    }

    /// Both ends of a connection that have moved a lot and have a stream that is open.
    async fn busy_and_idle() -> impl Sized {
        let (client, mut server) = ours(4096, CONFIG);
        let mut streams = stream(&client, &mut server).await;
        let ((near_recv, near_send), (far_recv, far_send)) = &mut streams;
        for (send, recv) in [(near_send, far_recv), (far_send, near_recv)] {
            let sending = send.send_all(super::super::peers::data(100_000, 1));
            let reading = async {
                let mut n_read = 0;
                while n_read < 100_000 {
                    let n = soon(recv.data()).await.unwrap().unwrap().len();
                    recv.release(n);
                    n_read += n;
                }
            };
            let (sent, ()) = tokio::join!(sending, reading);
            sent.unwrap();
        }
        (client, server, streams)
    }

    #[test]
    fn single_bytes_that_nobody_reads_cost_little_more_than_they_are() {
        let test = "single_bytes_that_nobody_reads_cost_little_more_than_they_are";
        in_a_process_of_its_own(test, async {
            let (near, far) = pipe(64 * 1024);
            let config = Config {
                stream_window: 2 * 1024 * 1024,
                ..CONFIG
            };
            let mut held = Held::server(far, config);
            let mut raw = Raw::client(near).await;
            raw.say(&headers(0, 1, POST)).await;
            let (recv, _send) = held.arrival().await;
            let bytes = frame(DATA, 0, 1, b"x").repeat(5000);
            raw.say(&bytes).await;
            raw.hear_all().await;
            let before = resident();
            for _ in 0..200 {
                raw.say(&bytes).await;
            }
            raw.hear_all().await;
            assert_eq!(recv.unreleased(), 201 * 5000);
            let more = resident() - before;
            assert!(more < 3_000_000, "{more} bytes for a million");
        });
    }

    #[test]
    fn floods_cost_no_memory() {
        in_a_process_of_its_own("floods_cost_no_memory", async {
            let (near, far) = pipe(64 * 1024);
            let mut held = Held::server(far, CONFIG);
            let mut raw = Raw::client(near).await;
            raw.say(&headers(0, 1, POST)).await;
            let _first = held.arrival().await;
            raw.hear_all().await;
            let before = resident();
            let mut id = 3;
            for _ in 0..100 {
                let mut flood = Vec::new();
                for _ in 0..1000 {
                    flood.extend(headers(0, id, POST));
                    flood.extend(rst_stream(id, Reason::CANCEL));
                    // Of a stream that is gone, and of one that is open.
                    flood.extend(frame(DATA, 0, id, &[0; 50]));
                    flood.extend(frame(DATA, 0, 1, &[]));
                    flood.extend(frame(77, 0, 1, &[0; 50]));
                    flood.extend(frame(RST_STREAM, 0, id, &[0; 4]));
                    id += 2;
                }
                raw.say(&flood).await;
                raw.hear_all().await;
                while let Ok(arrival) = held.arrivals.try_recv() {
                    drop(arrival);
                }
            }
            let more = resident().saturating_sub(before);
            assert!(more < 4_000_000, "{more} bytes");
            assert_eq!(held.n_open(), 1);
        });
    }
}
