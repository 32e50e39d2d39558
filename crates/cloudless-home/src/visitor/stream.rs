//! A visitor's bytes, whichever way they come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cloudless_splice::{Pipes, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tunnel::{self, Cut, ssh};

/// A visitor's bytes, both ways. The end of either direction is the visitor's FIN or home's; dropping
/// it before the shutdown resets the visitor.
pub(crate) enum Stream {
    /// Through a relay of cloudless.
    Tunnel(tunnel::Stream),
    /// Through an SSH server.
    Ssh(ssh::Stream),
}

impl Stream {
    /// Whether any byte has come or gone past the connection whose other end is proven, or may now.
    pub(crate) fn has_leg(&self) -> bool {
        match self {
            Self::Tunnel(stream) => stream.has_leg(),
            Self::Ssh(_) => false,
        }
    }

    /// Dropping it is then no reset once the visitor's FIN was read; only where TLS ends at home.
    pub(crate) fn end_with_visitor(&mut self) {
        if let Self::Tunnel(stream) = self {
            stream.end_with_visitor();
        }
    }

    /// The first bytes, which stay to be read; none at the end of the stream. Sets no deadline.
    pub(crate) async fn opening(&self) -> Bytes {
        match self {
            Self::Tunnel(stream) => stream.opening().await,
            Self::Ssh(stream) => stream.peek(0).await.unwrap_or_default(),
        }
    }

    /// Moves all bytes both ways until visitor and server have both ended, each FIN where it
    /// belongs.
    ///
    /// # Errors
    /// When one side cuts the other. The visitor is reset then; the server has to be told.
    pub(crate) async fn join<S: Socket + Send + 'static>(
        self,
        server: &Arc<S>,
        pipes: &Pipes,
    ) -> Result<(), Cut> {
        match self {
            Self::Tunnel(stream) => stream.join(server, pipes).await,
            Self::Ssh(stream) => stream.join(&**server).await,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tunnel(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Ssh(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tunnel(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Ssh(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tunnel(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Ssh(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tunnel(stream) => stream.is_write_vectored(),
            Self::Ssh(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tunnel(stream) => Pin::new(stream).poll_flush(cx),
            Self::Ssh(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tunnel(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Ssh(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
