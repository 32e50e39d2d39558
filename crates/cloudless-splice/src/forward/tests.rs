#![cfg(target_os = "linux")]

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::*;

const FEW: usize = 500;
const MANY: usize = 4 * SPLICE_MIN;

/// The ends of a connection in the middle of which bytes are forwarded.
struct Ends {
    near: UnixStream,
    far: UnixStream,
}

impl Ends {
    /// So many bytes at once go through, and nothing is under way any more.
    async fn pass(&mut self, len: usize) {
        self.near.write_all(&vec![7; len]).await.unwrap();
        let mut received = vec![0; len];
        self.far.read_exact(&mut received).await.unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
    }
}

/// Forwards while `play` has the ends, and returns how many bytes there were.
async fn forwarded(pipes: &Pipes, play: impl AsyncFnOnce(Ends)) -> u64 {
    let (near, from) = UnixStream::pair().unwrap();
    let (to, far) = UnixStream::pair().unwrap();
    let forwarding = forward(&from, &to, pipes, |_| {});
    let both = async { tokio::join!(forwarding, play(Ends { near, far })) };
    let (moved, ()) = timeout(Duration::from_secs(60), both).await.unwrap();
    moved.unwrap()
}

#[tokio::test]
async fn few_bytes_at_once_are_copied_and_many_are_spliced_as_often_as_that_changes() {
    let pipes = Pipes::new(8);
    let n_pipes = || pipes.n_open();
    forwarded(&pipes, async |mut ends| {
        let mut held = Vec::new();
        for n in 0..3 {
            for _ in 0..20 {
                ends.pass(FEW).await;
            }
            assert_eq!(n_pipes(), n, "a pipe for few bytes");
            for _ in 0..3 {
                ends.pass(MANY).await;
            }
            assert_eq!(n_pipes(), n + 1, "no pipe for many bytes");
            // These tell that it is over. With this pipe held the next bytes would need another one.
            ends.pass(FEW).await;
            ends.pass(FEW).await;
            held.push(pipes.take().unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn the_end_is_passed_on_however_the_last_bytes_went() {
    for last in [0, FEW, MANY] {
        for before in [FEW, MANY] {
            let pipes = Pipes::new(1);
            let moved = forwarded(&pipes, async |mut ends| {
                ends.pass(before).await;
                ends.pass(before).await;
                ends.near.write_all(&vec![9; last]).await.unwrap();
                ends.near.shutdown().await.unwrap();
                let mut received = Vec::new();
                ends.far.read_to_end(&mut received).await.unwrap();
                assert_eq!(received.len(), last);
            });
            assert_eq!(moved.await, (2 * before + last) as u64);
        }
    }
}

/// The pipe has as many slots as pages, and every byte here takes one: it is full long before the
/// socket is empty. What is copied after that comes after what is in the pipe.
#[tokio::test]
async fn few_bytes_behind_a_full_pipe_stay_behind() {
    let pipes = Pipes::new(1);
    forwarded(&pipes, async |mut ends| {
        ends.pass(MANY).await;
        ends.pass(MANY).await;
        let mut sent = Vec::new();
        let mut received = Vec::new();
        for n in 0_u32..20_000 {
            let byte = n.wrapping_mul(2_654_435_761).to_be_bytes()[0];
            while ends.near.try_write(&[byte]).is_err() {
                let mut buffer = [0; 1000];
                let n = ends.far.read(&mut buffer).await.unwrap();
                received.extend_from_slice(&buffer[..n]);
            }
            sent.push(byte);
        }
        ends.near.shutdown().await.unwrap();
        ends.far.read_to_end(&mut received).await.unwrap();
        assert!(received == sent, "other bytes than sent");
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_for_bytes_holds_no_pipe() {
    let pipes = Pipes::new(1);
    let (mut near, from) = UnixStream::pair().unwrap();
    let (to, mut far) = UnixStream::pair().unwrap();
    let mut forwarding = pin!(forward(&from, &to, &pipes, |_| {}));
    let play = async {
        for _ in 0..3 {
            near.write_all(&[7; MANY]).await.unwrap();
            far.read_exact(&mut [0; MANY]).await.unwrap();
        }
    };
    tokio::select! {
        moved = &mut forwarding => panic!("{moved:?}"),
        () = play => {}
    }
    // Bytes were read here before their pace has let the direction look for more.
    let given_back = async {
        while pipes.take().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        moved = &mut forwarding => panic!("{moved:?}"),
        given_back = timeout(Duration::from_secs(60), given_back) => {
            given_back.expect("the only pipe is held");
        }
    }
}
