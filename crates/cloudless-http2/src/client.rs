//! The end that opens streams.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use tokio::io::{AsyncBufRead, AsyncWrite};

use crate::config::Config;
use crate::driver::Driver;
use crate::error::{Error, Reason, Side};
use crate::head;
use crate::ping::PingPong;
use crate::recv_stream::RecvStream;
use crate::send_stream::SendStream;
use crate::state::{Role, Shared};
use crate::stream::register;

/// Begins a connection over `io`; nothing is sent before it is polled.
pub fn connect<T>(io: T, config: Config) -> (Requests, Connection<T>)
where
    T: AsyncBufRead + AsyncWrite + Unpin,
{
    let shared = Shared::new(config, Role::Client);
    let requests = Requests::new(Arc::clone(&shared));
    let driver = Driver::new(io, shared);
    (requests, Connection { driver })
}

/// The connection itself, which ends with an error at the latest when the peer closes it. When nobody
/// can open streams and none is left, it is closed.
pub struct Connection<T> {
    driver: Driver<T>,
}

impl<T> Connection<T> {
    /// The way to ask whether the peer is there. There is one per connection.
    pub fn ping_pong(&self) -> PingPong {
        PingPong::new(Arc::clone(&self.driver.shared))
    }
}

impl<T: AsyncBufRead + AsyncWrite + Unpin> Future for Connection<T> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(self.driver.poll(cx, |_| false)) {
            Err(Error::Closed) | Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Opens streams on a connection.
pub struct Requests(Arc<Shared>);

impl Requests {
    fn new(shared: Arc<Shared>) -> Self {
        shared.lock().n_openers += 1;
        Self(shared)
    }

    /// How many streams the peer lets this side have open. Whoever opens more has them refused.
    pub fn streams_max(&self) -> usize {
        self.0.lock().peer.streams_max as usize
    }

    /// Opens a stream with this head.
    ///
    /// # Errors
    /// When the connection has ended or the peer takes no more streams, and [`Error::Head`].
    pub fn open(&self, request: &Request<()>) -> Result<(Answer, SendStream), Error> {
        let block = head::request(request)?;
        let id = {
            let mut state = self.0.lock();
            if let Some(error) = &state.error {
                return Err(error.clone());
            }
            if let Some((_, reason)) = state.peer_is_leaving {
                let by = Side::Remote;
                return Err(Error::GoneAway { reason, by });
            }
            let id = state.next_stream;
            // There are 2^30 streams on a connection, and then none (RFC 9113 section 5.1.1).
            state.next_stream =
                id.checked_add(2)
                    .filter(|id| id >> 31 == 0)
                    .ok_or(Error::GoneAway {
                        reason: Reason::NO_ERROR,
                        by: Side::Local,
                    })?;
            let stream = state.open(id);
            stream.n_handles = 2;
            stream.outgoing.head = Some(block);
            state.make_ready(id);
            id
        };
        self.0.readiness.wake();
        let receive = RecvStream::new(Arc::clone(&self.0), id);
        let answer = Answer {
            shared: Arc::clone(&self.0),
            id,
            receive: Some(receive),
        };
        Ok((answer, SendStream::new(Arc::clone(&self.0), id)))
    }
}

impl Clone for Requests {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.0.lock().n_openers -= 1;
        self.0.readiness.wake();
    }
}

/// The head of what the peer answers, and the way to the rest.
#[derive(Debug)]
pub struct Answer {
    shared: Arc<Shared>,
    id: u32,
    receive: Option<RecvStream>,
}

impl Future for Answer {
    type Output = Result<Response<RecvStream>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let head = {
            let mut state = self.shared.lock();
            let error = state.error.clone();
            let Some(stream) = state.streams.get_mut(&self.id) else {
                return Poll::Ready(Err(error.unwrap_or(Error::Ended)));
            };
            match (stream.incoming.head.take(), stream.error().or(error)) {
                (Some(head), _) => head,
                (None, Some(error)) => return Poll::Ready(Err(error)),
                (None, None) => {
                    register(&mut stream.incoming.waker, cx);
                    return Poll::Pending;
                }
            }
        };
        let receive = self.receive.take().ok_or(Error::Ended)?;
        Poll::Ready(Ok(head.map(|()| receive)))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}
