//! A connection that ends when its owner says so, whoever reads and writes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Fails all that is read and written once the token is cancelled, and says no farewell then. russh
/// runs a connection in a task of its own; this is how it ends.
pub(super) struct Cut<C> {
    connection: C,
    reading: Pin<Box<WaitForCancellationFutureOwned>>,
    writing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<C> Cut<C> {
    pub(super) fn new(connection: C, cut: CancellationToken) -> Self {
        Self {
            connection,
            reading: Box::pin(cut.clone().cancelled_owned()),
            writing: Box::pin(cut.cancelled_owned()),
        }
    }
}

fn is_cut(cut: &mut Pin<Box<WaitForCancellationFutureOwned>>, cx: &mut Context<'_>) -> bool {
    cut.as_mut().poll(cx).is_ready()
}

fn cut<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
}

impl<C: AsyncRead + Unpin> AsyncRead for Cut<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if is_cut(&mut self.reading, cx) {
            return cut();
        }
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Cut<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if is_cut(&mut self.writing, cx) {
            return cut();
        }
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if is_cut(&mut self.writing, cx) {
            return cut();
        }
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
