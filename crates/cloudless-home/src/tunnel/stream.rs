//! One visitor's bytes: its CONNECT stream, and the leg it goes on on.

mod join;
mod reading;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cloudless_http2::{Error, Reason, RecvStream, SendStream};
use cloudless_proto::control::FRAME_LEN;
use cloudless_proto::leg::{self, TRAILER};
use http::{HeaderMap, HeaderValue};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::join::Cut;
use self::reading::{Reading, lock};
use super::ways::Ways;
use crate::status::Traffic;

/// The most bytes handed to HTTP/2 in one piece: two frames.
pub(super) const WRITE_MAX: usize = 2 * FRAME_LEN;
/// How long a visitor that was answered may go on sending before it is reset.
const LINGER: Duration = Duration::from_secs(2);
/// On a leg a reset would take the answer along that is still on its way to the visitor.
const LINGER_ON_LEG: Duration = Duration::from_secs(30);

/// A visitor's bytes, both ways. END_STREAM is the FIN of either direction, RST_STREAM a reset, and
/// on a leg they are TCP's own. The stream's window is released as the reader consumes, so a reader
/// that stops stops the visitor. Dropping it before the shutdown resets the visitor, but see
/// [`Stream::end_with_visitor`].
pub(crate) struct Stream {
    reading: Arc<Mutex<Reading>>,
    send: SendStream,
    /// Where bytes are written once this side has changed over.
    leg: Option<Arc<TcpStream>>,
    ways: Arc<Ways>,
    finished: bool,
    /// Whether to drop it says FIN once the visitor has.
    ends_with_visitor: bool,
    traffic: Arc<Traffic>,
}

impl Stream {
    pub(crate) fn new(
        recv: RecvStream,
        send: SendStream,
        ways: Arc<Ways>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            reading: Arc::new(Mutex::new(Reading::new(recv, ways.clone()))),
            send,
            leg: None,
            ways,
            finished: false,
            ends_with_visitor: false,
            traffic,
        }
    }

    /// Dropping it is then no reset once the visitor's FIN was read: for a protocol that tells by itself
    /// whether all was said, as TLS does, and whose server just drops a connection that is over.
    pub(crate) fn end_with_visitor(&mut self) {
        self.ends_with_visitor = true;
    }

    /// The reading side, which outlives the stream: see [`Rest::discard`].
    pub(crate) fn rest(&self) -> Rest {
        Rest(self.reading.clone())
    }

    /// Whether any byte has come or gone past the tunnel, or may now.
    pub(crate) fn has_leg(&self) -> bool {
        self.ways.has_leg()
    }

    /// The first bytes, which stay to be read; none at the end of the stream. Sets no deadline.
    pub(crate) async fn opening(&self) -> Bytes {
        std::future::poll_fn(|cx| {
            let chunk = ready!(lock(&self.reading).poll_chunk(cx));
            Poll::Ready(chunk.unwrap_or_default())
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
        let length = lock(&reading).waiting();
        Some(length)
    }
}

/// What a visitor still sends after its stream is done with.
pub(crate) struct Rest(Arc<Mutex<Reading>>);

impl Rest {
    /// Reads on until the visitor's FIN or reset, so that a last response is not cut off by the
    /// reset that unread bytes would cause. Silence means that the visitor is gone or hostile:
    /// after a while, sooner when home stops, the rest is dropped, which resets the visitor.
    pub(crate) async fn linger(self, stopping: &CancellationToken) {
        let is_on_leg = lock(&self.0).is_on_leg();
        let discard = std::future::poll_fn(|cx| lock(&self.0).poll_discard(cx));
        if !is_on_leg {
            let _ = timeout(LINGER, discard).await;
            return;
        }
        let stop = async {
            stopping.cancelled().await;
            sleep(LINGER).await;
        };
        tokio::select! {
            () = discard => {}
            () = stop => {}
            () = sleep(LINGER_ON_LEG) => {}
        }
    }
}

impl Stream {
    /// The leg, when what is written goes there; changes over to it as soon as it is ready.
    fn leg(&mut self) -> io::Result<Option<&TcpStream>> {
        if self.leg.is_none() {
            let (send, leg) = self.ways.send();
            if let leg::Send::ChangeOver(number) = send {
                self.send
                    .finish_with(&trailers(number))
                    .map_err(stream_error)?;
            }
            self.leg = leg;
        }
        Ok(self.leg.as_deref())
    }

    /// Ends what is written; once.
    fn say_fin(&mut self) -> io::Result<()> {
        if !self.finished {
            self.finished = true;
            match &self.leg {
                Some(leg) => SockRef::from(&**leg).shutdown(std::net::Shutdown::Write)?,
                None => self.send.finish(Bytes::new()).map_err(stream_error)?,
            }
            self.ways.finish();
        }
        Ok(())
    }

    /// Waits until HTTP/2 takes bytes; returns how many, of those `wanted` at most.
    fn poll_capacity(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let room = ready!(self.send.poll_room(cx)).map_err(stream_error)?;
        Poll::Ready(Ok(room.min(wanted)))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let mut reading = lock(&self.reading);
        ready!(reading.poll_read(cx, buf))?;
        let length = buf.filled().len() - before;
        self.traffic.came(length as u64, reading.reads_leg());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        let length = match self.leg()? {
            Some(leg) => ready!(poll_write_leg(leg, cx, bufs))?,
            None => {
                let length = ready!(self.poll_capacity(cx, total.min(WRITE_MAX)))?;
                let bytes = gather(bufs, length);
                self.send.queue(bytes).map_err(stream_error)?;
                length
            }
        };
        self.traffic.went(length as u64, self.leg.is_some());
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.say_fin())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let is_over = self.ends_with_visitor && lock(&self.reading).has_ended();
        if is_over && self.say_fin().is_ok() {
            return;
        }
        self.send.reset(Reason::CANCEL);
        let leg = lock(&self.reading).abandon();
        if let Some(leg) = self.leg.take().or(leg) {
            // It is closed with the last reference, which is this one.
            if let Err(error) = SockRef::from(&*leg).set_linger(Some(Duration::ZERO)) {
                tracing::debug!(%error, "A leg is closed without reset");
            }
        }
        self.ways.abandon();
    }
}

fn poll_write_leg(
    leg: &TcpStream,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(leg.poll_write_ready(cx))?;
        match leg.try_write_vectored(bufs) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

/// The first `length` bytes of all of these.
fn gather(bufs: &[IoSlice<'_>], length: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(length);
    for buf in bufs {
        let room = length - bytes.len();
        bytes.extend_from_slice(&buf[..buf.len().min(room)]);
    }
    bytes.freeze()
}

fn trailers(number: u64) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(TRAILER, HeaderValue::from(number));
    trailers
}

fn stream_error(error: Error) -> io::Error {
    if error.is_reset() {
        io::Error::new(io::ErrorKind::ConnectionReset, error)
    } else {
        io::Error::new(io::ErrorKind::BrokenPipe, error)
    }
}
