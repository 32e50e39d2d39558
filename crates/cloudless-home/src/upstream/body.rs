//! Bodies on their way to a server behind home and back: piece by piece, as the reader takes them.
//!
//! Trailer fields end here, in both directions (RFC 9110 section 6.5.1): nobody has looked at them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::places::Place;
use super::server::Failures;
use super::stay::{Polled, Stay};
use crate::http::{Received, Waiting, WaitingGuard};

/// Why an answer broke off. The visitor's connection is reset then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamBodyError {
    /// The server reset it, or what it sent is no HTTP.
    #[error("the server's answer broke off")]
    Broken(#[source] hyper::Error),
    /// No byte came for too long.
    #[error("the server sent nothing for {0:?} in the middle of an answer")]
    Silent(Duration),
    /// The visitor took nothing.
    #[error("the answer was not taken, and others waited for the server")]
    Stalled,
}

/// The body of a server's answer.
pub(crate) struct UpstreamBody {
    /// Has the body. It is left when that is at its end, so that one that is sent slowly, or never,
    /// keeps nobody from the server.
    place: Place,
    is_over: bool,
    idle: Duration,
    /// Runs while the server is waited for.
    silence: Option<Silence>,
    waiting: Arc<Waiting>,
    failures: Failures,
}

struct Silence {
    deadline: Pin<Box<Sleep>>,
    _waiting: WaitingGuard,
}

impl UpstreamBody {
    pub(super) fn new(
        body: Incoming,
        idle: Duration,
        waiting: Arc<Waiting>,
        failures: Failures,
        place: Place,
    ) -> Self {
        let is_empty = body.is_end_stream();
        place.stay().answer(body);
        let mut answer = Self {
            place,
            is_over: false,
            idle,
            silence: None,
            waiting,
            failures,
        };
        if is_empty {
            answer.end();
        }
        answer
    }

    fn end(&mut self) {
        self.silence = None;
        self.is_over = true;
        self.place.leave();
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let this = &mut *self;
        loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            let Some(Polled { frame, is_last }) = this.place.stay().poll_answer(cx) else {
                this.end();
                return Poll::Ready(Some(Err(UpstreamBodyError::Stalled)));
            };
            if frame.is_ready() {
                this.silence = None;
            }
            if is_last {
                this.end();
            }
            match frame {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Ok(_trailers))) => {}
                Poll::Ready(Some(Err(error))) => {
                    let error = UpstreamBodyError::Broken(error);
                    this.failures.note(&error);
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let (idle, waiting) = (this.idle, &this.waiting);
                    let silence = this.silence.get_or_insert_with(|| Silence {
                        deadline: Box::pin(sleep(idle)),
                        _waiting: waiting.begin(),
                    });
                    ready!(silence.deadline.as_mut().poll(cx));
                    this.end();
                    let error = UpstreamBodyError::Silent(idle);
                    this.failures.note(&error);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_over {
            true => SizeHint::with_exact(0),
            false => self.place.stay().size_hint(),
        }
    }
}

/// The body of a visitor's request, and how far it is.
pub(super) struct RequestBody {
    body: Received,
    stay: Arc<Stay>,
    /// There once the visitor was waited for.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    progress: watch::Sender<(Turn, Instant)>,
}

/// Why a request breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the visitor's request broke off")]
    Broken(#[source] hyper::Error),
    #[error("the visitor sent too little, and others waited for the server")]
    Stalled,
}

/// Who has to do something before an answer can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The visitor has to send more of the body.
    Visitor,
    /// The server has to take what is there.
    Server,
    /// The server has all and has to answer.
    Answer,
    /// The visitor's body broke off.
    Broken,
}

/// How far a visitor's body is: whose turn it is, and since when. Who waits is woken when it is another
/// one's turn, not for each piece.
pub(super) type Progress = watch::Receiver<(Turn, Instant)>;

impl RequestBody {
    pub(super) fn new(body: Received, place: &Place) -> (Self, Progress) {
        let turn = match body.is_end_stream() {
            false => Turn::Server,
            true => Turn::Answer,
        };
        let (sender, progress) = watch::channel((turn, Instant::now()));
        let body = Self {
            body,
            stay: place.stay().clone(),
            cut: None,
            progress: sender,
        };
        (body, progress)
    }

    fn turn(&self, turn: Turn) {
        self.progress.send_if_modified(|progress| {
            let is_another = progress.0 != turn;
            *progress = (turn, Instant::now());
            is_another
        });
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // A server that has answered may want no more of it.
        self.stay.requested(0);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        loop {
            let polled = Pin::new(&mut self.body).poll_frame(cx);
            let is_end = self.body.is_end_stream();
            match polled {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    self.stay.requested(frame.data_ref().map_or(0, Bytes::len));
                    self.turn(if is_end { Turn::Answer } else { Turn::Server });
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Ok(_trailers))) => {}
                Poll::Ready(Some(Err(error))) => {
                    self.turn(Turn::Broken);
                    return Poll::Ready(Some(Err(RequestBodyError::Broken(error))));
                }
                Poll::Ready(None) => {
                    self.stay.requested(0);
                    self.turn(Turn::Answer);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    // A poll that finds the same changes nothing: the time since counts.
                    if self.progress.borrow().0 != Turn::Visitor {
                        self.turn(Turn::Visitor);
                    }
                    let this = &mut *self;
                    this.stay.wait_for_request();
                    let token = this.stay.token();
                    let cut = this
                        .cut
                        .get_or_insert_with(|| Box::pin(token.clone().cancelled_owned()));
                    ready!(cut.as_mut().poll(cx));
                    self.turn(Turn::Broken);
                    return Poll::Ready(Some(Err(RequestBodyError::Stalled)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
