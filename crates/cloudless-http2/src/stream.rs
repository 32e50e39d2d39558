//! One stream, as the connection knows it.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::error::{Error, Reason, Side};
use crate::sink::Sink;
use crate::source::Source;
use crate::waiting::Waiting;

/// How the direction to the peer ends.
#[derive(Debug)]
pub(crate) enum End {
    /// END_STREAM on the last DATA.
    Data,
    /// A block of trailers.
    Trailers(Bytes),
}

/// The direction to the peer.
pub(crate) struct Outgoing {
    /// What the peer lets this side send; it may be negative (RFC 9113 section 6.9.2).
    pub(crate) window: i64,
    /// A header block that is not sent yet, and whether it ends the stream.
    pub(crate) head: Option<Bytes>,
    pub(crate) queue: VecDeque<Bytes>,
    pub(crate) queued: usize,
    /// What ends it, once the queue is sent.
    pub(crate) end: Option<End>,
    /// The end was sent.
    pub(crate) has_ended: bool,
    pub(crate) source: Option<Source>,
    /// How a source has ended that was given up before anybody heard of it.
    pub(crate) unheard: Option<io::Result<()>>,
    pub(crate) waker: Option<Waker>,
    /// The stream has its turn already.
    pub(crate) is_ready: bool,
    /// The stream waits for the window of the connection.
    pub(crate) is_windowless: bool,
    /// A head has gone out: the peer knows of the stream.
    pub(crate) is_known: bool,
}

/// The direction from the peer.
pub(crate) struct Incoming {
    /// What the peer may still send.
    pub(crate) window: i64,
    /// What has come and was not released by its reader, in bytes.
    pub(crate) unreleased: usize,
    /// What was released and not told to the peer.
    pub(crate) released: usize,
    pub(crate) has_update: bool,
    pub(crate) waiting: Waiting,
    pub(crate) head: Option<Response<()>>,
    pub(crate) has_head: bool,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) has_ended: bool,
    pub(crate) sink: Option<Sink>,
    /// The last batch of what was received that its sink had some of.
    pub(crate) batch: u64,
    pub(crate) waker: Option<Waker>,
}

pub(crate) struct Stream {
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
    pub(crate) reset: Option<(Reason, Side)>,
    /// The peer has left without a look at it (GOAWAY).
    pub(crate) is_unserved: bool,
    /// Nobody holds it any more: it is reset once all is sent.
    pub(crate) is_abandoned: bool,
    /// Who can still read or write it.
    pub(crate) n_handles: usize,
    /// It counts as open (section 5.1.2).
    pub(crate) is_counted: bool,
}

impl Stream {
    pub(crate) fn new(send_window: u32, receive_window: u32) -> Self {
        Self {
            outgoing: Outgoing {
                window: send_window.into(),
                head: None,
                queue: VecDeque::new(),
                queued: 0,
                end: None,
                has_ended: false,
                source: None,
                unheard: None,
                waker: None,
                is_ready: false,
                is_windowless: false,
                is_known: false,
            },
            incoming: Incoming {
                window: receive_window.into(),
                unreleased: 0,
                released: 0,
                has_update: false,
                waiting: Waiting::default(),
                head: None,
                has_head: false,
                trailers: None,
                has_ended: false,
                sink: None,
                batch: 0,
                waker: None,
            },
            reset: None,
            is_unserved: false,
            is_abandoned: false,
            n_handles: 0,
            is_counted: true,
        }
    }

    /// Whether nothing more is sent or received on it.
    pub(crate) fn is_closed(&self) -> bool {
        self.reset.is_some() || (self.outgoing.has_ended && self.incoming.has_ended)
    }

    /// Why it is of no more use to who writes.
    pub(crate) fn error(&self) -> Option<Error> {
        self.reset.map(|(reason, by)| match self.is_unserved {
            true => Error::GoneAway { reason, by },
            false => Error::Reset { reason, by },
        })
    }

    /// Why it is of no more use to who reads. Of a peer that has said all NO_ERROR says only that it
    /// wants no more (section 8.1).
    pub(crate) fn reading_error(&self) -> Option<Error> {
        match self.reset {
            Some((Reason::NO_ERROR, Side::Remote)) if self.incoming.has_ended => None,
            _ => self.error(),
        }
    }

    /// Ends both directions at once.
    pub(crate) fn reset(&mut self, reason: Reason, by: Side) {
        if self.reset.is_some() {
            return;
        }
        self.reset = Some((reason, by));
        self.stop_sending();
        if self.reading_error().is_some() {
            self.incoming.waiting.clear();
            self.incoming.unreleased = 0;
            self.incoming.trailers = None;
        }
        self.wake();
    }

    fn stop_sending(&mut self) {
        self.outgoing.head = None;
        self.outgoing.queue = VecDeque::new();
        self.outgoing.queued = 0;
        self.outgoing.end = None;
    }

    pub(crate) fn wake(&mut self) {
        for waker in [&mut self.outgoing.waker, &mut self.incoming.waker] {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}

impl Outgoing {
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether the caller has ended it.
    pub(crate) fn is_ending(&self) -> bool {
        self.end.is_some() || self.has_ended
    }

    /// Whether there is anything to be sent, as far as is known without a look at a socket.
    pub(crate) fn wants_turn(&self) -> bool {
        self.head.is_some()
            || !self.queue.is_empty()
            || self.end.is_some()
            || self
                .source
                .as_ref()
                .is_some_and(|source| !source.has_ended())
    }
}

impl Incoming {
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Has whoever polls be woken by the next [`Outgoing::wake`] or [`Incoming::wake`].
pub(crate) fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(registered) => registered.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}
