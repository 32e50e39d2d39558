use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::stream::Shared;

/// With so much no turn is given up for more: bulk gains nothing by that, and pays for the turn.
const ENOUGH: usize = 4 * 1024;

/// Gathers what is written to a [`Stream`](crate::Stream) in one turn of a task.
///
/// HTTP/2 flushes after each frame with data. While there is a cork such flushes do nothing, and the
/// one who has it says when the turn is over. A turn that has written little is sent after the next
/// one, so that others who are ready have their part of the same record, if any come.
pub struct Cork<S: AsyncRead + AsyncWrite + Unpin> {
    connection: Shared<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Cork<S> {
    pub(crate) fn new(connection: Shared<S>) -> Self {
        connection.lock().is_corked = true;
        Self { connection }
    }

    /// Makes a turn of each poll of `work`, and that is the only way in which what writes to the stream
    /// may be polled.
    pub async fn drive<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|cx| self.turn(cx, |cx| work.as_mut().poll(cx))).await
    }

    /// One turn: polls what writes to the stream, and then sends what it has written.
    fn turn<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let polled = poll(cx);
        let mut state = self.connection.lock();
        let unsent = state.unsent();
        if unsent == 0 {
            return polled;
        }
        if polled.is_pending() && state.patience.waits(unsent, ENOUGH) {
            cx.waker().wake_by_ref();
            return polled;
        }
        if let Poll::Ready(Err(error)) = state.poll_send(cx) {
            // Whoever writes or reads next hears it.
            state.broke(&error);
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> fmt::Debug for Cork<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cork").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Cork<S> {
    fn drop(&mut self) {
        self.connection.lock().is_corked = false;
    }
}
