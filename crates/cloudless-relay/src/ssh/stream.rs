//! A client's connection as `russh` sees it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::client::Shared;
use crate::activity::Activity;
use crate::liveness::Heard;
use crate::run::Relay;

type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that fails at once when the relay cuts it, which is the only way to end the task that
/// `russh` runs on it; and that is read only by turns until its client has proven a key, because what
/// comes before takes the processor for long and anybody can begin it.
pub(super) struct Guarded {
    stream: Heard<TcpStream>,
    relay: Arc<Relay>,
    shared: Arc<Shared>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    turn: Option<Turn>,
    /// Whether anything was read.
    has_begun: bool,
    told: Arc<Activity>,
}

impl Guarded {
    /// Returns also when something was heard of the client, and when it was told something.
    pub(super) fn new(
        relay: &Arc<Relay>,
        stream: TcpStream,
        cut: CancellationToken,
        shared: Arc<Shared>,
    ) -> (Self, Arc<Activity>, Arc<Activity>) {
        let stream = Heard::new(stream);
        let (heard, told) = (stream.heard(), Arc::new(Activity::new()));
        let guarded = Self {
            stream,
            relay: Arc::clone(relay),
            shared,
            cut: Box::pin(cut.cancelled_owned()),
            turn: None,
            has_begun: false,
            told: Arc::clone(&told),
        };
        (guarded, heard, told)
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.proven.initialized() {
            return Poll::Ready(());
        }
        let (relay, has_begun) = (&self.relay, self.has_begun);
        let turn = self.turn.get_or_insert_with(|| {
            let relay = Arc::clone(relay);
            Box::pin(async move {
                if has_begun {
                    relay.ssh_handshakes.wait().await;
                } else {
                    relay.ssh_handshakes.begin().await;
                }
            })
        });
        ready!(turn.as_mut().poll(cx));
        self.turn = None;
        Poll::Ready(())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        ready!(self.poll_turn(cx));
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.has_begun |= !buffer.filled().is_empty();
        polled
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if polled.is_ready() {
            self.told.moved();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
