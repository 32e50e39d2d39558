//! The two ways that a visitor's bytes can take: its stream in the tunnel, and a leg past it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloudless_proto::control::FromRelay;
use cloudless_proto::leg::{Due, HandOver, Lost, Send, StreamEnd};
use tokio::net::TcpStream;
use tokio::sync::{Notify, SetOnce};

use crate::legs::{Leg, OfSession};
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::session::Session;
use crate::slots::Slot;
use crate::status::Visit;

/// What both directions of a visitor know of its ways.
#[derive(Debug)]
pub(super) struct Ways {
    state: Mutex<State>,
    due: Notify,
    leg: SetOnce<Leg>,
}

#[derive(Debug)]
struct State {
    hand_over: HandOver,
    due: Due,
    /// The stream's place in the tunnel; others may have it once this visitor has left.
    slot: Option<Slot>,
}

impl Ways {
    pub(super) fn new(slot: Slot) -> Self {
        let state = State {
            hand_over: HandOver::new(),
            due: Due::new(),
            slot: Some(slot),
        };
        Self {
            state: Mutex::new(state),
            due: Notify::new(),
            leg: SetOnce::new(),
        }
    }

    /// Counts bytes of the visitor that went on the stream.
    pub(super) fn moved_up(&self, n: usize) {
        if self.lock().due.up(n as u64) {
            self.due.notify_one();
        }
    }

    /// Counts bytes for the visitor that came on the stream.
    pub(super) fn moved_down(&self, n: usize) {
        if self.lock().due.down(n as u64) {
            self.due.notify_one();
        }
    }

    /// Offers legs when they are due, until the home has made one.
    pub(super) async fn make_leg(
        &self,
        relay: &Relay,
        visit: &Visit,
        session: Arc<Session>,
        legs: &OfSession,
        stream: u32,
    ) {
        loop {
            self.due.notified().await;
            if legs.is_resting() {
                continue;
            }
            let Some(offer) = relay.legs.offer(visit, &relay.config().limits) else {
                relay.counters.count(Outcome::LegLimit);
                continue;
            };
            let number = offer.ticket.number;
            if !self.lock().hand_over.offered(number) {
                return;
            }
            let message = FromRelay::Leg {
                stream,
                number,
                token: offer.ticket.token.clone(),
            };
            let made = if session.mention(message) {
                offer.leg().await
            } else {
                None
            };
            let Some(mut leg) = made else {
                self.lock().hand_over.withdrawn(number);
                continue;
            };
            legs.send_by_bbr(&mut leg);
            self.lock().hand_over.ready(number);
            let counters = visit.counters();
            counters.legs_total.fetch_add(1, Ordering::Relaxed);
            // The trailer says it too, if there is no room for this.
            session.mention(FromRelay::LegReady { stream, number });
            let _ = self.leg.set(leg);
            return;
        }
    }

    /// Waits for the leg.
    pub(super) async fn leg(&self) -> &TcpStream {
        &self.leg.wait().await.stream
    }

    /// Where the visitor's next bytes go.
    pub(super) fn send(&self) -> Send {
        self.change(HandOver::send)
    }

    /// The visitor has said all.
    pub(super) fn finish(&self) {
        self.change(HandOver::finish);
    }

    pub(super) fn stream_ended(&self, trailer: Option<u64>) -> Result<StreamEnd, Lost> {
        self.change(|hand_over| hand_over.stream_ended(trailer))
    }

    pub(super) fn leg_ended(&self) -> Result<(), Lost> {
        self.change(HandOver::leg_ended)
    }

    pub(super) fn tunnel_lost(&self) -> Result<(), Lost> {
        self.lock().hand_over.tunnel_lost()
    }

    /// Whether the home has said all.
    pub(super) fn has_heard_all(&self) -> bool {
        self.lock().hand_over.has_heard_all()
    }

    /// The leg, if it was made.
    pub(super) fn into_leg(self) -> Option<Leg> {
        self.leg.into_inner()
    }

    fn change<T>(&self, change: impl FnOnce(&mut HandOver) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state.hand_over);
        if state.hand_over.is_off_stream() {
            state.slot = None;
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
