//! The keys that the relay proves to homes: one, and two while it is rotated.
//!
//! The relay makes its next key and proves both from then on. Homes that are online learn of it over
//! their control streams and trust both; those that come later learn of it with their welcome. At the
//! end of the overlap the older key goes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use cloudless_proto::control::FromRelay;
use cloudless_proto::{Hostname, PublicKey};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::identity::{IdentityError, new_identity, signing_key};
use crate::registry::{HomeRow, Registry, Rotation, RotationError};
use crate::run::Relay;
use crate::status::{KeyStatus, RotationStatus, unix_now};

/// How long both keys are proven unless somebody says otherwise: as long as join codes live at most.
const OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Between two looks at the clock, which somebody may set.
const LOOK: Duration = Duration::from_secs(60);
/// Between two attempts to end a rotation that is due.
const SOON: Duration = Duration::from_secs(1);

/// What the relay proves, and the rotation in the registry that says so.
pub(crate) struct Keys {
    registry: Registry,
    /// The newest first.
    proven: RwLock<Arc<[Key]>>,
    /// Held while the registry and `proven` change, so that nobody is told of the one without the
    /// other.
    step: Mutex<()>,
    /// Tells of each change.
    changed: watch::Sender<()>,
}

#[derive(Clone)]
struct Key {
    public: PublicKey,
    /// What a home that trusts it names as authority.
    authority: Vec<u8>,
    certified: Arc<CertifiedKey>,
}

impl Key {
    fn new(identity: &PrivatePkcs8KeyDer<'_>) -> Result<Self, IdentityError> {
        let (key, public) = signing_key(identity)?;
        let spki = CertificateDer::from(public.to_spki().to_vec());
        Ok(Self {
            public,
            authority: public.to_authority(),
            certified: Arc::new(CertifiedKey::new(vec![spki], key)),
        })
    }
}

impl Keys {
    /// The keys of a relay that has `identity` in its key file.
    pub(crate) fn new(
        identity: &PrivatePkcs8KeyDer<'_>,
        registry: &Registry,
    ) -> Result<Self, IdentityError> {
        let mut proven = vec![Key::new(identity)?];
        if let Some(rotation) = registry.rotation() {
            let next = Key::new(&rotation.next)?;
            if next.public == proven[0].public {
                // A crash came before the last step.
                if let Err(error) = registry.finish_rotation() {
                    tracing::warn!(?error, "A rotation that is through cannot be cleared away");
                }
            } else {
                proven.insert(0, next);
            }
        }
        Ok(Self {
            registry: registry.clone(),
            proven: RwLock::new(proven.into()),
            step: Mutex::default(),
            changed: watch::Sender::default(),
        })
    }

    /// All of them, the newest first.
    pub(crate) fn public(&self) -> Vec<PublicKey> {
        self.proven().iter().map(|key| key.public).collect()
    }

    /// The one that homes join with.
    pub(crate) fn newest(&self) -> PublicKey {
        self.proven()[0].public
    }

    /// Begins to rotate: makes the next key and proves it too, until `overlap` after `now`, Unix time
    /// in seconds. While the key is being rotated, an overlap that is asked for moves the end.
    pub(crate) fn rotate(&self, overlap: Option<Duration>, now: u64) -> Result<(), RotationError> {
        let _step = self.step();
        let until = now.saturating_add(overlap.unwrap_or(OVERLAP).as_secs());
        if overlap.is_some() && self.registry.rotation().is_some() {
            self.registry.move_rotation(until)?;
            self.changed.send_replace(());
            tracing::info!("The end of the rotation of the relay's key is moved");
            return Ok(());
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(RotationError::Random)?;
        let next = new_identity(random);
        let key = Key::new(&next).map_err(RotationError::Identity)?;
        self.registry.begin_rotation(Rotation {
            next,
            started: now,
            until,
        })?;
        self.change(|proven| proven.insert(0, key));
        tracing::info!("The relay's key is being rotated: homes learn the next one");
        Ok(())
    }

    /// Lets the older key go. Unless `is_forced` no home may be locked out by that.
    pub(crate) fn finish(&self, is_forced: bool) -> Result<(), RotationError> {
        let _step = self.step();
        if self.registry.rotation().is_none() {
            return Err(RotationError::None);
        }
        let homes = self.homes();
        let total = homes.len();
        let unaware = homes
            .into_iter()
            .filter(|(key, _)| !self.registry.has_pinned(key));
        let names: Vec<Hostname> = unaware.map(|(_, hostname)| hostname).collect();
        if !is_forced && !names.is_empty() {
            return Err(RotationError::Unaware { names, total });
        }
        self.registry.finish_rotation()?;
        self.change(|proven| proven.truncate(1));
        tracing::info!("The relay's key is rotated: the one before has gone");
        Ok(())
    }

    pub(crate) fn status(&self) -> KeyStatus {
        let _step = self.step();
        let proven = self.proven();
        let rotation = self.registry.rotation().map(|rotation| {
            let homes = self.homes();
            let is_aware = |(key, _): &&(PublicKey, Hostname)| self.registry.has_pinned(key);
            RotationStatus {
                next: proven[0].public,
                started: rotation.started,
                until: rotation.until,
                homes: homes.len(),
                homes_aware: homes.iter().filter(is_aware).count(),
            }
        });
        KeyStatus {
            key: proven[proven.len() - 1].public,
            rotation,
        }
    }

    /// Each home that trusts these keys once, with the first of its names.
    fn homes(&self) -> Vec<(PublicKey, Hostname)> {
        let rows = self.registry.homes().into_iter();
        let tunnel = |row: HomeRow| Some((row.key.of_tunnel()?, row.hostname));
        let mut homes: Vec<_> = rows.filter_map(tunnel).collect();
        homes.sort();
        homes.dedup_by_key(|(key, _)| *key);
        homes.sort_by(|(_, one), (_, other)| one.cmp(other));
        homes
    }

    fn proven(&self) -> Arc<[Key]> {
        Arc::clone(&self.proven.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn step(&self) -> MutexGuard<'_, ()> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Key>)) {
        let mut proven = self.proven.write().unwrap_or_else(PoisonError::into_inner);
        let mut keys = proven.to_vec();
        change(&mut keys);
        *proven = keys.into();
        drop(proven);
        self.changed.send_replace(());
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.public()).finish()
    }
}

impl ResolvesServerCert for Keys {
    /// The newest key that the home trusts. One that does not say trusts the oldest, which was there
    /// when it joined. One that trusts none is shown the newest, to tell people of.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let proven = self.proven();
        let key = match hello.certificate_authorities() {
            None => proven.last(),
            Some(authorities) => {
                let is_trusted = |key: &&Key| {
                    let mut authorities = authorities.iter();
                    authorities.any(|it| it.as_ref() == key.authority)
                };
                proven.iter().find(is_trusted).or_else(|| proven.first())
            }
        };
        key.map(|key| Arc::clone(&key.certified))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

/// Tells homes that are online of each change, and ends the rotation when its time has come.
pub(crate) async fn watch(relay: Arc<Relay>) {
    let started = unix_now();
    let mut changed = relay.keys.changed.subscribe();
    loop {
        let rotation = relay.registry.rotation();
        // Homes that could not learn the next key while the relay was down get the chance.
        let grace = relay.config().timings.rotation_grace.as_secs();
        let due = rotation.map(|rotation| rotation.until.max(started.saturating_add(grace)));
        if due.is_some_and(|due| due <= unix_now()) {
            finish(&relay).await;
        }
        let wait = due.map_or(LOOK, |due| {
            let left = Duration::from_secs(due.saturating_sub(unix_now()));
            left.clamp(SOON, LOOK)
        });
        tokio::select! {
            () = relay.draining.cancelled() => return,
            Ok(()) = changed.changed() => {
                let keys = relay.keys.public();
                for session in relay.sessions.all() {
                    session.tell(FromRelay::Keys { keys: keys.clone() });
                }
            }
            () = sleep(wait) => {}
        }
    }
}

/// The overlap is over.
async fn finish(relay: &Arc<Relay>) {
    let keys = Arc::clone(&relay.keys);
    match tokio::task::spawn_blocking(move || keys.finish(true)).await {
        // The other: somebody else was faster.
        Ok(Ok(()) | Err(RotationError::None)) => {}
        Ok(Err(error)) => tracing::error!(?error, "The relay's older key cannot go yet"),
        Err(error) => tracing::error!(%error, "The relay's older key cannot go yet"),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Whoever asks while the key changes hears of the state before or of the one after.
    #[test]
    fn the_status_never_shows_half_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::open(directory.path()).unwrap();
        let keys = Keys::new(&new_identity([1; 32]), &registry).unwrap();
        for _ in 0..20 {
            keys.rotate(None, 0).unwrap();
            let leaving = keys.status().key;
            thread::scope(|scope| {
                let end = scope.spawn(|| keys.finish(true).unwrap());
                while !end.is_finished() {
                    let KeyStatus { key, rotation } = keys.status();
                    assert_eq!(key == leaving, rotation.is_some());
                }
            });
        }
    }
}
