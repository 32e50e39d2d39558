//! Whatever the order of writes, stalls, cuts and ends: no byte is lost, doubled or in another place.

use std::sync::Arc;

use bytes::Bytes;
use cloudless_splice::{finish, read_into};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};

use super::super::peers::{CONFIG, data, ours, soon, stream};
use super::{AnyStream, Count, reset, small_tcp, tcp, unix, write_some};
use crate::{Config, DeliveryError, Reason, RecvStream, SendFromError, SendStream};

/// After so many steps nothing is cut any more.
const STEPS_MAX: usize = 500;

/// What the ends of one direction of a stream do.
#[derive(Clone, Debug)]
struct Schedule {
    /// Writes of so many bytes, and how often others then go on.
    writes: Vec<(usize, u8)>,
    reads: Vec<(usize, u8)>,
    /// How bytes come from the socket into the stream.
    sends: Vec<Step>,
    /// How they come out of it.
    delivers: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// By the driver, and cut after others have gone on so often.
    Socket(u8),
    /// By hand, at most so many bytes.
    Hand(usize),
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), 2..1500_usize, 1500..70_000_usize]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..60_u8).prop_map(Step::Socket),
        1 => len().prop_map(Step::Hand),
    ]
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let pauses = prop_oneof![4 => Just(0), 1 => 1..50_u8];
    let writes = prop::collection::vec((len(), pauses.clone()), 0..16);
    let reads = prop::collection::vec((len(), pauses), 1..10);
    let steps = || prop::collection::vec(step(), 1..10);
    (writes, reads, steps(), steps()).prop_map(|(writes, reads, sends, delivers)| Schedule {
        writes,
        reads,
        sends,
        delivers,
    })
}

impl Schedule {
    fn bytes(&self, number: usize) -> Bytes {
        data(self.writes.iter().map(|(len, _)| len).sum(), number)
    }
}

async fn pause(pauses: u8) {
    for _ in 0..pauses {
        yield_now().await;
    }
}

async fn write(mut to: WriteHalf<impl AnyStream>, bytes: Bytes, schedule: Schedule) {
    let mut rest = &bytes[..];
    for (len, pauses) in schedule.writes {
        let (now, later) = rest.split_at(len);
        soon(to.write_all(now)).await.unwrap();
        rest = later;
        pause(pauses).await;
    }
    to.shutdown().await.unwrap();
}

async fn read(mut from: ReadHalf<impl AnyStream>, expected: Bytes, schedule: Schedule) {
    let (mut n_read, mut buffer) = (0, vec![0; 70_000]);
    for (n_reads, (len, pauses)) in schedule.reads.iter().cycle().enumerate() {
        let len = if n_reads < STEPS_MAX {
            *len
        } else {
            buffer.len()
        };
        let n = soon(from.read(&mut buffer[..len])).await.unwrap();
        let is_expected = expected[n_read..].starts_with(&buffer[..n]);
        assert!(is_expected, "other bytes at {n_read}");
        n_read += n;
        if n == 0 {
            break;
        }
        pause(*pauses).await;
    }
    assert_eq!(n_read, expected.len(), "the end is elsewhere");
}

fn steps(steps: &[Step]) -> impl Iterator<Item = Step> {
    let uncut = std::iter::repeat(Step::Socket(u8::MAX));
    steps.iter().copied().cycle().take(STEPS_MAX).chain(uncut)
}

/// Sends what comes from a socket until it ends, and returns how many bytes that were.
async fn send(
    send: &mut SendStream,
    socket: Arc<impl AnyStream>,
    cuts: &[Step],
) -> Result<usize, SendFromError> {
    let (count, mut n_by_hand) = (Count::new(), 0);
    for step in steps(cuts) {
        match step {
            Step::Socket(pauses) => {
                let sending = soon(send.send_from(socket.clone(), count.clone(), None));
                tokio::select! {
                    sent = sending => {
                        sent?;
                        break;
                    }
                    () = pause(pauses), if pauses < u8::MAX => {}
                }
            }
            Step::Hand(len) => {
                if let Some(end) = send.unheard_end() {
                    end.map_err(SendFromError::Socket)?;
                    break;
                }
                let mut buffer = vec![0; len];
                let ready = soon(socket.ready(Interest::READABLE)).await;
                ready.map_err(SendFromError::Socket)?;
                match read_into(&*socket, &mut buffer) {
                    Ok(0) => break,
                    Ok(n) => {
                        buffer.truncate(n);
                        n_by_hand += n;
                        let sent = soon(send.send_all(buffer.into())).await;
                        sent.map_err(SendFromError::Stream)?;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(SendFromError::Socket(error)),
                }
            }
        }
    }
    Ok(count.moved() + n_by_hand)
}

/// The other way round.
async fn deliver(
    recv: &mut RecvStream,
    socket: Arc<impl AnyStream>,
    cuts: &[Step],
) -> Result<usize, DeliveryError> {
    let (count, mut n_by_hand) = (Count::new(), 0);
    for step in steps(cuts) {
        match step {
            Step::Socket(pauses) => {
                let delivery = soon(recv.deliver_to(socket.clone(), count.clone()));
                tokio::select! {
                    delivered = delivery => {
                        delivered?;
                        assert_eq!(count.waiting(), 0);
                        break;
                    }
                    () = pause(pauses), if pauses < u8::MAX => {}
                }
            }
            Step::Hand(_) => {
                let Some(bytes) = soon(recv.data()).await else {
                    break;
                };
                let mut bytes = bytes.map_err(DeliveryError::Stream)?;
                n_by_hand += bytes.len();
                while !bytes.is_empty() {
                    let n = write_some(&*socket, &bytes).await;
                    let n = n.map_err(DeliveryError::Socket)?;
                    drop(bytes.split_to(n));
                    recv.release(n);
                }
            }
        }
    }
    assert!(soon(recv.data()).await.is_none());
    Ok(count.moved() + n_by_hand)
}

/// One end of a stream and its socket.
async fn join(
    (mut recv, mut stream): (RecvStream, SendStream),
    socket: impl AnyStream,
    there: (Schedule, usize),
    back: (Schedule, usize),
) {
    let socket = Arc::new(socket);
    let sending = async {
        let sent = send(&mut stream, socket.clone(), &there.0.sends).await;
        assert_eq!(sent.unwrap(), there.1);
        stream.finish(Bytes::new()).unwrap();
    };
    let delivering = async {
        let delivered = deliver(&mut recv, socket.clone(), &back.0.delivers).await;
        assert_eq!(delivered.unwrap(), back.1);
        finish(&*socket).unwrap();
    };
    tokio::join!(sending, delivering);
}

/// Both ends of a stream, and whoever is at the other ends of the sockets.
fn play<A: AnyStream, B: AnyStream>(
    tasks: &mut JoinSet<()>,
    ends: ((RecvStream, SendStream), (RecvStream, SendStream)),
    near: (A, A),
    far: (B, B),
    (there, back): (Schedule, Schedule),
) {
    let (there_bytes, back_bytes) = (there.bytes(1), back.bytes(2));
    let there_of = || (there.clone(), there_bytes.len());
    let back_of = || (back.clone(), back_bytes.len());
    tasks.spawn(join(ends.0, near.0, there_of(), back_of()));
    tasks.spawn(join(ends.1, far.0, back_of(), there_of()));
    let (near_from, near_to) = split(near.1);
    let (far_from, far_to) = split(far.1);
    tasks.spawn(write(near_to, there_bytes.clone(), there.clone()));
    tasks.spawn(read(far_from, there_bytes, there));
    tasks.spawn(write(far_to, back_bytes.clone(), back.clone()));
    tasks.spawn(read(near_from, back_bytes, back));
}

fn run(threads: bool, test: impl Future<Output = ()>) {
    let mut builder = if threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_byte_arrives_once_and_in_its_place(
        pipe_len in prop_oneof![1..200_usize, 200..100_000_usize],
        stream_window in 65_535..300_000_u32,
        threads in any::<bool>(),
        streams in prop::collection::vec((0..3_u8, schedule(), schedule()), 1..5),
    ) {
        run(threads, async {
            let config = Config { stream_window, ..CONFIG };
            let (client, mut server) = ours(pipe_len, config);
            let mut tasks = JoinSet::new();
            for (sockets, there, back) in streams {
                let ends = stream(&client, &mut server).await;
                let schedules = (there, back);
                match sockets {
                    0 => play(&mut tasks, ends, tcp().await, unix(), schedules),
                    1 => play(&mut tasks, ends, unix(), small_tcp().await, schedules),
                    _ => play(&mut tasks, ends, small_tcp().await, tcp().await, schedules),
                }
            }
            while let Some(played) = tasks.join_next().await {
                played.unwrap();
            }
            client.finished().await;
        });
    }

    /// A part of what a visitor has sent never ends as if it were the whole, however often what sends
    /// it is cut.
    #[test]
    fn a_socket_that_is_reset_midway_never_ends_well(
        cuts in prop::collection::vec(step(), 1..10),
        n_before in 0..100_000_usize,
        pauses in 0..100_u8,
    ) {
        run(false, async {
            let (client, mut server) = ours(10_000, CONFIG);
            let ((_recv, mut near_send), (mut far_recv, _far_send)) =
                stream(&client, &mut server).await;
            let (near, far) = tcp().await;
            let said = data(n_before, 1);
            let saying = async {
                say_and_reset(far, &said, pauses).await;
            };
            let sending = async {
                let sent = send(&mut near_send, Arc::new(near), &cuts).await;
                assert!(matches!(sent, Err(SendFromError::Socket(_))), "{sent:?}");
                near_send.reset(Reason::CANCEL);
            };
            let reading = async {
                let mut n_read = 0;
                loop {
                    match soon(far_recv.data()).await {
                        Some(Ok(bytes)) => {
                            assert!(said[n_read..].starts_with(&bytes));
                            n_read += bytes.len();
                            far_recv.release(bytes.len());
                        }
                        Some(Err(error)) => break error,
                        None => panic!("ended at {n_read}"),
                    }
                }
            };
            let ((), (), error) = tokio::join!(saying, sending, reading);
            assert_eq!(error.reason(), Some(Reason::CANCEL));
        });
    }
}

async fn say_and_reset(mut far: TcpStream, said: &[u8], pauses: u8) {
    soon(far.write_all(said)).await.unwrap();
    pause(pauses).await;
    reset(far);
}
