//! The sessions that serve visitors: at most one for each home's key.

mod waits;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudless_proto::control::Refusal;
use cloudless_proto::takeover::{Newcomer, Places, Ruling, SessionId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::home_key::HomeKey;
use crate::session::Session;
use waits::{Wait, Waits};

#[derive(Debug)]
pub(crate) struct Sessions {
    state: Mutex<State>,
    waits: Waits,
    /// Changes whenever names are taken from a home.
    names: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    places: Places<HomeKey>,
    /// The live ones, by number.
    sessions: HashMap<u64, Arc<Session>>,
}

impl Sessions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            waits: Waits::default(),
            names: watch::Sender::default(),
        })
    }

    /// A session that asks for the place of its key.
    pub(crate) fn newcomer(&self, key: HomeKey, id: SessionId) -> Newcomer<HomeKey> {
        self.lock().places.newcomer(key, id)
    }

    /// Makes `session` the session of its key if the takeover rules let it, closing the one that
    /// it replaces; of at most `max` homes in all. `welcome` is called under the same lock, before
    /// any visitor can find it.
    ///
    /// Another live instance is asked for a sign of life first, for at most `probe`.
    pub(crate) async fn install<E>(
        self: &Arc<Self>,
        mut newcomer: Newcomer<HomeKey>,
        session: &Arc<Session>,
        max: usize,
        probe: Duration,
        welcome: impl FnOnce() -> Result<(), E>,
    ) -> Result<Result<Installed, E>, NotInstalled> {
        loop {
            let current = {
                let mut state = self.lock();
                match state.places.consider(&newcomer, max) {
                    Ruling::Enter => {
                        if let Err(error) = welcome() {
                            return Ok(Err(error));
                        }
                        let replaced = state.places.enter(&newcomer);
                        state.sessions.insert(newcomer.number, Arc::clone(session));
                        state.end(replaced);
                        drop(state);
                        self.announce(&session.key);
                        return Ok(Ok(Installed {
                            sessions: Arc::clone(self),
                            session: Arc::clone(session),
                        }));
                    }
                    Ruling::Full => return Err(NotInstalled::Full),
                    Ruling::Refuse(refusal) => return Err(NotInstalled::Refused(refusal)),
                    Ruling::Probe(number) => state.sessions.get(&number).cloned(),
                }
            };
            let Some(current) = current else {
                // The invariant of `State`: whoever has a place is there.
                return Err(NotInstalled::Refused(Refusal::OtherInstance));
            };
            tracing::warn!(
                session = current.number,
                "A second process connects with the key of a home that is online"
            );
            let answered = tokio::select! {
                () = current.closed.cancelled() => false,
                answered = current.liveness.answers(probe) => answered,
            };
            newcomer.probed(current.number, answered);
        }
    }

    /// The session of the key that `key_of` gives, waiting for one until `deadline`; none that is not
    /// `wanted`. The key is asked for anew with each session of its home and whenever names move; without
    /// one there is nothing to wait for.
    pub(crate) async fn wait(
        &self,
        key_of: impl Fn() -> Option<HomeKey>,
        wanted: impl Fn(&Session) -> bool,
        deadline: Instant,
    ) -> Option<Arc<Session>> {
        let mut wait: Option<Wait<'_>> = None;
        loop {
            let key = key_of()?;
            match self.live(&key) {
                // The name may have gone to another home in between, and this one come back.
                Some(session) if wanted(&session) && key_of() == Some(key) => {
                    return Some(session);
                }
                _ => {}
            }
            match &mut wait {
                Some(wait) if wait.key() == key => {
                    timeout_at(deadline, wait.woken()).await.ok()?.ok()?;
                }
                // Mostly the home is there, and nothing to wait for. What has come since that look is
                // found by the next one.
                _ => wait = Some(self.waits.subscribe(key)),
            }
        }
    }

    /// Lets those who wait for the home of `key` look again: it may take visitors that it did not take
    /// before.
    pub(crate) fn announce(&self, key: &HomeKey) {
        self.waits.wake(key);
    }

    /// The session of `key`, if its home is online.
    pub(crate) fn live(&self, key: &HomeKey) -> Option<Arc<Session>> {
        let state = self.lock();
        let session = state.sessions.get(&state.places.live(key)?)?;
        (!session.closed.is_cancelled()).then(|| Arc::clone(session))
    }

    /// Every live session.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// How many homes are online.
    pub(crate) fn count(&self) -> u64 {
        self.lock().places.n_live() as u64
    }

    /// Ends all visitors of names that their home has no more, on legs too, and lets those who wait
    /// look whose the name is now: that home may be there.
    pub(crate) fn names_changed(&self) {
        self.names.send_replace(());
        self.waits.wake_all();
    }

    /// Ends the session of `key`, and all visitors of names that `key` has no more, on legs too;
    /// returns whether there was a session.
    pub(crate) fn close(&self, key: &HomeKey) -> bool {
        // First: a visitor that hears of the end of its session looks here for why.
        self.names.send_replace(());
        let is_live = {
            let mut state = self.lock();
            let live = state.places.forget(key);
            state.end(live);
            live.is_some()
        };
        // Their names may be another home's now.
        self.waits.wake_all();
        is_live
    }

    /// Returns once `is_bound` says no: a visitor on a leg outlives its session, but not its home's
    /// right to the name.
    pub(crate) async fn unbound(&self, is_bound: impl Fn() -> bool) {
        let mut names = self.names.subscribe();
        while is_bound() {
            if names.changed().await.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends a session that has lost its place, with all of its visitors.
    fn end(&mut self, number: Option<u64>) {
        if let Some(session) = number.and_then(|number| self.sessions.remove(&number)) {
            session.closed.cancel();
        }
    }
}

/// Why a newcomer is not in its key's place.
#[derive(Debug)]
pub(crate) enum NotInstalled {
    /// As many homes are online as may be.
    Full,
    /// The takeover rules are against it.
    Refused(Refusal),
}

/// A session's place among the sessions. Dropping it ends the session and all of its streams.
#[derive(Debug)]
pub(crate) struct Installed {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        let Self { sessions, session } = self;
        session.closed.cancel();
        let mut state = sessions.lock();
        state.places.leave(&session.key, session.number);
        state.sessions.remove(&session.number);
    }
}

#[cfg(test)]
mod tests;
