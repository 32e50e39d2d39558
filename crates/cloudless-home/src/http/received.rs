//! The body of a request, and what is left of it when there is an answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::Answer;
use super::requests::Requests;

/// Of a body that nobody wants so much is read and thrown away: the largest card.
const REST_MAX: usize = 10 * 1024 * 1024;
/// A piece of it counts for no less, however short: each is a step of work.
const PIECE_MIN: usize = 1024;

/// A body that is left behind as a [`Rest`] when whoever reads it stops before its end.
pub(crate) struct Received {
    /// `None` for one that is empty, and while it is dropped.
    body: Option<Incoming>,
    /// The client sends it, or will have to be asked for it.
    is_coming: bool,
    rest: Rest,
    /// Hears of each piece.
    requests: Option<Requests>,
}

impl Received {
    /// The body of a request that has none.
    pub(crate) fn empty() -> Self {
        Self {
            body: None,
            is_coming: false,
            rest: Rest(Arc::new(Mutex::new(State::Done))),
            requests: None,
        }
    }

    /// A request with such a body, and what will be left of it.
    pub(super) fn of(request: Request<Incoming>, requests: &Requests) -> (Request<Self>, Rest) {
        let expected = request.headers().get(EXPECT);
        // RFC 9110 section 10.1.1: then it comes once it is asked for, which HTTP/1.0 does not know.
        let comes_unasked = request.version() < Version::HTTP_11
            || expected.is_none_or(|it| !it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let rest = Rest(Arc::new(Mutex::new(match request.body().is_end_stream() {
            true => State::Done,
            false => State::BeingRead,
        })));
        let receive = |body| Self {
            body: Some(body),
            is_coming: comes_unasked,
            rest: rest.clone(),
            requests: Some(requests.clone()),
        };
        (request.map(receive), rest)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let mut state = self.rest.lock();
        if matches!(*state, State::BeingRead)
            && let Some(body) = self.body.take()
        {
            *state = match self.is_coming {
                true => State::Left(body),
                false => State::Unasked,
            };
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        this.is_coming = true;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(requests)) = (&polled, &this.requests)
            && frame.data_ref().is_some_and(|it| !it.is_empty())
        {
            requests.moved();
        }
        if matches!(polled, Poll::Ready(None)) || body.is_end_stream() {
            *this.rest.lock() = State::Done;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// What nobody has read of a body.
#[derive(Clone)]
pub(super) struct Rest(Arc<Mutex<State>>);

enum State {
    BeingRead,
    Done,
    Left(Incoming),
    /// Nobody has asked the client for it.
    Unasked,
}

impl Rest {
    /// Whether the body was read to its end.
    pub(super) fn is_done(&self) -> bool {
        matches!(*self.lock(), State::Done)
    }

    /// Reads it to its end, unless nothing comes for so long; says whether it did, so that the next
    /// request can follow on the same HTTP/1 connection.
    ///
    /// Many clients send a body right after the head, and take it for an error of the network if the
    /// connection, or the stream of HTTP/2, ends before they are done: with an answer that asks for a
    /// password, say.
    pub(super) async fn discard(&self, silence: Duration, requests: &Requests) -> bool {
        if self.is_done() {
            return true;
        }
        let left = std::mem::replace(&mut *self.lock(), State::BeingRead);
        let State::Left(mut body) = left else {
            return false;
        };
        let mut room = REST_MAX;
        if usize::try_from(body.size_hint().lower()).map_or(true, |len| len > room) {
            return false;
        }
        loop {
            let frame = match timeout(silence, body.frame()).await {
                Ok(None) => return true,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) | Err(_) => return false,
            };
            let len = frame.data_ref().map_or(0, Bytes::len);
            if len > 0 {
                requests.moved();
            }
            let Some(less) = room.checked_sub(len.max(PIECE_MIN)) else {
                return false;
            };
            room = less;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a client may be silent in a body that an answer has not waited for, where others may be
/// for so long. Whoever was waited for in vain is not waited for again, and a server's answer waits
/// for nobody.
pub(super) fn patience(answer: &Response<Answer>, silence: Duration) -> Duration {
    let is_own = matches!(answer.body(), Answer::CardDav(_));
    let is_last = answer.headers().contains_key(CONNECTION);
    match is_own && !is_last && answer.status() != StatusCode::REQUEST_TIMEOUT {
        true => silence,
        false => Duration::ZERO,
    }
}
