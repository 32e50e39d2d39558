//! What a connection and the handles of its streams share.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::config::Config;
use crate::error::{Error, Reason, Side};
use crate::frame::{self, Kind, PREFACE, WINDOW_DEFAULT, WINDOW_MAX};
use crate::ping::Ping;
use crate::readiness::{Direction, Readiness};
use crate::receive::Parser;
use crate::settings::{self, Peer};
use crate::stream::Stream;

/// What waits to be sent of the connection's own: more than any peer needs at a time, and a bound on
/// what one that reads nothing can have us answer.
const CONTROL_MAX: usize = 64 * 1024;
/// The same for streams that were reset.
const RESETS_MAX: usize = 16 * 1024;

/// Header blocks that may come to nothing on a new connection, for each stream: its head and its
/// trailers, and at most.
const SPARE_BLOCKS: u32 = 100;
const SPARE_BLOCKS_OF_STREAM: u32 = 2;
const SPARE_BLOCKS_MAX: u32 = 32 * 1024;

/// So many turns are kept whether their streams are there or not.
const TURNS_MIN: usize = 64;
/// Less room than this is not worth a WINDOW_UPDATE.
const UPDATE_MIN: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) readiness: Arc<Readiness>,
}

impl Shared {
    pub(crate) fn new(config: Config, role: Role) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(config, role)),
            readiness: Arc::default(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection without its bytes below: everything that is decided by what came and what is asked
/// for.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) role: Role,
    pub(crate) peer: Peer,
    pub(crate) has_peers_settings: bool,
    /// The peer has heard how much it may send on a stream.
    knows_window: bool,
    pub(crate) parser: Parser,
    /// Each frame looks here several times.
    pub(crate) streams: HashMap<u32, Stream, foldhash::fast::RandomState>,
    /// Streams that have something to send, in turns.
    pub(crate) ready: VecDeque<u32>,
    /// Streams whose reader has made room that the peer does not know of.
    pub(crate) updates: VecDeque<u32>,
    pub(crate) resets: VecDeque<(u32, Reason)>,
    /// Frames of the connection's own that are not sent.
    pub(crate) control: Vec<u8>,
    /// What the peer lets this side send on all streams together.
    pub(crate) send_window: i64,
    /// Streams that wait for that.
    pub(crate) windowless: VecDeque<u32>,
    /// What the peer may send on all streams together.
    pub(crate) receive_window: i64,
    /// Streams whose source has to wait.
    pub(crate) paced: BinaryHeap<Reverse<(Instant, u32)>>,
    /// The next stream that a client opens.
    pub(crate) next_stream: u32,
    /// The last stream that the peer has opened.
    pub(crate) last_stream: u32,
    pub(crate) n_open: usize,
    /// Header blocks that may still come to nothing.
    pub(crate) spare_blocks: u32,
    /// Counts what is received at a time, from 1.
    pub(crate) batch: u64,
    /// Streams whose sinks have more of it than was written.
    pub(crate) touched: Vec<u32>,
    /// SETTINGS that came since the last answer to any has left.
    pub(crate) n_settings: u32,
    /// Streams that a server has not been asked for.
    pub(crate) arrivals: VecDeque<(u32, http::Request<()>)>,
    pub(crate) ping: Ping,
    /// The last of our streams that the peer still serves, once it has said so.
    pub(crate) peer_is_leaving: Option<(u32, Reason)>,
    /// The peer was told that no more streams are taken.
    pub(crate) is_leaving: bool,
    /// Whoever can still open streams.
    pub(crate) n_openers: usize,
    /// Why there is no more connection.
    pub(crate) error: Option<Error>,
}

impl State {
    fn new(config: Config, role: Role) -> Self {
        let mut control = Vec::new();
        if role == Role::Client {
            control.extend_from_slice(PREFACE);
        }
        let settings = settings::encode(&config, role == Role::Client);
        frame::push(&mut control, Kind::Settings, 0, 0, &settings);
        // Only the windows of streams bind.
        let more = (WINDOW_MAX as u32 - WINDOW_DEFAULT).to_be_bytes();
        frame::push(&mut control, Kind::WindowUpdate, 0, 0, &more);
        Self {
            parser: Parser::new(role),
            config,
            role,
            peer: Peer::new(),
            has_peers_settings: false,
            knows_window: false,
            streams: HashMap::default(),
            ready: VecDeque::new(),
            updates: VecDeque::new(),
            resets: VecDeque::new(),
            control,
            send_window: WINDOW_DEFAULT.into(),
            windowless: VecDeque::new(),
            receive_window: WINDOW_MAX,
            paced: BinaryHeap::new(),
            next_stream: 1,
            last_stream: 0,
            n_open: 0,
            spare_blocks: SPARE_BLOCKS,
            batch: 0,
            touched: Vec::new(),
            n_settings: 0,
            arrivals: VecDeque::new(),
            ping: Ping::default(),
            peer_is_leaving: None,
            is_leaving: false,
            n_openers: 0,
            error: None,
        }
    }

    /// Opens a stream, of which nobody has a handle yet.
    pub(crate) fn open(&mut self, id: u32) -> &mut Stream {
        self.n_open += 1;
        let spare = self.spare_blocks + SPARE_BLOCKS_OF_STREAM;
        self.spare_blocks = spare.min(SPARE_BLOCKS_MAX);
        let stream = Stream::new(self.peer.window, self.receive_window_of_stream());
        self.streams.entry(id).or_insert(stream)
    }

    /// Until the peer has heard otherwise it may send what every peer may (section 6.9.2).
    fn receive_window_of_stream(&self) -> u32 {
        let window = self.config.stream_window;
        if self.knows_window {
            window
        } else {
            window.max(WINDOW_DEFAULT)
        }
    }

    /// The peer has taken our settings over.
    pub(crate) fn heard_of_window(&mut self) {
        let before = self.receive_window_of_stream();
        self.knows_window = true;
        let less = i64::from(before - self.config.stream_window);
        for stream in self.streams.values_mut() {
            stream.incoming.window -= less;
        }
    }

    /// Gives a stream its turn to send.
    pub(crate) fn make_ready(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.outgoing.is_ready
        {
            stream.outgoing.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Adds a frame of the connection's own.
    pub(crate) fn say(
        &mut self,
        kind: Kind,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> Result<(), Error> {
        if self.control.len() > CONTROL_MAX {
            return Err(Error::connection(Reason::ENHANCE_YOUR_CALM));
        }
        frame::push(&mut self.control, kind, flags, stream, payload);
        Ok(())
    }

    /// Tells the peer that a stream is reset, whether there is one or not.
    pub(crate) fn tell_reset(&mut self, id: u32, reason: Reason) -> Result<(), Error> {
        if self.resets.len() >= RESETS_MAX {
            return Err(Error::connection(Reason::ENHANCE_YOUR_CALM));
        }
        self.resets.push_back((id, reason));
        Ok(())
    }

    /// Resets a stream from this side, at once.
    pub(crate) fn reset(&mut self, id: u32, reason: Reason) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.is_closed() {
            return;
        }
        // The peer has never heard of some.
        let is_known = stream.outgoing.is_known || self.role == Role::Server;
        stream.reset(reason, Side::Local);
        if is_known && let Err(error) = self.tell_reset(id, reason) {
            self.fail(error);
            return;
        }
        self.clear(id);
    }

    /// Forgets a stream that is done with.
    pub(crate) fn clear(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.is_closed() {
            return;
        }
        if std::mem::take(&mut stream.is_counted) {
            self.n_open -= 1;
        }
        if stream.n_handles == 0 {
            self.streams.remove(&id);
            self.forget_turns();
        }
    }

    /// Streams that come and go while nothing can be written leave no turns behind.
    fn forget_turns(&mut self) {
        let enough = 2 * self.streams.len() + TURNS_MIN;
        // Nor room for as many as there were once.
        if self.streams.capacity() > 4 * enough {
            self.streams.shrink_to(enough);
        }
        let streams = &self.streams;
        for turns in [&mut self.ready, &mut self.updates, &mut self.windowless] {
            if turns.len() > enough {
                turns.retain(|id| streams.contains_key(id));
            }
        }
    }

    /// One handle of a stream less.
    pub(crate) fn drop_handle(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.n_handles = stream.n_handles.saturating_sub(1);
        if stream.n_handles > 0 {
            return;
        }
        if stream.is_closed() {
            self.clear(id);
        } else if stream.outgoing.is_ending() && stream.outgoing.is_known
            || self.role == Role::Server
        {
            // What was said goes first.
            stream.is_abandoned = true;
            self.make_ready(id);
        } else {
            self.reset(id, Reason::CANCEL);
        }
    }

    /// A socket may be ready.
    pub(crate) fn woken(&mut self, id: u32, direction: Direction) {
        match direction {
            Direction::Send => self.make_ready(id),
            Direction::Deliver => self.deliver(id),
        }
    }

    /// Gives what waits to the stream's socket.
    pub(crate) fn deliver(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let incoming = &mut stream.incoming;
        let Some(sink) = &mut incoming.sink else {
            return;
        };
        let n = sink.drain(&mut incoming.waiting);
        if sink.has_failed() || (incoming.has_ended && incoming.waiting.is_empty()) {
            incoming.wake();
        }
        self.release(id, n);
    }

    /// A stream's reader has taken so many bytes.
    pub(crate) fn release(&mut self, id: u32, n: usize) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let incoming = &mut stream.incoming;
        let n = n.min(incoming.unreleased);
        incoming.unreleased -= n;
        incoming.released += n;
        // The less the peer has left, the sooner it is told; but not of every few bytes.
        let left = usize::try_from(incoming.window).unwrap_or(0);
        let least = UPDATE_MIN.min(self.config.stream_window as usize / 2);
        let is_due = incoming.released >= (left / 2).max(least).max(1);
        if is_due && !incoming.has_update && !incoming.has_ended {
            incoming.has_update = true;
            self.updates.push_back(id);
        }
    }

    /// Sources whose wait is over have their turn.
    pub(crate) fn take_due(&mut self, now: Instant) {
        while let Some(Reverse((due, id))) = self.paced.peek().copied() {
            if due > now {
                return;
            }
            self.paced.pop();
            self.make_ready(id);
        }
    }

    /// When the next source may have its turn.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.paced.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes no more streams, and says so.
    pub(crate) fn leave(&mut self, reason: Reason) {
        if self.is_leaving {
            return;
        }
        self.say_farewell(reason);
    }

    fn say_farewell(&mut self, reason: Reason) {
        self.is_leaving = true;
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&self.last_stream.to_be_bytes());
        payload[4..].copy_from_slice(&reason.code().to_be_bytes());
        frame::push(&mut self.control, Kind::GoAway, 0, 0, &payload);
    }

    /// What it means that the peer has closed the connection.
    pub(crate) fn closed(&self) -> Error {
        match self.peer_is_leaving {
            Some((_, reason)) if reason != Reason::NO_ERROR => Error::GoneAway {
                reason,
                by: Side::Remote,
            },
            _ => Error::Closed,
        }
    }

    /// Nothing more comes or goes.
    pub(crate) fn fail(&mut self, error: Error) {
        if self.error.is_some() {
            return;
        }
        if let Error::GoneAway {
            reason,
            by: Side::Local,
        } = &error
        {
            self.say_farewell(*reason);
        }
        self.error = Some(error);
        self.ping.wake();
        self.arrivals = VecDeque::new();
        for stream in self.streams.values_mut() {
            stream.outgoing.source = None;
            stream.wake();
        }
    }
}
