use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::cork::Cork;
use crate::state::State;

/// Bytes that are TLS records on the stream below.
///
/// What is written leaves with the next flush, or once 32 KiB are together. While nothing is under
/// way it holds no buffer.
pub struct Stream<S: AsyncRead + AsyncWrite + Unpin>(Shared<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub(crate) fn new(state: State<S>) -> Self {
        Self(Shared(Arc::new(Mutex::new(state))))
    }

    /// Leaves flushes to the one who is given this, until it is dropped.
    pub fn cork(&self) -> Cork<S> {
        Cork::new(self.0.clone())
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> fmt::Debug for Stream<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, target)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_shutdown(cx)
    }
}

/// The connection, for its stream and whoever ends its turns.
pub(crate) struct Shared<S: AsyncRead + AsyncWrite + Unpin>(Arc<Mutex<State<S>>>);

impl<S: AsyncRead + AsyncWrite + Unpin> Shared<S> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
