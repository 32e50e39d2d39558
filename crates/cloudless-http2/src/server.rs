//! The end at which streams arrive.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use http::{Request, Response};
use tokio::io::{AsyncBufRead, AsyncWrite};

use crate::config::Config;
use crate::driver::Driver;
use crate::error::{Error, Reason};
use crate::head;
use crate::ping::PingPong;
use crate::recv_stream::RecvStream;
use crate::send_stream::SendStream;
use crate::state::{Role, Shared};

/// Begins a connection over `io`; nothing is sent before it is polled.
pub fn accept<T>(io: T, config: Config) -> Connection<T>
where
    T: AsyncBufRead + AsyncWrite + Unpin,
{
    let shared = Shared::new(config, Role::Server);
    let driver = Driver::new(io, shared);
    Connection { driver }
}

/// A connection, on which nothing moves but while its [next stream](Self::next) is waited for.
pub struct Connection<T> {
    driver: Driver<T>,
}

/// A stream that the peer has opened, and the way to answer it.
pub type Arrival = (Request<RecvStream>, Respond);

impl<T> Connection<T> {
    /// The way to ask whether the peer is there. There is one per connection.
    pub fn ping_pong(&self) -> PingPong {
        PingPong::new(Arc::clone(&self.driver.shared))
    }

    /// Takes no more streams, and says so; those that are open go on.
    pub fn leave(&mut self) {
        self.driver.shared.lock().leave(Reason::NO_ERROR);
        self.driver.shared.readiness.wake();
    }

    /// How many streams are open.
    pub fn n_streams(&self) -> usize {
        self.driver.shared.lock().n_open
    }
}

impl<T: AsyncBufRead + AsyncWrite + Unpin> Connection<T> {
    /// Whether anything that was said has not left.
    pub fn has_unsent(&self) -> bool {
        self.driver.has_unsent()
    }

    /// The next stream that the peer opens. May be dropped and called again.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn next(&mut self) -> Result<Arrival, Error> {
        loop {
            let has_arrival = |state: &mut crate::state::State| !state.arrivals.is_empty();
            poll_fn(|cx| self.driver.poll(cx, has_arrival)).await?;
            let shared = &self.driver.shared;
            let mut state = shared.lock();
            let Some((id, request)) = state.arrivals.pop_front() else {
                continue;
            };
            let Some(stream) = state.streams.get_mut(&id) else {
                continue;
            };
            stream.n_handles = 2;
            drop(state);
            let receive = RecvStream::new(Arc::clone(shared), id);
            let send = SendStream::new(Arc::clone(shared), id);
            return Ok((request.map(|()| receive), Respond(send)));
        }
    }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Answers a stream. Dropped with the rest of it, it resets the stream.
#[derive(Debug)]
pub struct Respond(SendStream);

impl Respond {
    /// Answers with this head; the rest of the answer follows.
    ///
    /// # Errors
    /// When the stream or the connection has ended, and [`Error::Head`].
    pub fn answer(self, response: &Response<()>) -> Result<SendStream, Error> {
        self.0.answer(head::response(response)?)?;
        Ok(self.0)
    }

    /// Resets the stream.
    pub fn reset(mut self, reason: Reason) {
        self.0.reset(reason);
    }
}
