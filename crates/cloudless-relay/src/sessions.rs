//! The sessions that serve visitors: at most one for each home's key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudless_proto::PublicKey;
use cloudless_proto::control::Refusal;
use cloudless_proto::takeover::{self, Decision};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::session::Session;

/// How often a newcomer may find another session in place of the one it asked about.
const PROBES_MAX: usize = 3;

type Live = HashMap<PublicKey, Arc<Session>>;

#[derive(Debug)]
pub(crate) struct Sessions {
    live: Mutex<Live>,
    /// Changes with each new session.
    installed: watch::Sender<()>,
    /// Changes with each session that is closed because its home may not have it any more.
    revoked: watch::Sender<()>,
    numbers: AtomicU64,
}

impl Sessions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            live: Mutex::default(),
            installed: watch::Sender::default(),
            revoked: watch::Sender::default(),
            numbers: AtomicU64::default(),
        })
    }

    /// A number that no other session of this process has.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes `newcomer` the session of its key if the takeover rules let it, closing the one that
    /// it replaces; of at most `max` homes in all. `welcome` is called under the same lock, before any visitor can find it.
    ///
    /// Another live instance is asked for a sign of life first, for at most `probe`.
    pub(crate) async fn install<E>(
        self: &Arc<Self>,
        newcomer: &Arc<Session>,
        max: usize,
        probe: Duration,
        welcome: impl FnOnce() -> Result<(), E>,
    ) -> Result<Result<Installed, E>, NotInstalled> {
        let mut probed: Option<(Arc<Session>, bool)> = None;
        for _ in 0..=PROBES_MAX {
            let current = {
                let mut live = self.lock();
                let current = live.get(&newcomer.key).cloned();
                let decision = match (&current, &probed) {
                    (Some(current), Some((asked, answered))) if current.number == asked.number => {
                        takeover::after_probe(*answered)
                    }
                    _ => takeover::decide(current.as_ref().map(|it| it.id), newcomer.id),
                };
                match (decision, current) {
                    (Decision::Refuse(refusal), _) => return Err(NotInstalled::Refused(refusal)),
                    (Decision::Probe, Some(current)) => current,
                    (_, None) if live.len() >= max => return Err(NotInstalled::Full),
                    (Decision::Accept | Decision::Replace | Decision::Probe, current) => {
                        if let Err(error) = welcome() {
                            return Ok(Err(error));
                        }
                        live.insert(newcomer.key, Arc::clone(newcomer));
                        drop(live);
                        if let Some(current) = current {
                            current.closed.cancel();
                        }
                        self.installed.send_replace(());
                        return Ok(Ok(Installed {
                            sessions: Arc::clone(self),
                            session: Arc::clone(newcomer),
                        }));
                    }
                }
            };
            tracing::warn!(
                session = current.number,
                "A second process connects with the key of a home that is online"
            );
            let answered = tokio::select! {
                () = current.closed.cancelled() => false,
                answered = current.liveness.answers(probe) => answered,
            };
            probed = Some((current, answered));
        }
        Err(NotInstalled::Refused(Refusal::OtherInstance))
    }

    /// The session of the key that `key_of` gives, waiting for one until `deadline`; never the one
    /// numbered `except`. The key is asked for anew with each new session; without one there is
    /// nothing to wait for.
    pub(crate) async fn wait(
        &self,
        key_of: impl Fn() -> Option<PublicKey>,
        except: Option<u64>,
        deadline: Instant,
    ) -> Option<Arc<Session>> {
        let mut installed = self.installed.subscribe();
        loop {
            match self.live(&key_of()?) {
                Some(session) if Some(session.number) != except => return Some(session),
                _ => timeout_at(deadline, installed.changed()).await.ok()?.ok()?,
            }
        }
    }

    /// The session of `key`, if its home is online.
    pub(crate) fn live(&self, key: &PublicKey) -> Option<Arc<Session>> {
        self.lock()
            .get(key)
            .filter(|session| !session.closed.is_cancelled())
            .cloned()
    }

    /// How many homes are online.
    pub(crate) fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    /// Ends the session of `key`, and all visitors of names that `key` has no more, on legs too;
    /// returns whether there was a session.
    pub(crate) fn close(&self, key: &PublicKey) -> bool {
        let session = self.lock().remove(key);
        self.revoked.send_replace(());
        session.inspect(|session| session.closed.cancel()).is_some()
    }

    /// Returns once `is_bound` says no: a visitor on a leg outlives its session, but not its home's
    /// right to the name.
    pub(crate) async fn unbound(&self, is_bound: impl Fn() -> bool) {
        let mut revoked = self.revoked.subscribe();
        while is_bound() {
            if revoked.changed().await.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut live = sessions.lock();
        // A newer session may have taken the place.
        if live
            .get(&session.key)
            .is_some_and(|current| current.number == session.number)
        {
            live.remove(&session.key);
        }
    }
}
