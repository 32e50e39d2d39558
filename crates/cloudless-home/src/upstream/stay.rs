//! How long a request that has a place at a server has waited for its visitor, and the cut that ends
//! it.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes a second of a visitor that keeps up.
const PACE: u32 = 1024;

/// A request at its place, until the server has said all.
pub(super) struct Stay {
    state: Mutex<State>,
    cut: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Of the request, and of the answer.
    sending: Lag,
    taking: Lag,
    /// Here and not with who sends it on, so that a cut ends it whether or not the visitor ever
    /// takes another byte.
    answer: Option<Incoming>,
    /// Whoever waits for the server to go on with it.
    taker: Option<Waker>,
    /// Bytes of the answer that the visitor has yet to take.
    handed_out: usize,
}

/// What a poll of an answer has brought, and whether nothing follows.
pub(super) struct Polled {
    pub(super) frame: Poll<Option<Result<Frame<Bytes>, hyper::Error>>>,
    pub(super) is_last: bool,
}

impl Stay {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            cut: CancellationToken::new(),
        }
    }

    /// The visitor has to send more of its request.
    pub(super) fn wait_for_request(&self) {
        self.lock().sending.wait();
    }

    /// So many bytes of the request have come.
    pub(super) fn requested(&self, bytes: usize) {
        self.lock().sending.moved(bytes);
    }

    /// The server has begun to answer: the visitor has to take that.
    pub(super) fn answer(&self, body: Incoming) {
        let mut state = self.lock();
        state.taking.wait();
        if !self.cut.is_cancelled() {
            state.answer = Some(body);
        }
    }

    /// Asks for the next piece of the answer, which means that the visitor has taken the last one;
    /// `None` if it is over.
    pub(super) fn poll_answer(&self, cx: &mut Context<'_>) -> Option<Polled> {
        let mut state = self.lock();
        let handed_out = std::mem::take(&mut state.handed_out);
        state.taking.moved(handed_out);
        state.taker = None;
        let body = state.answer.as_mut()?;
        let frame = Pin::new(&mut *body).poll_frame(cx);
        let is_last = match &frame {
            Poll::Ready(Some(Ok(_))) => body.is_end_stream(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                state.handed_out = frame.data_ref().map_or(0, Bytes::len);
                state.taking.wait();
            }
            Poll::Ready(_) => {}
            Poll::Pending => state.taker = Some(cx.waker().clone()),
        }
        Some(Polled { frame, is_last })
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let state = self.lock();
        state
            .answer
            .as_ref()
            .map(Body::size_hint)
            .unwrap_or_default()
    }

    /// How far the visitor is behind; `None` while it is not the one who is waited for.
    pub(super) fn lag(&self) -> Option<Duration> {
        let state = self.lock();
        state.taking.get().max(state.sending.get())
    }

    /// Ends the request, at the server at once.
    pub(super) fn cut(&self) {
        self.cut.cancel();
        self.end();
    }

    /// Is done when it is cut.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.cut
    }

    /// Drops what is left of the answer, which ends its connection to the server.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        let (answer, taker) = (state.answer.take(), state.taker.take());
        drop(state);
        drop(answer);
        // It may have caught up just now, and hears of the end.
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that a visitor has been waited for, less what the bytes that it moved may take. So pieces
/// that are too small and too far between add up.
#[derive(Default)]
struct Lag {
    behind: Duration,
    /// When the wait under way began.
    since: Option<Instant>,
}

impl Lag {
    fn wait(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn moved(&mut self, bytes: usize) {
        let waited = self.since.take().map_or(Duration::ZERO, |it| it.elapsed());
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = Duration::from_secs(bytes) / PACE;
        self.behind = (self.behind + waited).saturating_sub(earned);
    }

    fn get(&self) -> Option<Duration> {
        self.since.map(|since| self.behind + since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_drops_adds_up() {
        let stay = Stay::new();
        for _ in 0..9 {
            stay.wait_for_request();
            advance(2 * SECOND).await;
            stay.requested(1);
        }
        assert_eq!(stay.lag(), None, "it is the server's turn");
        advance(60 * SECOND).await;
        stay.wait_for_request();
        let lag = stay.lag().unwrap();
        assert!(lag > 17 * SECOND && lag < 18 * SECOND, "{lag:?}");
    }

    /// A server may begin to answer before it has the request.
    #[tokio::test(start_paused = true)]
    async fn a_request_in_drops_is_behind_beside_an_answer_as_well() {
        let stay = Stay::new();
        stay.wait_for_request();
        stay.lock().taking.wait();
        advance(SECOND).await;
        stay.lock().taking.moved(10_000);
        assert_eq!(stay.lag(), Some(SECOND));
        advance(SECOND).await;
        stay.requested(1);
        assert_eq!(stay.lag(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_up_is_never_behind() {
        let stay = Stay::new();
        for _ in 0..100 {
            stay.wait_for_request();
            advance(SECOND).await;
            stay.requested(2048);
        }
        stay.wait_for_request();
        assert_eq!(stay.lag(), Some(Duration::ZERO));
    }
}
