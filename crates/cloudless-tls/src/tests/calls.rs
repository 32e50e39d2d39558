//! How often the socket below is written to and read from.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};

use super::peers::Peers;
use crate::Stream;

/// Counts what moves bytes.
struct Counted {
    below: DuplexStream,
    n_reads: usize,
    n_writes: usize,
}

impl Counted {
    fn new(below: DuplexStream) -> Self {
        Self {
            below,
            n_reads: 0,
            n_writes: 0,
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.below).poll_read(cx, target);
        self.n_reads += usize::from(polled.is_ready());
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.below).poll_write(cx, bytes);
        self.n_writes += usize::from(polled.is_ready());
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(cx)
    }
}

async fn pair() -> (Stream<Counted>, Stream<Counted>) {
    let (near, far) = duplex(1024 * 1024);
    let (peers, near, far) = (Peers::new(), Counted::new(near), Counted::new(far));
    let ((mut near, _), (mut far, _)) = peers.connected(near, far).await.unwrap();
    near.state().io.n_writes = 0;
    far.state().io.n_reads = 0;
    (near, far)
}

#[tokio::test]
async fn many_writes_are_one_below_and_many_records_one_read() {
    let (mut near, mut far) = pair().await;
    for _ in 0..50 {
        near.write_all(&[7; 100]).await.unwrap();
    }
    assert_eq!(near.state().io.n_writes, 0);
    near.flush().await.unwrap();
    assert_eq!(near.state().io.n_writes, 1);
    // Each of these is a record of its own.
    for _ in 0..10 {
        near.write_all(&[7; 100]).await.unwrap();
        near.flush().await.unwrap();
    }
    assert_eq!(far.fill_buf().await.unwrap().len(), 6000);
    assert_eq!(far.state().io.n_reads, 1);
}

#[tokio::test]
async fn what_fills_records_leaves_32_kib_at_a_time() {
    let (mut near, _far) = pair().await;
    near.write_all(&[7; 128 * 1024]).await.unwrap();
    near.flush().await.unwrap();
    assert_eq!(near.state().io.n_writes, 4);
}
