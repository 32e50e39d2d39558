//! The direction from the peer.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cloudless_splice::Socket;
use http::HeaderMap;

use crate::error::Error;
use crate::readiness::Direction;
use crate::sink::{Observer, Sink};
use crate::state::Shared;
use crate::stream::{Stream, register};

/// What is received on one stream. The peer may send as much again as was
/// [released](Self::release).
pub struct RecvStream {
    shared: Arc<Shared>,
    id: u32,
}

/// How far a stream's reader has come.
enum Next {
    Data,
    End,
    Nothing,
}

fn next(stream: &Stream) -> Result<Next, Error> {
    if let Some(error) = stream.reading_error() {
        return Err(error);
    }
    Ok(if !stream.incoming.waiting.is_empty() {
        Next::Data
    } else if stream.incoming.has_ended {
        Next::End
    } else {
        Next::Nothing
    })
}

impl RecvStream {
    pub(crate) fn new(shared: Arc<Shared>, id: u32) -> Self {
        Self { shared, id }
    }

    /// Looks at the stream, once there is something to be seen.
    fn poll_next<R>(
        &self,
        cx: &Context<'_>,
        look: impl FnOnce(&mut Stream, Next) -> R,
    ) -> Poll<Result<R, Error>> {
        let mut state = self.shared.lock();
        let error = state.error.clone();
        let Some(stream) = state.streams.get_mut(&self.id) else {
            return Poll::Ready(Err(error.unwrap_or(Error::Ended)));
        };
        match next(stream) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(Next::Nothing) => match error {
                Some(error) => Poll::Ready(Err(error)),
                None => {
                    register(&mut stream.incoming.waker, cx);
                    Poll::Pending
                }
            },
            Ok(next) => Poll::Ready(Ok(look(stream, next))),
        }
    }

    /// The next bytes; `None` at the end of the stream. They count against the peer until they are
    /// released.
    ///
    /// # Errors
    /// When the stream or the connection has ended otherwise.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.poll_next(cx, |stream, next| match next {
            Next::Data => stream.incoming.waiting.pop(),
            Next::End | Next::Nothing => None,
        })
        .map(Result::transpose)
    }

    /// As [`poll_data`](Self::poll_data).
    ///
    /// # Errors
    /// As there.
    pub async fn data(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// Waits until bytes are there, or the stream has ended, and leaves them where they are.
    ///
    /// # Errors
    /// When the stream or the connection has ended otherwise.
    pub async fn arrival(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_next(cx, |_, _| ())).await
    }

    /// Waits for the end of the stream, whether what came before it was taken or not; returns its
    /// trailers.
    ///
    /// # Errors
    /// When the stream or the connection has ended otherwise.
    pub async fn ended(&self) -> Result<Option<HeaderMap>, Error> {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            let error = state.error.clone();
            let Some(stream) = state.streams.get_mut(&self.id) else {
                return Poll::Ready(Err(error.unwrap_or(Error::Ended)));
            };
            if let Some(error) = stream.reading_error() {
                return Poll::Ready(Err(error));
            }
            let incoming = &mut stream.incoming;
            if incoming.has_ended {
                return Poll::Ready(Ok(incoming.trailers.clone()));
            }
            if let Some(error) = error {
                return Poll::Ready(Err(error));
            }
            register(&mut incoming.waker, cx);
            Poll::Pending
        })
        .await
    }

    /// What the stream ended with; there only at its end.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        let mut state = self.shared.lock();
        let stream = state.streams.get_mut(&self.id)?;
        stream.incoming.trailers.take()
    }

    /// So many bytes that were taken are done with.
    pub fn release(&mut self, n: usize) {
        let has_update = {
            let mut state = self.shared.lock();
            state.release(self.id, n);
            !state.updates.is_empty()
        };
        if has_update {
            self.shared.readiness.wake();
        }
    }

    /// Bytes that have come and were not released.
    pub fn unreleased(&self) -> usize {
        let state = self.shared.lock();
        let stream = state.streams.get(&self.id);
        stream.map_or(0, |stream| stream.incoming.unreleased)
    }

    /// Whether the socket of a [delivery](Self::deliver_to) that is under way has failed, of which the
    /// delivery itself may have to tell yet. The system tells of a reset once: whoever reads such a
    /// socket takes it for a FIN, and has to ask here before it passes one on.
    pub fn has_failed_to_deliver(&self) -> bool {
        let state = self.shared.lock();
        let stream = state.streams.get(&self.id);
        let sink = stream.and_then(|stream| stream.incoming.sink.as_ref());
        sink.is_some_and(Sink::has_failed)
    }

    /// Writes what comes to a socket, until the end of the stream, which is left to the caller to pass
    /// on; what was there before, too. Bytes are released when the socket has taken them.
    ///
    /// A stream is delivered to one socket at a time: the last delivery has to be dropped before.
    ///
    /// What has come with the end of the stream is written even if the connection fails meanwhile.
    /// Dropped before it is ready, it writes nothing more, and what the socket has not taken is there
    /// to be read.
    pub fn deliver_to<S: Socket + Send + 'static>(
        &self,
        socket: Arc<S>,
        observer: Arc<dyn Observer>,
    ) -> Delivery {
        let waker = self.shared.readiness.waker(self.id, Direction::Deliver);
        let mut state = self.shared.lock();
        if let Some(stream) = state.streams.get_mut(&self.id) {
            stream.incoming.sink = Some(Sink::new(socket, observer, waker));
            state.deliver(self.id);
            if !state.updates.is_empty() {
                self.shared.readiness.wake();
            }
        }
        Delivery {
            shared: Arc::clone(&self.shared),
            id: self.id,
        }
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("RecvStream").field(&self.id).finish()
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.shared.lock().drop_handle(self.id);
        self.shared.readiness.wake();
    }
}

/// Why what a stream brings is delivered no more.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The socket failed: usually its peer has reset it.
    #[error("cannot write to the connection")]
    Socket(#[source] io::Error),
    /// The stream or its connection has ended.
    #[error(transparent)]
    Stream(Error),
}

/// Ready once all has been written: see [`RecvStream::deliver_to`].
pub struct Delivery {
    shared: Arc<Shared>,
    id: u32,
}

impl Future for Delivery {
    type Output = Result<(), DeliveryError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        let error = state.error.clone();
        let Some(stream) = state.streams.get_mut(&self.id) else {
            let error = error.unwrap_or(Error::Ended);
            return Poll::Ready(Err(DeliveryError::Stream(error)));
        };
        if let Some(error) = stream.reading_error() {
            return Poll::Ready(Err(DeliveryError::Stream(error)));
        }
        let incoming = &mut stream.incoming;
        if let Some(error) = incoming.sink.as_mut().and_then(Sink::take_error) {
            return Poll::Ready(Err(DeliveryError::Socket(error)));
        }
        if let Some(sink) = incoming.sink.as_mut().filter(|_| error.is_some()) {
            // Nobody drives it any more, and what has come is still the visitor's.
            sink.wake_instead(cx.waker());
            sink.drain(&mut incoming.waiting);
            if let Some(error) = sink.take_error() {
                return Poll::Ready(Err(DeliveryError::Socket(error)));
            }
        }
        if incoming.has_ended && incoming.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = error.filter(|_| !incoming.has_ended) {
            return Poll::Ready(Err(DeliveryError::Stream(error)));
        }
        register(&mut incoming.waker, cx);
        Poll::Pending
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Delivery").field(&self.id).finish()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(stream) = state.streams.get_mut(&self.id) {
            stream.incoming.sink = None;
        }
    }
}
