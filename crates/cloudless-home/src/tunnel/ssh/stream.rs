//! One visitor's bytes on its SSH channel.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use cloudless_splice::{Chunk, Socket, finish, write};
use russh::ChannelWriteHalf;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::time::timeout;

use super::inbox::Inbox;
use crate::status::Traffic;
use crate::tunnel::Cut;

/// How long a visitor that was answered may go on sending before it is reset.
const LINGER: Duration = Duration::from_secs(2);
const READ_LEN: usize = 64 * 1024;

/// A visitor's bytes, both ways. EOF is the FIN of either direction. What is written waits for the
/// channel's window, so that a visitor that stops reading stops nobody else.
pub(crate) struct Stream {
    inbox: Arc<Inbox>,
    writer: Pin<Box<dyn AsyncWrite + Send + Sync>>,
    is_finished: bool,
    has_written: Arc<AtomicBool>,
    traffic: Arc<Traffic>,
}

impl Stream {
    pub(super) fn new(
        inbox: Arc<Inbox>,
        channel: &ChannelWriteHalf<Msg>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            inbox,
            writer: Box::pin(channel.make_writer()),
            is_finished: false,
            has_written: Arc::default(),
            traffic,
        }
    }

    /// Whether anything was said to the visitor, also when the stream is gone.
    pub(super) fn has_written(&self) -> Arc<AtomicBool> {
        self.has_written.clone()
    }

    /// What has come so far, which stays to be read, once that is more than `known` bytes. It is no
    /// more when the visitor has said all. Sets no deadline.
    pub(crate) async fn peek(&self, known: usize) -> io::Result<Bytes> {
        std::future::poll_fn(|cx| self.inbox.poll_peek(cx, known)).await
    }

    /// Moves all bytes both ways until visitor and server have both ended.
    ///
    /// # Errors
    /// When one side cuts the other. The visitor is reset then; the server has to be told.
    pub(crate) async fn join(mut self, server: &impl Socket) -> Result<(), Cut> {
        let (inbox, traffic) = (self.inbox.clone(), self.traffic.clone());
        let up = up(&inbox, &traffic, server);
        tokio::try_join!(up, self.down(server)).map(drop)
    }

    async fn down(&mut self, server: &impl Socket) -> Result<(), Cut> {
        loop {
            let ready = server.ready(Interest::READABLE).await;
            ready.map_err(Cut::Server)?;
            match Chunk::read(server, READ_LEN) {
                Ok(chunk) if chunk.bytes.is_empty() => {
                    return self.shutdown().await.map_err(Cut::Visitor);
                }
                Ok(chunk) => self.write_all(&chunk.bytes).await.map_err(Cut::Visitor)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Cut::Server(error)),
            }
        }
    }
}

/// Reads on until the visitor's FIN, so that a last response is not cut off by the reset that unread
/// bytes would cause; after a while the visitor is reset.
pub(super) async fn linger(inbox: &Inbox) {
    let discard = std::future::poll_fn(|cx| inbox.poll_discard(cx));
    let _ = timeout(LINGER, discard).await;
}

async fn up(inbox: &Inbox, traffic: &Traffic, server: &impl Socket) -> Result<(), Cut> {
    loop {
        let chunk = std::future::poll_fn(|cx| inbox.poll_chunk(cx, READ_LEN)).await;
        let mut chunk = chunk.map_err(Cut::Visitor)?;
        if chunk.is_empty() {
            return finish(server).map_err(Cut::Server);
        }
        traffic.came(chunk.len() as u64, false);
        while !chunk.is_empty() {
            match write(server, &chunk) {
                Ok(n) => chunk.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = server.ready(Interest::WRITABLE).await;
                    ready.map_err(Cut::Server)?;
                }
                Err(error) => return Err(Cut::Server(error)),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.inbox.poll_read(cx, buf))?;
        let length = buf.filled().len() - before;
        self.traffic.came(length as u64, false);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let length = ready!(self.writer.as_mut().poll_write(cx, buf))?;
        self.has_written.store(true, Ordering::Relaxed);
        self.traffic.went(length as u64, false);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_finished {
            ready!(self.writer.as_mut().poll_shutdown(cx))?;
            self.is_finished = true;
        }
        Poll::Ready(Ok(()))
    }
}
