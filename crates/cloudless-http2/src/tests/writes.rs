//! How often a connection's bytes are given to what is below.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::peers::{CONFIG, Client, Server, data, soon, stream};
use crate::frame::HEADER_LEN;
use crate::transmit::OUT_LEN;

/// Counts how often something is written.
struct Counted {
    below: DuplexStream,
    n_writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_read(cx, target)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.n_writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.below).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(cx)
    }
}

/// Each write is two records of a tunnel and a system call.
#[tokio::test]
async fn what_is_queued_together_leaves_in_as_few_writes_as_it_fills() {
    const N_STREAMS: usize = 20;
    // A few bytes on each of many streams are one write, and many on one are as few as hold them.
    for (n_streams, len) in [(N_STREAMS, 100), (1, 64 * 1024)] {
        let (near, far) = duplex(1024 * 1024);
        let n_writes = Arc::new(AtomicUsize::new(0));
        let near = Counted {
            below: near,
            n_writes: n_writes.clone(),
        };
        let client = Client::new(Box::new(near), CONFIG);
        let mut server = Server::new(Box::new(far), CONFIG);
        let mut streams = Vec::new();
        for _ in 0..n_streams {
            streams.push(stream(&client, &mut server).await);
        }
        n_writes.store(0, Ordering::Relaxed);
        for (number, ((_, send), _)) in streams.iter_mut().enumerate() {
            send.queue(data(len, number)).unwrap();
        }
        for (number, (_, (recv, _))) in streams.iter_mut().enumerate() {
            let mut heard = Vec::new();
            while heard.len() < len {
                heard.extend_from_slice(&soon(recv.data()).await.unwrap().unwrap());
            }
            assert!(heard == data(len, number));
        }
        let n_frames = n_streams * len.div_ceil(OUT_LEN - HEADER_LEN);
        let n_bytes = n_streams * len + n_frames * HEADER_LEN;
        let n_writes = n_writes.load(Ordering::Relaxed);
        assert_eq!(n_writes, n_bytes.div_ceil(OUT_LEN), "{n_streams} of {len}");
    }
}
