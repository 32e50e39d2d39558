//! The body of a request, and what is left of it when there is an answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

/// Of a body that nobody wants so much is read and thrown away: the largest card.
const REST_MAX: usize = 10 * 1024 * 1024;

/// A body that goes to its [`Rest`] when whoever reads it stops before its end.
pub(crate) struct Received {
    /// Always there, but while it is dropped.
    body: Option<Incoming>,
    rest: Rest,
}

impl Received {
    pub(super) fn new(body: Incoming, rest: &Rest) -> Self {
        Self {
            body: Some(body),
            rest: rest.clone(),
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        *self.rest.lock() = self.body.take().filter(|body| !body.is_end_stream());
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

/// What nobody has read of a body.
#[derive(Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Incoming>>>);

impl Rest {
    /// Reads it to its end, if that comes within `limit`; says whether it did, so that the next request
    /// can follow on the same HTTP/1 connection.
    ///
    /// Many clients send a body right after the head, and take it for an error of the network if the
    /// connection ends before they are done: with an answer that asks for a password, say.
    pub(super) async fn discard(&self, limit: Duration) -> bool {
        let rest = self.lock().take();
        let Some(mut body) = rest else {
            return true;
        };
        let mut left = REST_MAX;
        let to_its_end = async {
            if usize::try_from(body.size_hint().lower()).map_or(true, |len| len > left) {
                return false;
            }
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    return false;
                };
                let len = frame.data_ref().map_or(0, Bytes::len);
                let Some(less) = left.checked_sub(len) else {
                    return false;
                };
                left = less;
            }
            true
        };
        timeout(limit, to_its_end).await.unwrap_or(false)
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
