use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;
use tokio_util::io::poll_read_buf;

const AHEAD_LEN: usize = 64 * 1024;

/// A stream whose reader takes little at a time, as TLS does: what has arrived is read at once, up
/// to 64 KiB, and handed out from memory. Writes go straight to the stream.
///
/// While nothing arrives it holds no memory.
#[derive(Debug)]
pub struct ReadAhead<S> {
    stream: S,
    ahead: Vec<u8>,
    n_taken: usize,
}

impl<S> ReadAhead<S> {
    /// Reads ahead from `stream`.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
            n_taken: 0,
        }
    }

    /// The stream itself, to look at. Reading from it would lose bytes.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Without this the bytes ahead would look like progress that costs nothing, and a busy
        // tunnel would let nobody else go on.
        let turn = ready!(poll_proceed(cx));
        if this.n_taken == this.ahead.len() {
            this.n_taken = 0;
            this.ahead.clear();
            this.ahead.reserve(AHEAD_LEN);
            let read = poll_read_buf(Pin::new(&mut this.stream), cx, &mut this.ahead);
            if this.ahead.is_empty() {
                this.ahead = Vec::new();
            }
            ready!(read)?;
        }
        let rest = &this.ahead[this.n_taken..];
        let n = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..n]);
        this.n_taken += n;
        turn.made_progress();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn small_reads_get_every_byte_and_then_the_end() {
        let sent: Vec<u8> = (0..3 * AHEAD_LEN)
            .map(|n| (n / 7).to_le_bytes()[0])
            .collect();
        for chunk in [1000, 4096, 100_000] {
            let (mut near, far) = duplex(2 * AHEAD_LEN);
            let mut far = ReadAhead::new(far);
            let writing = async {
                near.write_all(&sent).await.unwrap();
                near.shutdown().await.unwrap();
            };
            let reading = async {
                let mut received = Vec::new();
                let mut buffer = vec![0; chunk];
                loop {
                    match far.read(&mut buffer).await.unwrap() {
                        0 => return received,
                        n => received.extend_from_slice(&buffer[..n]),
                    }
                }
            };
            let ((), received) = tokio::join!(writing, reading);
            assert!(received == sent, "other bytes than sent");
            assert_eq!(far.ahead.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn an_idle_stream_holds_no_memory() {
        let (mut near, far) = duplex(AHEAD_LEN);
        let mut far = ReadAhead::new(far);
        near.write_all(b"a few bytes").await.unwrap();
        let mut buffer = [0; 4];
        far.read_exact(&mut buffer).await.unwrap();
        assert_eq!(far.ahead.len(), 11);
        far.read_exact(&mut [0; 7]).await.unwrap();
        let waiting = std::future::poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut buffer);
            Poll::Ready(Pin::new(&mut far).poll_read(cx, &mut buffer).is_pending())
        });
        assert!(waiting.await);
        assert_eq!(far.ahead.capacity(), 0);
    }
}
