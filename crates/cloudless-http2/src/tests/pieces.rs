use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that gives and takes bytes in small pieces, and now and then none at first. What it has
/// taken leaves when it is flushed, as it does from TLS.
#[derive(Debug)]
pub(super) struct Pieces<S> {
    stream: S,
    unflushed: Vec<u8>,
    random: Random,
    len_max: usize,
}

impl<S> Pieces<S> {
    pub(super) fn new(stream: S, seed: u64, len_max: usize) -> Self {
        Self {
            stream,
            unflushed: Vec::new(),
            random: Random::new(seed),
            len_max,
        }
    }

    /// The length of the next piece; `None` when the caller has to come again.
    fn piece(&mut self, cx: &Context<'_>) -> Option<usize> {
        if self.random.below(4) == 0 {
            cx.waker().wake_by_ref();
            return None;
        }
        Some(1 + self.random.below(self.len_max))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(len) = self.piece(cx) else {
            return Poll::Pending;
        };
        let mut buffer = vec![0; len.min(target.remaining())];
        let mut piece = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
        target.put_slice(piece.filled());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pieces<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(len) = self.piece(cx) else {
            return Poll::Pending;
        };
        if self.unflushed.len() > self.len_max {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        let len = len.min(bytes.len());
        self.unflushed.extend_from_slice(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            stream, unflushed, ..
        } = &mut *self;
        while !unflushed.is_empty() {
            let n = ready!(Pin::new(&mut *stream).poll_write(cx, unflushed))?;
            unflushed.drain(..n);
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Xorshift: the same numbers in every run.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Of zero it would make zeros.
        Self(seed.wrapping_mul(2) + 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 32) as usize % limit
    }
}
