//! PING (RFC 9113 section 6.7): one at a time, and its answer.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::Error;
use crate::frame::Kind;
use crate::state::Shared;
use crate::stream::register;

#[derive(Debug, Default)]
pub(crate) struct Ping {
    /// Counts them, and is what they carry.
    number: u64,
    is_on_its_way: bool,
    is_answered: bool,
    waker: Option<Waker>,
}

impl Ping {
    /// An answer has come.
    pub(crate) fn answered(&mut self, payload: [u8; 8]) {
        if self.is_on_its_way && payload == self.number.to_be_bytes() {
            self.is_on_its_way = false;
            self.is_answered = true;
            self.wake();
        }
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Asks the peer for a sign of life. It works only while the connection is polled.
pub struct PingPong(Arc<Shared>);

impl PingPong {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Sends a PING.
    ///
    /// # Errors
    /// [`Error::Pinging`] while the last one is not answered, and those of the connection.
    pub fn send(&mut self) -> Result<(), Error> {
        let mut state = self.0.lock();
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        if state.ping.is_on_its_way {
            return Err(Error::Pinging);
        }
        state.ping.number += 1;
        state.ping.is_on_its_way = true;
        state.ping.is_answered = false;
        let payload = state.ping.number.to_be_bytes();
        state.say(Kind::Ping, 0, 0, &payload)?;
        drop(state);
        self.0.readiness.wake();
        Ok(())
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.0.lock();
        if std::mem::take(&mut state.ping.is_answered) {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &state.error {
            return Poll::Ready(Err(error.clone()));
        }
        register(&mut state.ping.waker, cx);
        Poll::Pending
    }
}

impl std::fmt::Debug for PingPong {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PingPong").finish_non_exhaustive()
    }
}
