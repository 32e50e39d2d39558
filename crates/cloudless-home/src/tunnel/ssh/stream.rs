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
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::inbox::Inbox;
use crate::status::Traffic;
use crate::tunnel::Cut;

/// How long a visitor that was answered may go on sending before it is reset.
const LINGER: Duration = Duration::from_secs(2);
const READ_LEN: usize = 64 * 1024;
/// How long a visitor that is passed through may be silent, as a relay of cloudless lets it be: sshd
/// sets no limit.
const SILENCE: Duration = Duration::from_secs(60 * 60);
/// The same once one direction has ended.
const HALF_CLOSED_SILENCE: Duration = Duration::from_secs(60);

/// A visitor's bytes, both ways. EOF is the FIN of either direction. What is written waits for the
/// channel's window, so that a visitor that stops reading stops nobody else.
pub(crate) struct Stream {
    inbox: Arc<Inbox>,
    writer: Pin<Box<dyn AsyncWrite + Send + Sync>>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
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
            writer: Box::pin(channel.make_writer()),
            closed: Box::pin(inbox.closed.clone().cancelled_owned()),
            inbox,
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
    /// When one side cuts the other, or both are silent for too long. The visitor is reset then; the
    /// server has to be told.
    pub(crate) async fn join(mut self, server: &impl Socket) -> Result<(), Cut> {
        let (inbox, traffic) = (self.inbox.clone(), self.traffic.clone());
        let (has_said_all, half_closed) = (CancellationToken::new(), CancellationToken::new());
        let up = async {
            up(&inbox, &traffic, server).await?;
            has_said_all.cancel();
            half_closed.cancel();
            Ok(())
        };
        let down = async {
            let ended = tokio::select! {
                biased;
                down = self.down(server) => down,
                // There is nobody to whom the rest would get. A server that says nothing would not
                // let that be noticed.
                () = inbox.closed.cancelled() => Err(Cut::Visitor(io::ErrorKind::ConnectionReset.into())),
            };
            half_closed.cancel();
            if ended.is_err() && inbox.closed.is_cancelled() {
                // What the visitor said before it went is for the server all the same.
                has_said_all.cancelled().await;
            }
            ended
        };
        tokio::select! {
            biased;
            joined = async { tokio::try_join!(up, down) } => joined.map(drop),
            () = silent(&inbox, &half_closed) => Err(Cut::Visitor(io::ErrorKind::TimedOut.into())),
        }
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

/// Returns once nothing has moved for too long.
async fn silent(inbox: &Inbox, half_closed: &CancellationToken) {
    loop {
        let is_half_closed = half_closed.is_cancelled();
        let limit = if is_half_closed {
            HALF_CLOSED_SILENCE
        } else {
            SILENCE
        };
        let deadline = inbox.last_moved() + limit;
        if Instant::now() >= deadline {
            return;
        }
        tokio::select! {
            () = sleep_until(deadline) => {}
            () = half_closed.cancelled(), if !is_half_closed => {}
        }
    }
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
                Ok(n) => {
                    chunk.advance(n);
                    inbox.moved();
                }
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
        // russh lets a writer wait for the window of a channel that is no more.
        if self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let length = ready!(self.writer.as_mut().poll_write(cx, buf))?;
        self.has_written.store(true, Ordering::Relaxed);
        self.inbox.moved();
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, sink};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::inbox::Inboxes;
    use super::*;

    const CHANNEL: u32 = 1;

    /// A visitor that takes whatever it gets.
    fn visitor(inboxes: &Inboxes) -> Stream {
        let inbox = Arc::new(inboxes.open(CHANNEL));
        Stream {
            writer: Box::pin(sink()),
            closed: Box::pin(inbox.closed.clone().cancelled_owned()),
            inbox,
            is_finished: false,
            has_written: Arc::default(),
            traffic: Arc::default(),
        }
    }

    /// Both ends of a connection to a server that says nothing.
    async fn server() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_cut_after_an_hour_and_after_a_minute_once_one_side_has_said_all() {
        for (has_finished, limit) in [(false, SILENCE), (true, HALF_CLOSED_SILENCE)] {
            let inboxes = Inboxes::new();
            let stream = visitor(&inboxes);
            let (near, _far) = server().await;
            if has_finished {
                inboxes.finished(CHANNEL);
            }
            let start = Instant::now();
            let joined = timeout(2 * limit, stream.join(&near)).await;
            assert!(matches!(joined, Ok(Err(Cut::Visitor(_)))), "{joined:?}");
            assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
        }
    }

    #[tokio::test]
    async fn a_channel_that_is_closed_ends_what_waits_for_a_silent_server() {
        let inboxes = Inboxes::new();
        let stream = visitor(&inboxes);
        let (near, mut far) = server().await;
        inboxes.received(CHANNEL, b"last words");
        inboxes.finished(CHANNEL);
        let joined = tokio::join!(stream.join(&near), async {
            far.read_exact(&mut [0; 10]).await.unwrap();
            inboxes.closed(CHANNEL);
        });
        assert!(matches!(joined.0, Err(Cut::Visitor(_))), "{joined:?}");
    }

    #[tokio::test]
    async fn what_came_before_a_channel_was_closed_gets_to_a_server_that_is_slow() {
        let inboxes = Inboxes::new();
        let stream = visitor(&inboxes);
        let (near, mut far) = server().await;
        let upload = vec![7; 8 * 1024 * 1024];
        inboxes.received(CHANNEL, &upload);
        inboxes.finished(CHANNEL);
        inboxes.closed(CHANNEL);
        let mut got = Vec::new();
        let (joined, read) = tokio::join!(stream.join(&near), far.read_to_end(&mut got));
        read.unwrap();
        assert!(got == upload, "{} bytes", got.len());
        assert!(matches!(joined, Err(Cut::Visitor(_))), "{joined:?}");
    }

    #[tokio::test]
    async fn nothing_is_written_to_a_channel_that_is_closed() {
        let inboxes = Inboxes::new();
        let mut stream = visitor(&inboxes);
        stream.write_all(b"an answer").await.unwrap();
        inboxes.closed(CHANNEL);
        let error = stream.write_all(b"more of it").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
