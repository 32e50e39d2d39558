//! The direction to the peer.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cloudless_splice::{Pace, Socket};
use http::HeaderMap;

use crate::error::{Error, Reason};
use crate::head;
use crate::readiness::Direction;
use crate::sink::Observer;
use crate::source::Source;
use crate::state::Shared;
use crate::stream::{End, Outgoing, register};

/// What one stream's holder may have waiting to be sent.
const QUEUE_MAX: usize = 64 * 1024;

/// What is sent on one stream. When all handles of a stream are dropped before both directions have
/// ended, it is reset once all is sent.
pub struct SendStream {
    shared: Arc<Shared>,
    id: u32,
}

impl SendStream {
    pub(crate) fn new(shared: Arc<Shared>, id: u32) -> Self {
        Self { shared, id }
    }

    /// The stream's identifier.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until bytes may be sent; returns how many, as the peer's window and what waits already
    /// have it.
    ///
    /// # Errors
    /// When the stream or the connection has ended.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let mut state = self.shared.lock();
        if let Some(error) = &state.error {
            return Poll::Ready(Err(error.clone()));
        }
        let window_of_all = state.send_window;
        let Some(stream) = state.streams.get_mut(&self.id) else {
            return Poll::Ready(Err(Error::Ended));
        };
        if let Some(error) = stream.error() {
            return Poll::Ready(Err(error));
        }
        let outgoing = &mut stream.outgoing;
        if outgoing.is_ending() {
            return Poll::Ready(Err(Error::Ended));
        }
        let queued = outgoing.queued as i64;
        let room = (outgoing.window.min(window_of_all).min(QUEUE_MAX as i64) - queued).max(0);
        if room > 0 {
            return Poll::Ready(Ok(room as usize));
        }
        register(&mut outgoing.waker, cx);
        if window_of_all <= 0 {
            state.wait_for_window(self.id);
        }
        Poll::Pending
    }

    /// Queues bytes, whatever waits already: for what has a bound of its own, or what
    /// [`poll_room`](Self::poll_room) has allowed.
    ///
    /// # Errors
    /// When the stream or the connection has ended.
    pub fn queue(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.send(bytes, None)
    }

    /// How many bytes are queued and have no place in a write yet; none once the stream is forgotten.
    pub fn queued(&self) -> usize {
        let state = self.shared.lock();
        let stream = state.streams.get(&self.id);
        stream.map_or(0, |stream| stream.outgoing.queued)
    }

    /// Queues the last bytes, of which there may be none.
    ///
    /// # Errors
    /// When the stream or the connection has ended.
    pub fn finish(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.send(bytes, Some(End::Data))
    }

    /// Ends the stream with trailers.
    ///
    /// # Errors
    /// When the stream or the connection has ended, and [`Error::Head`].
    pub fn finish_with(&mut self, trailers: &HeaderMap) -> Result<(), Error> {
        let block = head::trailers(trailers)?;
        self.send(Bytes::new(), Some(End::Trailers(block)))
    }

    /// Sends a head before all else.
    pub(crate) fn answer(&self, block: Bytes) -> Result<(), Error> {
        self.change(|outgoing| {
            outgoing.head = Some(block);
            Ok(())
        })
    }

    fn send(&mut self, bytes: Bytes, end: Option<End>) -> Result<(), Error> {
        self.change(|outgoing| {
            if outgoing.is_ending() {
                return Err(Error::Ended);
            }
            outgoing.end = end;
            if !bytes.is_empty() {
                outgoing.queued += bytes.len();
                outgoing.queue.push_back(bytes);
            }
            Ok(())
        })
    }

    /// Changes what is to be sent, and has it sent.
    fn change(&self, change: impl FnOnce(&mut Outgoing) -> Result<(), Error>) -> Result<(), Error> {
        {
            let mut state = self.shared.lock();
            if let Some(error) = &state.error {
                return Err(error.clone());
            }
            let stream = state.streams.get_mut(&self.id).ok_or(Error::Ended)?;
            if let Some(error) = stream.error() {
                return Err(error);
            }
            change(&mut stream.outgoing)?;
            state.make_ready(self.id);
        }
        self.shared.readiness.wake();
        Ok(())
    }

    /// Sends all of `bytes`, as fast as the stream's window allows. Dropped, it has sent a part.
    ///
    /// # Errors
    /// When the stream or the connection has ended.
    pub async fn send_all(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = std::future::poll_fn(|cx| self.poll_room(cx)).await?;
            self.queue(bytes.split_to(room.min(bytes.len())))?;
        }
        Ok(())
    }

    /// Waits until the stream is reset, by whomever; `Ok` is the peer's, or this side's own, reason.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, Error>> {
        let mut state = self.shared.lock();
        let error = state.error.clone();
        let Some(stream) = state.streams.get_mut(&self.id) else {
            return Poll::Ready(Err(error.unwrap_or(Error::Ended)));
        };
        match (stream.reset, error) {
            (Some((reason, _)), _) if !stream.is_unserved => Poll::Ready(Ok(reason)),
            (_, Some(error)) => Poll::Ready(Err(error)),
            (Some(_), None) => Poll::Ready(Err(stream.error().unwrap_or(Error::Closed))),
            (None, None) => {
                register(&mut stream.outgoing.waker, cx);
                Poll::Pending
            }
        }
    }

    /// Resets the stream now, whatever waits to be sent.
    pub fn reset(&mut self, reason: Reason) {
        self.shared.lock().reset(self.id, reason);
        self.shared.readiness.wake();
    }

    /// Sends what comes from a socket, until its FIN, which is left to the caller to pass on. What was
    /// queued before goes first. `pace` is how fast it may be.
    ///
    /// Dropped before it is ready, it has sent what it has read, and reads nothing more; whether the
    /// socket has ended meanwhile is what [`unheard_end`](Self::unheard_end) says.
    pub fn send_from<S: Socket + Send + 'static>(
        &mut self,
        socket: Arc<S>,
        observer: Arc<dyn Observer>,
        pace: Option<Pace>,
    ) -> SendFrom<'_> {
        {
            let waker = self.shared.readiness.waker(self.id, Direction::Send);
            let mut state = self.shared.lock();
            if state.error.is_none()
                && let Some(stream) = state.streams.get_mut(&self.id)
            {
                let end = stream.outgoing.unheard.take();
                stream.outgoing.source = Some(Source::new(socket, observer, waker, pace, end));
                state.make_ready(self.id);
            }
        }
        self.shared.readiness.wake();
        SendFrom { stream: self }
    }

    /// How the socket of a dropped [`send_from`](Self::send_from) has ended, if it has: the system tells
    /// of a reset once, and whoever reads the socket next takes it for a FIN.
    pub fn unheard_end(&mut self) -> Option<io::Result<()>> {
        let mut state = self.shared.lock();
        let stream = state.streams.get_mut(&self.id)?;
        stream.outgoing.unheard.take()
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SendStream").field(&self.id).finish()
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        self.shared.lock().drop_handle(self.id);
        self.shared.readiness.wake();
    }
}

/// Why a socket's bytes are sent no more.
#[derive(Debug, thiserror::Error)]
pub enum SendFromError {
    /// The socket failed: usually its peer has reset it.
    #[error("cannot read from the connection")]
    Socket(#[source] io::Error),
    /// The stream or its connection has ended.
    #[error(transparent)]
    Stream(Error),
}

/// Ready at the socket's FIN: see [`SendStream::send_from`].
#[derive(Debug)]
pub struct SendFrom<'a> {
    stream: &'a mut SendStream,
}

impl Future for SendFrom<'_> {
    type Output = Result<(), SendFromError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.stream.shared.lock();
        let error = state.error.clone();
        let Some(stream) = state.streams.get_mut(&self.stream.id) else {
            let error = error.unwrap_or(Error::Ended);
            return Poll::Ready(Err(SendFromError::Stream(error)));
        };
        if let Some(error) = stream.error().or(error) {
            return Poll::Ready(Err(SendFromError::Stream(error)));
        }
        let outgoing = &mut stream.outgoing;
        let ended = outgoing.source.take_if(|source| source.has_ended());
        match ended.and_then(|mut source| source.take_end()) {
            Some(end) => Poll::Ready(end.map_err(SendFromError::Socket)),
            None if outgoing.is_ending() => Poll::Ready(Err(SendFromError::Stream(Error::Ended))),
            None => {
                register(&mut outgoing.waker, cx);
                Poll::Pending
            }
        }
    }
}

impl Drop for SendFrom<'_> {
    fn drop(&mut self) {
        let mut state = self.stream.shared.lock();
        if let Some(stream) = state.streams.get_mut(&self.stream.id) {
            let source = stream.outgoing.source.take();
            stream.outgoing.unheard = source.and_then(|mut source| source.take_end());
        }
    }
}
