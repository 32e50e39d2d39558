//! Moves a visitor's bytes between its socket and its channel.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use cloudless_splice::Pace;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::channel::{Channel, Received, Receiver, Sender};
use crate::activity::Activity;
use crate::budget::Share;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::socket;
use crate::status::Visit;

const READ_LEN: usize = 64 * 1024;
/// A read that fills less of its buffer is copied.
const COPY_MAX: usize = READ_LEN / 4;
const SLICES_MAX: usize = 32;
/// What may wait for one visitor before its home has to wait for it too.
///
/// `russh` lets a home send on as soon as its bytes have arrived, whether anybody has taken them or
/// not, so that a channel's window holds nothing back. Only the connection as a whole can, with all of
/// its visitors.
const WAITING_MAX: usize = 16 * 1024 * 1024;
/// A visitor that is behind by so much has to take as many bytes in this time, or goes: it holds the
/// others up.
const PACE: Duration = Duration::from_secs(2);
const PACE_LEN: usize = 512 * 1024;

/// A visitor's channel, once the home has said something on it or the visitor more.
pub(crate) struct Stream {
    channel: Channel,
    first: Option<Received>,
    share: Share,
}

impl Stream {
    pub(super) fn new(channel: Channel, first: Option<Received>) -> Self {
        let share = channel.session().budget.open();
        Self {
            channel,
            first,
            share,
        }
    }

    /// The session that the visitor is served by.
    pub(crate) fn session(&self) -> &crate::session::Session {
        self.channel.session()
    }
}

/// Moves bytes both ways until the home has closed the channel, or one side or the relay cuts the
/// other; or until `unbound`, the home's loss of the name. EOF and FIN become each other.
pub(crate) async fn pump(
    relay: &Relay,
    visitor: TcpStream,
    stream: Stream,
    visit: &Visit,
    unbound: impl Future<Output = ()>,
) {
    let Stream {
        mut channel,
        first,
        share,
    } = stream;
    let timings = relay.config().timings.clone();
    let closed = channel.session().closed.clone();
    let shared = Shared {
        visitor: &visitor,
        activity: Activity::new(),
        visit,
    };
    let (receiver, sender) = channel.halves();
    let up = up(&shared, sender);
    let down = Down {
        shared: &shared,
        receiver,
        share: &share,
        waiting: VecDeque::new(),
        len: 0,
        n_written: 0,
    };
    let outcome = tokio::select! {
        // First: its session may end because the name was lost.
        biased;
        () = unbound => Err(Cut::Unbound),
        outcome = down.run(first) => outcome,
        cut = up => Err(cut),
        () = shared.activity.silent(&timings, &relay.draining) => Err(Cut::Silent),
        () = closed.cancelled() => Err(Cut::Session),
    };
    match outcome {
        Ok(()) => {
            channel.closed();
            socket::close(visitor, b"").await;
        }
        Err(cut) => {
            tracing::debug!(?cut, "A visitor was cut");
            if let Some(outcome) = cut.outcome() {
                relay.counters.count(outcome);
            }
            if matches!(cut, Cut::Home) {
                channel.closed();
            }
            socket::reset(visitor);
        }
    }
}

/// What the two directions of a visitor share.
struct Shared<'a> {
    visitor: &'a TcpStream,
    activity: Activity,
    visit: &'a Visit,
}

/// Why a visitor is cut before the home has closed its channel.
#[derive(Debug)]
enum Cut {
    /// Too many bytes wait for a visitor that does not read, or reads too slowly.
    Evicted,
    /// The home has closed the channel before it has said all.
    Home,
    /// The connection to the home is gone.
    Session,
    /// No byte moved for too long.
    Silent,
    /// The name is not the home's any more.
    Unbound,
    /// The visitor's socket failed.
    Visitor(#[expect(dead_code, reason = "read in the log, through Debug")] io::Error),
}

impl Cut {
    /// What it is counted as, unless the visitor has ended it itself.
    fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Evicted => Some(Outcome::VisitorStalled),
            Self::Home => Some(Outcome::VisitorCut),
            Self::Session => Some(Outcome::VisitorTunnelLost),
            Self::Silent => Some(Outcome::VisitorSilent),
            Self::Unbound => Some(Outcome::VisitorUnbound),
            Self::Visitor(_) => None,
        }
    }
}

/// The direction from the visitor to the home, which ends only when something fails.
async fn up(shared: &Shared<'_>, mut sender: Sender<'_>) -> Cut {
    let Shared {
        visitor,
        activity,
        visit,
    } = shared;
    let mut pace = Pace::on_leg();
    loop {
        if let Err(error) = visitor.readable().await {
            return Cut::Visitor(error);
        }
        // The buffer exists only while there is something to read: an idle visitor holds none.
        let mut buffer = BytesMut::with_capacity(READ_LEN);
        let n = match visitor.try_read_buf(&mut buffer) {
            Ok(0) => {
                if sender.finish().await.is_err() {
                    return Cut::Session;
                }
                activity.half_closed();
                return pending().await;
            }
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Cut::Visitor(error),
        };
        let bytes = if n <= COPY_MAX {
            Bytes::copy_from_slice(&buffer)
        } else {
            buffer.freeze()
        };
        if sender.send(bytes).await.is_err() {
            return Cut::Session;
        }
        visit.moved_up(n as u64);
        activity.moved();
        pace.moved(n as u64).await;
    }
}

/// The direction from the home to the visitor. All that has arrived is taken at once, because the
/// connection waits for whoever takes nothing, with all of its visitors.
struct Down<'a> {
    shared: &'a Shared<'a>,
    receiver: Receiver<'a>,
    share: &'a Share,
    waiting: VecDeque<Chunk>,
    /// Of what is waiting.
    len: usize,
    /// Since the pace was looked at.
    n_written: usize,
}

struct Chunk {
    bytes: Bytes,
    /// Its length when it arrived.
    len: usize,
}

impl Down<'_> {
    /// Moves all, `first` before the rest, until the home has closed the channel.
    async fn run(mut self, first: Option<Received>) -> Result<(), Cut> {
        let mut has_ended = false;
        if let Some(first) = first {
            has_ended = self.take(first)?;
        }
        let mut look = Instant::now() + PACE;
        loop {
            self.write()?;
            if has_ended && self.waiting.is_empty() {
                return self.finish().await;
            }
            let is_behind = self.len >= WAITING_MAX;
            let (visitor, share) = (self.shared.visitor, self.share);
            tokio::select! {
                ready = visitor.writable(), if !self.waiting.is_empty() => {
                    ready.map_err(Cut::Visitor)?;
                }
                received = self.receiver.receive(), if !has_ended && !is_behind => {
                    has_ended = self.take(received)?;
                }
                () = share.evicted() => return Err(Cut::Evicted),
                () = sleep_until(look), if !self.waiting.is_empty() => {
                    if is_behind && self.n_written < PACE_LEN {
                        return Err(Cut::Evicted);
                    }
                    self.n_written = 0;
                    look = Instant::now() + PACE;
                }
            }
        }
    }

    /// Returns whether the home has said all.
    fn take(&mut self, received: Received) -> Result<bool, Cut> {
        match received {
            Received::Bytes(bytes) if bytes.is_empty() => Ok(false),
            Received::Bytes(bytes) => {
                let len = bytes.len();
                self.share.add(len);
                self.len += len;
                self.waiting.push_back(Chunk { bytes, len });
                Ok(false)
            }
            Received::Eof => Ok(true),
            Received::Closed => Err(Cut::Home),
        }
    }

    /// Writes what the socket takes.
    fn write(&mut self) -> Result<(), Cut> {
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n_slices = self.waiting.len().min(SLICES_MAX);
            for (slice, chunk) in slices.iter_mut().zip(&self.waiting) {
                *slice = IoSlice::new(&chunk.bytes);
            }
            let n = match self.shared.visitor.try_write_vectored(&slices[..n_slices]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Cut::Visitor(error)),
            };
            self.advance(n);
            self.shared.visit.moved_down(n as u64);
            self.shared.activity.moved();
        }
        Ok(())
    }

    fn advance(&mut self, mut n: usize) {
        self.len -= n;
        self.n_written += n;
        while let Some(chunk) = self.waiting.front_mut() {
            let step = n.min(chunk.bytes.len());
            chunk.bytes.advance(step);
            n -= step;
            if !chunk.bytes.is_empty() {
                return;
            }
            self.share.subtract(chunk.len);
            self.waiting.pop_front();
        }
    }

    /// Passes the end on, and waits until the home closes, which it does when the visitor has said all
    /// or nobody listens to it any more.
    async fn finish(mut self) -> Result<(), Cut> {
        socket::finish(self.shared.visitor).map_err(Cut::Visitor)?;
        self.shared.activity.half_closed();
        while !matches!(self.receiver.receive().await, Received::Closed) {}
        Ok(())
    }
}
