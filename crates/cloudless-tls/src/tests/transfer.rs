//! Data, both ways.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex, split};
use tokio::runtime::Builder;

use super::peers::{Peers, pair};

/// Bytes none of which is where its neighbor should be.
fn data(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 7 + n / 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_byte_arrives_however_it_is_written_and_read(
        pipe in 100_usize..100_000,
        writes in prop::collection::vec((1_usize..60_000, any::<bool>()), 1..20),
        reads in prop::collection::vec(1_usize..60_000, 1..10),
    ) {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut near, mut far) = pair(pipe).await;
            let said = data(writes.iter().map(|(len, _)| len).sum());
            let saying = async {
                let mut rest = &said[..];
                for (len, is_flushed) in &writes {
                    let (now, later) = rest.split_at(*len);
                    near.write_all(now).await.unwrap();
                    if *is_flushed {
                        near.flush().await.unwrap();
                    }
                    rest = later;
                }
                near.shutdown().await.unwrap();
            };
            let hearing = async {
                let mut heard = Vec::new();
                for len in reads.iter().cycle() {
                    let mut buffer = vec![0; *len];
                    match far.read(&mut buffer).await.unwrap() {
                        0 => break,
                        n => heard.extend_from_slice(&buffer[..n]),
                    }
                }
                heard
            };
            let ((), heard) = tokio::join!(saying, hearing);
            assert!(heard == said, "other bytes than sent");
        });
    }
}

#[tokio::test]
async fn ten_megabytes_both_ways_at_once() {
    let (near, far) = pair(100_000).await;
    let (there, back) = (data(10_000_000), data(9_999_999));
    let ((mut near_from, mut near_to), (mut far_from, mut far_to)) = (split(near), split(far));
    let say = async |to: &mut (dyn AsyncWrite + Unpin), said: &[u8]| {
        to.write_all(said).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let hear = async |from: &mut (dyn AsyncRead + Unpin)| {
        let mut heard = Vec::new();
        from.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let ((), (), heard_there, heard_back) = tokio::join!(
        say(&mut near_to, &there),
        say(&mut far_to, &back),
        hear(&mut far_from),
        hear(&mut near_from),
    );
    assert!(heard_there == there && heard_back == back);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_waited_for_and_costs_no_more_than_a_bound() {
    let (mut near, mut far) = pair(1000).await;
    let chunk = data(30_000);
    let mut n_taken = 0;
    poll_fn(|cx| {
        while let Poll::Ready(taken) = Pin::new(&mut near).poll_write(cx, &chunk) {
            n_taken += taken.unwrap();
        }
        assert!(Pin::new(&mut near).poll_flush(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert!((32 * 1024..96 * 1024).contains(&n_taken), "{n_taken}");
    let mut heard = vec![0; n_taken];
    let flushing = near.flush();
    let (flushed, read) = tokio::join!(flushing, far.read_exact(&mut heard));
    flushed.unwrap();
    read.unwrap();
}

#[tokio::test]
async fn a_tunnel_that_is_idle_holds_no_buffer() {
    let (mut near, mut far) = pair(1024 * 1024).await;
    for len in [10, 300_000] {
        near.write_all(&data(len)).await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(near.state().capacity(), 0);
        far.read_exact(&mut vec![0; len]).await.unwrap();
        let waits = poll_fn(|cx| {
            let mut byte = [0];
            let read = Pin::new(&mut far).poll_read(cx, &mut ReadBuf::new(&mut byte));
            Poll::Ready(read.is_pending())
        });
        assert!(waits.await);
        assert_eq!(far.state().capacity(), 0);
    }
}

#[tokio::test]
async fn a_busy_tunnel_lets_others_go_on() {
    let (near, far) = duplex(4 * 1024 * 1024);
    let ((mut near, _), (mut far, _)) = Peers::new().connected(near, far).await.unwrap();
    near.write_all(&data(2_000_000)).await.unwrap();
    near.flush().await.unwrap();
    // All has arrived, and nothing else ever makes this reader wait.
    let n_before_others = tokio::spawn(poll_fn(move |cx| {
        let mut byte = [0];
        let mut n = 0;
        while let Poll::Ready(read) = Pin::new(&mut far).poll_read(cx, &mut ReadBuf::new(&mut byte))
        {
            read.unwrap();
            n += 1;
            assert!(n < 10_000, "nobody else has a turn");
        }
        Poll::Ready(n)
    }));
    assert!(n_before_others.await.unwrap() > 0);
}
