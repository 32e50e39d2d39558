//! Which hostname belongs to which home's key, and which invites are open.

mod error;
mod file;
mod pins;
mod redemption;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cloudless_proto::join_code::{JoinCode, JoinSecret};
use cloudless_proto::ssh::Fingerprint;
use cloudless_proto::{Hostname, PublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::config::Config;
use crate::home_key::HomeKey;
use crate::routes::Routes;
use pins::Pins;

pub(crate) use error::ReloadError;
pub(crate) use file::replace as replace_file;
pub(crate) use redemption::Claim;

pub use error::{
    AllowSshError, InviteError, RedeemError, RegistryError, RevokeError, RotationError, WriteError,
};
pub use redemption::Redeemed;

/// The relay's key in the registry's directory. A rotation that is through replaces it.
pub const KEY_FILE: &str = "relay.key";

const LOCK_RETRY: Duration = Duration::from_millis(10);

const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The relay's state: `homes.toml` and `invites.toml` in one directory, which this process has to
/// itself while a `Registry` is open; and `rotation.toml` with the next key while it is rotated.
///
/// Clones share the state. Lookups never wait for the disk; changes are on disk (fsync) before they
/// are in force, and each is atomic. All methods that change something block on the disk: call them
/// outside async tasks.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Shared>);

impl Registry {
    /// Opens the state in `directory`, which must exist.
    ///
    /// # Errors
    /// [`RegistryError::InUse`] while another process has it open; otherwise what could not be read.
    pub fn open(directory: &Path) -> Result<Self, RegistryError> {
        Self::open_within(directory, Duration::ZERO)
    }

    /// The same for a relay that starts: a command that looks at the state at that moment must not keep
    /// it from that. Blocks for as long as `wait` while another process has the state open.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_within(directory: &Path, wait: Duration) -> Result<Self, RegistryError> {
        let path = directory.join("registry.lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| RegistryError::Lock {
                path: path.clone(),
                source,
            })?;
        let deadline = Instant::now() + wait;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => return Err(RegistryError::InUse { path }),
                Err(TryLockError::Error(source)) => {
                    return Err(RegistryError::Lock { path, source });
                }
            }
        }
        let tables = Tables {
            homes: file::read_homes(directory)?,
            invites: file::read_invites(directory)?,
            rotation: file::read_rotation(directory)?.map(Arc::new),
        };
        let pins = Pins::open(directory, tables.rotation.as_deref());
        Ok(Self(Arc::new(Shared {
            directory: directory.to_owned(),
            _lock: lock,
            changing: Mutex::new(()),
            pins: Mutex::new(pins),
            tables: RwLock::new(Arc::new(tables)),
        })))
    }

    /// Reads both files again and puts them in force together. Returns the keys whose names have
    /// changed with that. `now` is Unix time in seconds.
    ///
    /// # Errors
    /// When a file cannot be used, or one of `routes`, which come with it, is for a home's name or an
    /// invited one; what was in force stays so.
    pub(crate) fn reload(
        &self,
        routes: &Routes,
        now: u64,
    ) -> Result<BTreeSet<HomeKey>, ReloadError> {
        let before = self.0.tables();
        self.0.change(|tables| {
            let directory = &self.0.directory;
            tables.homes = file::read_homes(directory).map_err(ReloadError::File)?;
            tables.invites = file::read_invites(directory).map_err(ReloadError::File)?;
            if let Some(hostname) = tables.homes.keys().find(|it| routes.names(it)) {
                let hostname = hostname.clone();
                return Err(ReloadError::RoutedHome { hostname });
            }
            let open = tables.invites.iter().filter(|it| it.expires_at > now);
            if let Some(hostname) = open.map(|it| &it.hostname).find(|it| routes.names(it)) {
                let hostname = hostname.clone();
                return Err(ReloadError::RoutedInvite { hostname });
            }
            let key_before = |hostname| before.homes.get(hostname).map(|home| home.key);
            let key_after = |hostname| tables.homes.get(hostname).map(|home| home.key);
            let hostnames = before.homes.keys().chain(tables.homes.keys());
            let changed = hostnames
                .map(|hostname| (key_before(hostname), key_after(hostname)))
                .filter(|(before, after)| before != after);
            Ok(changed
                .flat_map(|(before, after)| [before, after])
                .flatten()
                .collect())
        })
    }

    /// Makes a one-time join code that binds `terms.hostname` to the key of whoever redeems it
    /// first. An earlier open code for the same hostname ends with this.
    ///
    /// The code's holder will trust the relay by `relay_key`. `now` is Unix time in seconds; `secret`
    /// must be fresh random bytes. Only its hash is kept, so the returned code cannot be shown a
    /// second time.
    ///
    /// # Errors
    /// When the terms cannot be met or the invite cannot be written.
    pub fn invite(
        &self,
        config: &Config,
        relay_key: PublicKey,
        terms: InviteTerms,
        secret: JoinSecret,
        now: u64,
    ) -> Result<JoinCode, InviteError> {
        let InviteTerms {
            hostname,
            ttl,
            replace,
        } = terms;
        if ttl < Duration::from_secs(1) || ttl > TTL_MAX {
            return Err(InviteError::Ttl);
        }
        if !(1..=8).contains(&config.addresses.len()) {
            return Err(InviteError::Addresses);
        }
        if hostname == config.server_name {
            return Err(InviteError::OwnName { hostname });
        }
        if config.routes.names(&hostname) {
            return Err(InviteError::Routed { hostname });
        }
        let expires_at = now.saturating_add(ttl.as_secs());

        self.0.change(|tables| {
            if !replace && tables.homes.contains_key(&hostname) {
                return Err(InviteError::HostnameTaken {
                    hostname: hostname.clone(),
                });
            }
            tables.end_invites(&hostname, now);
            tables.invites.push(Invite {
                hostname: hostname.clone(),
                secret_hash: secret.hash(),
                expires_at,
                replaces: tables.homes.get(&hostname).map(|home| home.key),
            });
            file::write_invites(&self.0.directory, &tables.invites).map_err(InviteError::Write)
        })?;
        Ok(JoinCode {
            addresses: config.addresses.clone(),
            server_name: config.server_name.clone(),
            relay_key,
            hostname,
            secret,
            expires_at,
        })
    }

    /// Binds `hostname` to an SSH client's key, taking it from the home that has it when `replace` is
    /// set, and ends an open invite for it. `now` is Unix time in seconds.
    ///
    /// # Errors
    /// When the name cannot be that home's, or the change cannot be written.
    pub fn allow_ssh(
        &self,
        config: &Config,
        hostname: &Hostname,
        key: Fingerprint,
        replace: bool,
        now: u64,
    ) -> Result<Redeemed, AllowSshError> {
        let hostname = hostname.clone();
        if config.ssh.is_none() {
            return Err(AllowSshError::Off);
        }
        if hostname == config.server_name {
            return Err(AllowSshError::OwnName { hostname });
        }
        if config.routes.names(&hostname) {
            return Err(AllowSshError::Routed { hostname });
        }
        let key = HomeKey::Ssh(key);
        self.0.change(|tables| {
            let owner = tables.homes.get(&hostname).map(|home| home.key);
            if owner == Some(key) {
                return Ok(Redeemed::nothing_new());
            }
            if owner.is_some() && !replace {
                return Err(AllowSshError::HostnameTaken {
                    hostname: hostname.clone(),
                });
            }
            let bound = tables.bind(&self.0.directory, &hostname, key, now);
            bound.map_err(AllowSshError::Write)?;
            Ok(Redeemed::taken_from(owner))
        })
    }

    /// Takes a hostname from its home and ends an open invite for it. Returns the key that had it.
    ///
    /// # Errors
    /// When the name belongs to nobody, or the change cannot be written.
    pub fn revoke(&self, hostname: &Hostname) -> Result<Option<HomeKey>, RevokeError> {
        self.0.change(|tables| {
            let n_invites = tables.invites.len();
            tables.invites.retain(|invite| invite.hostname != *hostname);
            let home = tables.homes.remove(hostname);
            if home.is_none() && tables.invites.len() == n_invites {
                return Err(RevokeError::NoSuchHome {
                    hostname: hostname.clone(),
                });
            }
            let directory = &self.0.directory;
            file::write_invites(directory, &tables.invites).map_err(RevokeError::Write)?;
            file::write_homes(directory, &tables.homes).map_err(RevokeError::Write)?;
            Ok(home.map(|home| home.key))
        })
    }

    /// The rotation of the relay's key that is under way.
    pub(crate) fn rotation(&self) -> Option<Arc<Rotation>> {
        self.0.tables().rotation.clone()
    }

    /// Begins to rotate the relay's key. The key in force stays in [`KEY_FILE`] until the rotation
    /// is finished.
    pub(crate) fn begin_rotation(&self, rotation: Rotation) -> Result<(), RotationError> {
        self.0.change(|tables| {
            if tables.rotation.is_some() {
                return Err(RotationError::UnderWay);
            }
            let directory = &self.0.directory;
            file::write_rotation(directory, &rotation).map_err(RotationError::Write)?;
            *self.0.pins() = Pins::open(directory, Some(&rotation));
            tables.rotation = Some(Arc::new(rotation));
            Ok(())
        })
    }

    /// Lets the key before the next one go at another time.
    pub(crate) fn move_rotation(&self, until: u64) -> Result<(), RotationError> {
        self.0.change(|tables| {
            let rotation = tables.rotation.as_ref().ok_or(RotationError::None)?;
            let rotation = Rotation {
                next: rotation.next.clone_key(),
                started: rotation.started,
                until,
            };
            file::write_rotation(&self.0.directory, &rotation).map_err(RotationError::Write)?;
            tables.rotation = Some(Arc::new(rotation));
            Ok(())
        })
    }

    /// Puts the next key in the place of the one before, which is gone then. A crash in between
    /// leaves both files with the same key: [`Keys`](crate::keys::Keys) sees it and calls this again.
    pub(crate) fn finish_rotation(&self) -> Result<(), RotationError> {
        self.0.change(|tables| {
            let rotation = tables.rotation.take().ok_or(RotationError::None)?;
            let directory = &self.0.directory;
            file::write_key(directory, &rotation.next).map_err(RotationError::Write)?;
            file::remove_rotation(directory).map_err(RotationError::Write)?;
            *self.0.pins() = Pins::open(directory, None);
            Ok(())
        })
    }

    /// Whether the home of this key is known to trust the relay by its next key.
    pub(crate) fn has_pinned(&self, home: &PublicKey) -> bool {
        self.0.pins().contains(home)
    }

    /// A home says that it trusts the relay by `relay_key` from now on.
    pub(crate) fn pinned(&self, home: PublicKey, relay_key: PublicKey) {
        self.0.pins().insert(home, relay_key);
    }

    /// Every bound hostname, sorted.
    pub fn homes(&self) -> Vec<HomeRow> {
        let row = |(hostname, home): (&Hostname, &Home)| HomeRow {
            hostname: hostname.clone(),
            key: home.key,
            joined_at: home.joined_at,
        };
        self.0.tables().homes.iter().map(row).collect()
    }

    /// The bound hostnames that one of `routes` is for, too, sorted. Their homes get their visitors.
    pub(crate) fn routed(&self, routes: &Routes) -> Vec<Hostname> {
        let tables = self.0.tables();
        let routed = tables.homes.keys().filter(|it| routes.names(it));
        routed.cloned().collect()
    }

    /// The hostnames bound to `key`, sorted; empty for an unknown key.
    pub fn hostnames_of(&self, key: &HomeKey) -> Vec<Hostname> {
        let tables = self.0.tables();
        let owned = tables.homes.iter().filter(|(_, home)| home.key == *key);
        owned.map(|(hostname, _)| hostname.clone()).collect()
    }

    /// The key that `hostname` is bound to.
    pub fn key_of(&self, hostname: &Hostname) -> Option<HomeKey> {
        self.0.tables().homes.get(hostname).map(|home| home.key)
    }
}

/// What an invite promises.
#[derive(Clone, Debug)]
pub struct InviteTerms {
    /// The name to bind.
    pub hostname: Hostname,
    /// How long the code may be redeemed: one second to thirty days.
    pub ttl: Duration,
    /// Whether the code may take the name from the home that has it.
    pub replace: bool,
}

/// One line of `homes.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeRow {
    /// The bound name.
    pub hostname: Hostname,
    /// The home's key.
    pub key: HomeKey,
    /// When it joined, Unix time in seconds.
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    pub joined_at: u64,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    _lock: File,
    /// Held by whoever changes the tables, disk writes included.
    changing: Mutex<()>,
    /// Who knows the relay's next key.
    pins: Mutex<Pins>,
    tables: RwLock<Arc<Tables>>,
}

impl Shared {
    fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `apply` on a copy of the tables, alone, and puts the copy in force if it succeeds.
    fn change<T, E>(&self, apply: impl FnOnce(&mut Tables) -> Result<T, E>) -> Result<T, E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tables = Tables::clone(&self.tables());
        let outcome = apply(&mut tables)?;
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tables);
        Ok(outcome)
    }
}

#[derive(Clone, Debug, Default)]
struct Tables {
    homes: BTreeMap<Hostname, Home>,
    invites: Vec<Invite>,
    rotation: Option<Arc<Rotation>>,
}

impl Tables {
    /// Compares with every invite and every byte, so that the time taken tells nothing about how
    /// close a guess was.
    fn open_invite(
        &self,
        hostname: &Hostname,
        secret_hash: &[u8; 32],
        now: u64,
    ) -> Option<&Invite> {
        let mut found = None;
        for invite in &self.invites {
            let same_secret = bool::from(invite.secret_hash.ct_eq(secret_hash));
            if same_secret & (invite.hostname == *hostname) & (invite.expires_at > now) {
                found = Some(invite);
            }
        }
        found
    }

    /// Drops the invites for `hostname`, and those that have expired.
    fn end_invites(&mut self, hostname: &Hostname, now: u64) {
        self.invites
            .retain(|invite| invite.hostname != *hostname && invite.expires_at > now);
    }

    /// Gives a name to another key, and ends the invites for it, here and on the disk.
    ///
    /// The name goes first. An invite that a crash or a failed write leaves there is of no use any more
    /// to anybody but `key`: the name is not as it was when the invite was made.
    fn bind(
        &mut self,
        directory: &Path,
        hostname: &Hostname,
        key: HomeKey,
        now: u64,
    ) -> Result<(), WriteError> {
        let home = Home {
            key,
            joined_at: now,
        };
        self.homes.insert(hostname.clone(), home);
        file::write_homes(directory, &self.homes)?;
        let invites = self.invites.clone();
        self.end_invites(hostname, now);
        if let Err(error) = file::write_invites(directory, &self.invites) {
            tracing::warn!(?error, "A join code that is used up could not be removed");
            self.invites = invites;
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Home {
    key: HomeKey,
    joined_at: u64,
}

#[derive(Clone, Debug)]
struct Invite {
    hostname: Hostname,
    secret_hash: [u8; 32],
    expires_at: u64,
    /// Whose name it was when the invite was made: it may be taken from that home, and from no other.
    replaces: Option<HomeKey>,
}

/// A change of the relay's key that is under way: both keys are proven to homes meanwhile.
#[derive(Debug)]
pub(crate) struct Rotation {
    pub(crate) next: PrivatePkcs8KeyDer<'static>,
    /// Unix time in seconds.
    pub(crate) started: u64,
    /// When the key before the next one goes, Unix time in seconds.
    pub(crate) until: u64,
}

/// Names that appear more than once, for reading `homes.toml`.
fn duplicate<'a>(hostnames: impl Iterator<Item = &'a Hostname>) -> Option<&'a Hostname> {
    let mut seen = BTreeSet::new();
    hostnames
        .into_iter()
        .find(|hostname| !seen.insert(*hostname))
}

#[cfg(test)]
mod tests;
