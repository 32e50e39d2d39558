//! When a connection last moved a byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The time of the last byte, shared between a [`Watched`] connection and whoever judges it.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    origin: Instant,
    read_ms: Arc<AtomicU64>,
    written_ms: Arc<AtomicU64>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            read_ms: Arc::default(),
            written_ms: Arc::default(),
        }
    }

    /// When a byte was last read; the beginning if none was.
    pub(crate) fn last_read(&self) -> Instant {
        self.origin + Duration::from_millis(self.read_ms.load(Ordering::Relaxed))
    }

    /// When a byte was last read or written.
    pub(crate) fn last(&self) -> Instant {
        let written = Duration::from_millis(self.written_ms.load(Ordering::Relaxed));
        self.last_read().max(self.origin + written)
    }

    fn mark(&self, which: &AtomicU64) {
        let elapsed = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        which.store(elapsed, Ordering::Relaxed);
    }
}

/// A connection that notes its activity.
#[derive(Debug)]
pub(crate) struct Watched<C> {
    connection: C,
    activity: Activity,
}

impl<C> Watched<C> {
    pub(crate) fn new(connection: C, activity: Activity) -> Self {
        Self {
            connection,
            activity,
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.connection).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.mark(&self.activity.read_ms);
        }
        polled
    }
}

impl<C: AsyncBufRead + Unpin> AsyncBufRead for Watched<C> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self {
            connection,
            activity,
        } = self.get_mut();
        let polled = Pin::new(connection).poll_fill_buf(cx);
        if matches!(&polled, Poll::Ready(Ok(bytes)) if !bytes.is_empty()) {
            activity.mark(&activity.read_ms);
        }
        polled
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        Pin::new(&mut self.connection).consume(n);
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.connection).poll_write(cx, buf);
        if polled.is_ready() {
            self.activity.mark(&self.activity.written_ms);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.connection).poll_write_vectored(cx, bufs);
        if polled.is_ready() {
            self.activity.mark(&self.activity.written_ms);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}
