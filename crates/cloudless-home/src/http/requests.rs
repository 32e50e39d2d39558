//! Which requests of a connection are under way.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, AnswerError};
use crate::tunnel::Activity;

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct Requests(Arc<Mutex<State>>);

struct State {
    /// Cancelled with the first one.
    begun: CancellationToken,
    under_way: usize,
    /// When one last began, moved on or ended; the beginning of the connection before the first.
    last: Instant,
    /// Whether there are bytes, such as pings, that move no request on.
    is_http2: bool,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            begun: CancellationToken::new(),
            under_way: 0,
            last: Instant::now(),
            is_http2: false,
        })))
    }

    /// Counts a request until the returned value is dropped.
    pub(super) fn begin(&self, version: Version) -> UnderWay {
        let mut state = self.lock();
        state.under_way += 1;
        state.last = Instant::now();
        state.is_http2 = version == Version::HTTP_2;
        state.begun.cancel();
        drop(state);
        UnderWay(self.clone())
    }

    /// Waits for the first one.
    pub(super) async fn begun(&self) {
        let begun = self.lock().begun.clone();
        begun.cancelled().await;
    }

    /// A piece of a request has come, or of an answer been asked for, which is when those before it
    /// are taken.
    pub(super) fn moved(&self) {
        let mut state = self.lock();
        if state.under_way > 0 {
            state.last = Instant::now();
        }
    }

    pub(super) fn is_any_under_way(&self) -> bool {
        self.lock().under_way > 0
    }

    /// Since when the connection is idle, if it is: since the last request if there is none, or
    /// since one moved on. That is any byte of HTTP/1; over HTTP/2 the pings of a visitor who takes
    /// nothing of its answers keep nothing.
    pub(super) fn idle_since(&self, activity: &Activity) -> Instant {
        let state = self.lock();
        match state.under_way > 0 && !state.is_http2 {
            true => activity.last(),
            false => state.last,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is not yet answered to the end.
pub(super) struct UnderWay(Requests);

impl UnderWay {
    /// The request is under way until its answer's body is sent or dropped.
    pub(super) fn until_sent(self, body: Answer) -> CountedBody {
        CountedBody {
            body,
            under_way: self,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way -= 1;
        state.last = Instant::now();
    }
}

/// The body of an answer, which keeps its request counted.
pub(super) struct CountedBody {
    body: Answer,
    under_way: UnderWay,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.under_way.0.moved();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The waits of one connection for servers behind home, which have limits of their own.
pub(crate) struct Waiting(Mutex<Waits>);

struct Waits {
    count: usize,
    last_end: Instant,
}

impl Waiting {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Waits {
            count: 0,
            last_end: Instant::now(),
        })))
    }

    /// Counts a wait until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> WaitingGuard {
        self.lock().count += 1;
        WaitingGuard(self.clone())
    }

    /// When the last one ended; now while there is one.
    pub(super) fn last(&self) -> Instant {
        let waits = self.lock();
        match waits.count {
            0 => waits.last_end,
            _ => Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a server behind home.
pub(crate) struct WaitingGuard(Arc<Waiting>);

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        let mut waits = self.0.lock();
        waits.count -= 1;
        waits.last_end = Instant::now();
    }
}
