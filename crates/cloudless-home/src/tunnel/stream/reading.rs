//! The direction from the visitor.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use cloudless_http2::{Delivery, Observer, RecvStream};
use cloudless_proto::leg::{self, TRAILER};
use cloudless_splice::Socket;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::stream_error;
use crate::tunnel::ways::Ways;

/// What a visitor sends: on the stream first, and on the leg when the relay has changed over.
pub(super) struct Reading {
    recv: RecvStream,
    chunk: Bytes,
    source: Source,
    ways: Arc<Ways>,
}

enum Source {
    Stream,
    /// The stream has ended; what that means is still to be read.
    Trailers,
    Leg(Arc<TcpStream>),
    Ended,
}

pub(super) fn lock(reading: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reading {
    pub(super) fn new(recv: RecvStream, ways: Arc<Ways>) -> Self {
        Self {
            recv,
            chunk: Bytes::new(),
            source: Source::Stream,
            ways,
        }
    }

    /// Bytes of the stream that home has and nobody has read.
    pub(super) fn waiting(&self) -> usize {
        self.recv.unreleased()
    }

    pub(super) fn is_on_leg(&self) -> bool {
        self.ways.has_leg()
    }

    /// Whether what was read last came on the leg.
    pub(super) fn reads_leg(&self) -> bool {
        matches!(self.source, Source::Leg(_))
    }

    /// The leg on which the visitor goes on, once the stream has been read to its end.
    pub(super) fn leg(&self) -> Option<Arc<TcpStream>> {
        match &self.source {
            Source::Leg(leg) => Some(leg.clone()),
            _ => None,
        }
    }

    /// Whether the visitor's FIN was read.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.source, Source::Ended)
    }

    /// The leg has said FIN, to whoever reads it instead.
    pub(super) fn leg_ended(&mut self) -> io::Result<()> {
        self.ways.leg_ended().map_err(io::Error::other)?;
        self.source = Source::Ended;
        Ok(())
    }

    /// Ends it, whatever still comes; returns the leg if it is on one.
    pub(super) fn abandon(&mut self) -> Option<Arc<TcpStream>> {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Leg(leg) => Some(leg),
            _ => None,
        }
    }

    /// The next bytes of the stream, which stay to be read; none when it has ended, or gone over to
    /// a leg.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        while self.chunk.is_empty() {
            match &self.source {
                Source::Stream => match ready!(self.recv.poll_data(cx)) {
                    Some(Ok(chunk)) => self.chunk = chunk,
                    Some(Err(error)) => return Poll::Ready(Err(stream_error(error))),
                    None => self.source = Source::Trailers,
                },
                Source::Trailers => self.trailers()?,
                Source::Leg(_) | Source::Ended => break,
            }
        }
        Poll::Ready(Ok(self.chunk.clone()))
    }

    /// What was taken from the stream and not read.
    pub(super) fn chunk(&self) -> Bytes {
        self.chunk.clone()
    }

    /// Has a socket get what the stream still brings, once the chunk was read.
    pub(super) fn deliver_to<S: Socket + Send + 'static>(
        &self,
        socket: Arc<S>,
        observer: Arc<dyn Observer>,
    ) -> Delivery {
        self.recv.deliver_to(socket, observer)
    }

    /// See [`RecvStream::has_failed_to_deliver`].
    pub(super) fn has_failed_to_deliver(&self) -> bool {
        self.recv.has_failed_to_deliver()
    }

    /// Like [`tokio::io::AsyncRead::poll_read`].
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let chunk = ready!(self.poll_chunk(cx))?;
        if !chunk.is_empty() {
            let length = chunk.len().min(buf.remaining());
            buf.put_slice(&chunk[..length]);
            self.consume(length);
        } else if let Source::Leg(leg) = &self.source {
            let length = ready!(poll_read_leg(leg, cx, buf))?;
            if length == 0 && buf.remaining() > 0 {
                self.leg_ended()?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and forgets, to the end or the first error.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(self.poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn trailers(&mut self) -> io::Result<()> {
        let trailers = self.recv.trailers();
        let number = trailers
            .as_ref()
            .and_then(|trailers| trailers.get(TRAILER))
            .and_then(|value| leg::from_trailer(value.as_bytes()));
        let leg = self.ways.stream_ended(number).map_err(io::Error::other)?;
        self.source = leg.map_or(Source::Ended, Source::Leg);
        Ok(())
    }

    /// These first bytes of the chunk were read: the visitor may send as many again.
    pub(super) fn consume(&mut self, length: usize) {
        self.chunk.advance(length);
        self.recv.release(length);
    }
}

fn poll_read_leg(
    leg: &TcpStream,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(leg.poll_read_ready(cx))?;
        match leg.try_read(buf.initialize_unfilled()) {
            Ok(length) => {
                buf.advance(length);
                return Poll::Ready(Ok(length));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}
