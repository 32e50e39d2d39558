//! One visitor's CONNECT stream as a byte stream.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::status::Traffic;

/// The most bytes handed to HTTP/2 in one piece.
const WRITE_MAX: usize = 64 * 1024;

/// A visitor's bytes, both ways. END_STREAM is the FIN of either direction, RST_STREAM a reset.
/// The stream's window is released as the reader consumes, so a reader that stops stops the
/// visitor. Dropping it before the shutdown resets the stream.
pub(crate) struct Stream {
    reading: Arc<Mutex<Reading>>,
    send: SendStream<Bytes>,
    finished: bool,
    traffic: Arc<Traffic>,
}

impl Stream {
    pub(crate) fn new(recv: RecvStream, send: SendStream<Bytes>, traffic: Arc<Traffic>) -> Self {
        let reading = Reading {
            recv,
            chunk: Bytes::new(),
            ended: false,
        };
        Self {
            reading: Arc::new(Mutex::new(reading)),
            send,
            finished: false,
            traffic,
        }
    }

    /// The reading side, which outlives the stream: see [`Rest::discard`].
    pub(crate) fn rest(&self) -> Rest {
        Rest(self.reading.clone())
    }

    /// The first bytes, which stay to be read; none at the end of the stream. Sets no deadline.
    pub(crate) async fn opening(&self) -> Bytes {
        std::future::poll_fn(|cx| {
            let mut reading = lock(&self.reading);
            let _ = ready!(reading.poll_chunk(cx));
            Poll::Ready(reading.chunk.clone())
        })
        .await
    }

    /// A look at what the reader has left, which keeps nothing alive.
    pub(crate) fn unread(&self) -> Unread {
        Unread(Arc::downgrade(&self.reading))
    }
}

/// How much of what a visitor sent waits to be read.
pub(crate) struct Unread(Weak<Mutex<Reading>>);

impl Unread {
    /// In bytes; `None` when the stream is gone.
    pub(crate) fn length(&self) -> Option<usize> {
        let reading = self.0.upgrade()?;
        let length = lock(&reading).recv.flow_control().used_capacity();
        Some(length)
    }
}

/// What a visitor still sends after its stream is done with.
pub(crate) struct Rest(Arc<Mutex<Reading>>);

impl Rest {
    /// Reads on until the visitor's FIN or reset, so that a last response is not cut off by the
    /// reset that unread bytes would cause. The caller sets a deadline.
    pub(crate) async fn discard(self) {
        std::future::poll_fn(|cx| {
            let mut reading = lock(&self.0);
            loop {
                match ready!(reading.poll_chunk(cx)) {
                    Ok(true) => {
                        let length = reading.chunk.len();
                        reading.consume(length);
                    }
                    Ok(false) | Err(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}

struct Reading {
    recv: RecvStream,
    chunk: Bytes,
    ended: bool,
}

impl Reading {
    /// Ready with false at the end of the stream, else with a chunk that is not empty.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.chunk.is_empty() {
            if self.ended {
                return Poll::Ready(Ok(false));
            }
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Poll::Ready(Err(stream_error(error))),
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok(true))
    }

    fn consume(&mut self, length: usize) {
        self.chunk.advance(length);
        // The only failure is a release of more than was received, which the chunks exclude.
        if let Err(error) = self.recv.flow_control().release_capacity(length) {
            tracing::debug!(%error, "Could not release a stream's window");
        }
    }
}

fn lock(reading: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut reading = lock(&self.reading);
        if ready!(reading.poll_chunk(cx))? {
            let length = reading.chunk.len().min(buf.remaining());
            buf.put_slice(&reading.chunk[..length]);
            reading.consume(length);
            self.traffic.came(length);
        }
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
        let wanted = buf.len().min(WRITE_MAX);
        self.send.reserve_capacity(wanted);
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(stream_error(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let length = self.send.capacity().min(wanted);
        self.send
            .send_data(Bytes::copy_from_slice(&buf[..length]), false)
            .map_err(stream_error)?;
        self.traffic.went(length);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            self.finished = true;
            self.send
                .send_data(Bytes::new(), true)
                .map_err(stream_error)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.finished {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

fn stream_error(error: h2::Error) -> io::Error {
    if error.is_reset() {
        io::Error::new(io::ErrorKind::ConnectionReset, error)
    } else {
        io::Error::new(io::ErrorKind::BrokenPipe, error)
    }
}
