//! How a connection ends, and what it leaves behind.

use std::io;

use cloudless_splice::{ForwardError, Pipes};
use tokio::task::yield_now;

use crate::support::{Connection, Family, both_ways, connection, one_way, soon};

const FAMILIES: [Family; 3] = [Family::V4, Family::V6, Family::Unix];

/// A socket that has taken nothing so often takes nothing any more.
const REFUSALS: usize = 1000;

#[tokio::test]
async fn each_side_may_end_first_and_still_hears_the_other() {
    for family in FAMILIES {
        for pipes in [Pipes::new(2), Pipes::new(0)] {
            let Connection { near, joined, far } = connection(family, Family::V4).await;
            let ends = async {
                near.write_all(b"a question").await.unwrap();
                near.finish();
                assert_eq!(far.read_to_end().await.unwrap(), b"a question");
                far.write_all(b"an answer").await.unwrap();
                far.finish();
                assert_eq!(near.read_to_end().await.unwrap(), b"an answer");
            };
            let (moved, ()) = soon(async { tokio::join!(both_ways(joined, &pipes), ends) }).await;
            assert_eq!(moved.unwrap(), (10, 9), "{family:?}");
        }
    }
}

#[tokio::test]
async fn a_reset_before_any_byte_is_told_apart_from_an_end() {
    for pipes in [Pipes::new(2), Pipes::new(0)] {
        let Connection { near, joined, far } = connection(Family::V4, Family::V6).await;
        near.reset();
        let moved = soon(both_ways(joined, &pipes)).await;
        assert!(matches!(moved, Err(ForwardError::Read(_))), "{moved:?}");
        let heard = soon(far.read_to_end()).await.unwrap_err();
        assert_eq!(heard.kind(), io::ErrorKind::ConnectionReset);
    }
}

/// The pipe of the broken connection is full of its bytes, or the buffer where there is no pipe. With
/// one for all, the next connection would get them.
#[tokio::test]
async fn bytes_of_a_broken_connection_reach_nobody_else() {
    for (family, pipes_max) in FAMILIES.into_iter().flat_map(|it| [(it, 1), (it, 0)]) {
        let pipes = Pipes::new(pipes_max);
        let Connection { near, joined, far } = connection(family, family).await;
        let forwarded = both_ways(joined, &pipes);
        let ends = async {
            // Nobody reads, so that in the end the sockets and the pipe are full.
            let mut n_refused = 0;
            while n_refused < REFUSALS {
                match near.try_write(&[b'x'; 1024]) {
                    Ok(_) => n_refused = 0,
                    Err(_) => n_refused += 1,
                }
                yield_now().await;
            }
            drop(far);
            near
        };
        let (moved, _near) = soon(async { tokio::join!(forwarded, ends) }).await;
        assert!(moved.is_err(), "{family:?}");

        let Connection { near, joined, far } = connection(family, family).await;
        let ends = async {
            near.write_all(b"mine").await.unwrap();
            near.finish();
            far.finish();
            assert_eq!(far.read_to_end().await.unwrap(), b"mine", "{family:?}");
        };
        let (moved, ()) = soon(async { tokio::join!(both_ways(joined, &pipes), ends) }).await;
        assert_eq!(moved.unwrap(), (4, 0));
    }
}

/// Each byte of a Unix socket is a segment of its own here and takes a slot of the pipe, so that the
/// pipe is full while the socket has more, which the system reports as it does an empty socket.
#[tokio::test]
async fn small_segments_fill_the_pipe_and_nothing_hangs() {
    let pipes = Pipes::new(1);
    let Connection { near, joined, far } = connection(Family::Unix, Family::V4).await;
    let mut sent = Vec::new();
    for n in 0_u32.. {
        let byte = n.to_be_bytes()[3];
        match near.try_write(&[byte]) {
            Ok(_) => sent.push(byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    // A page for each slot.
    assert!(sent.len() > 256 * 1024 / 4096, "the slots are not filled");
    let ends = async {
        let mut received = vec![0; sent.len()];
        let mut n_received = 0;
        // No FIN follows that would wake the forwarding up.
        while n_received < sent.len() {
            n_received += far.read(&mut received[n_received..]).await.unwrap();
        }
        assert!(received == sent, "other bytes than sent");
    };
    tokio::select! {
        moved = one_way(&joined.0, &joined.1, &pipes) => panic!("{moved:?}"),
        () = soon(ends) => {}
    }
}
