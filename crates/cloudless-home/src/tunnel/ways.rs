//! The two ways that a visitor's bytes can take: its stream in the tunnel, and a leg past it.

use std::io;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloudless_proto::leg::{HandOver, Lost, Send, StreamEnd};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What a visitor's stream, and the session that brought it, know of its ways.
pub(crate) struct Ways {
    state: Mutex<State>,
    settled: CancellationToken,
}

struct State {
    hand_over: HandOver,
    /// The leg that the relay may take: there whenever the rules know of one.
    leg: Option<Arc<TcpStream>>,
    /// The session waits for it to be dropped.
    in_session: Option<TaskTrackerToken>,
}

impl Ways {
    /// Of a visitor on its stream, which needs its session until `in_session` is dropped.
    pub(crate) fn new(in_session: TaskTrackerToken) -> Arc<Self> {
        let state = State {
            hand_over: HandOver::new(),
            leg: None,
            in_session: Some(in_session),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            settled: CancellationToken::new(),
        })
    }

    /// A leg is connected; its preface may be sent if this returns true.
    pub(crate) fn offered(&self, number: u64, leg: Arc<TcpStream>) -> bool {
        let mut state = self.lock();
        let is_of_use = state.hand_over.offered(number);
        if is_of_use {
            state.leg = Some(leg);
        }
        is_of_use
    }

    /// The relay has not taken the leg.
    pub(crate) fn withdrawn(&self, number: u64) {
        let mut state = self.lock();
        if state.hand_over.number() == Some(number) && state.hand_over.withdrawn(number) {
            state.leg = None;
        }
    }

    /// The relay has taken the leg.
    pub(crate) fn ready(&self, number: u64) {
        if self.lock().hand_over.ready(number) {
            self.settled.cancel();
        }
    }

    /// Cancelled when the relay has taken a leg, or the visitor has gone.
    pub(crate) fn settled(&self) -> CancellationToken {
        self.settled.clone()
    }

    /// Where the next bytes to the visitor go, and the leg if there.
    pub(super) fn send(&self) -> (Send, Option<Arc<TcpStream>>) {
        self.change(|state| {
            let send = state.hand_over.send();
            let leg = match send {
                Send::Stream => None,
                Send::ChangeOver(_) | Send::Leg => state.leg.clone(),
            };
            (send, leg)
        })
    }

    /// Nothing more goes to the visitor.
    pub(super) fn finish(&self) {
        self.change(|state| state.hand_over.finish());
    }

    /// The stream from the visitor has ended; returns the leg if it goes on there.
    pub(super) fn stream_ended(
        &self,
        trailer: Option<u64>,
    ) -> Result<Option<Arc<TcpStream>>, Lost> {
        let leg = self.change(|state| match state.hand_over.stream_ended(trailer)? {
            StreamEnd::Fin => Ok(None),
            StreamEnd::GoesOn => Ok(state.leg.clone()),
        })?;
        if leg.is_some() {
            self.settled.cancel();
        }
        Ok(leg)
    }

    /// The leg has said FIN.
    pub(super) fn leg_ended(&self) -> Result<(), Lost> {
        self.change(|state| state.hand_over.leg_ended())
    }

    /// The visitor is done with, whatever is under way.
    pub(super) fn abandon(&self) {
        self.lock().leg = None;
    }

    /// Whether the relay has taken a leg.
    pub(crate) fn has_leg(&self) -> bool {
        self.settled.is_cancelled()
    }

    /// Whether the leg comes from an address that this machine has no more. Sends nothing.
    pub(crate) fn is_stranded(&self) -> bool {
        let leg = self.lock().leg.clone();
        let Some(Ok(local)) = leg.map(|leg| leg.local_addr()) else {
            return false;
        };
        let bound = UdpSocket::bind((local.ip(), 0));
        bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
    }

    /// Whether the visitor needs its session no more.
    pub(crate) fn is_off_stream(&self) -> bool {
        self.lock().hand_over.is_off_stream()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        if state.hand_over.is_off_stream() {
            state.in_session = None;
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.settled.cancel();
    }
}
