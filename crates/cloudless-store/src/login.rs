use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, params};
use subtle::ConstantTimeEq;

use crate::commits::Commits;
use crate::{DeviceId, Store, StoreError, Timestamp, UserId};

/// How exact [`Device::last_seen_at`](crate::Device::last_seen_at) is: one write in five minutes is
/// enough.
const LAST_SEEN_MILLIS: u64 = 5 * 60 * 1_000;

/// The last time that a device was seen which never was.
const NEVER: i64 = i64::MIN;

/// Who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: UserId,
    /// The user's name.
    pub user_name: String,
    /// The device whose password was given.
    pub device: DeviceId,
    /// The device's name.
    pub device_name: String,
    /// The SHA-256 of the client certificate that the device has to prove as well, if it has one.
    pub certificate_hash: Option<[u8; 32]>,
}

/// What is known of a login without reading the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownLogin {
    /// It is right.
    Right(Login),
    /// It is not: no such user, another password, or a revoked device.
    Wrong,
    /// The devices changed and were not read since: ask [`Store::authenticate`].
    Unread,
}

impl Store {
    /// Finds the device of `user` whose secret has this hash. `None` if there is none, the user
    /// does not exist, or the device is revoked.
    ///
    /// What is given is compared with every device of the store, in constant time each: nobody
    /// learns from the time that an answer takes which users there are. That the device was seen is
    /// noted later, and never delays or fails the answer.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn authenticate(
        &self,
        user: &str,
        secret_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Login>, StoreError> {
        let devices = self.devices_in_use()?;
        Ok(self.check(&devices, user, secret_hash, now))
    }

    /// [`Store::authenticate`] with the devices that are in memory, as they are since the first login
    /// after a device was added or revoked; it never blocks.
    pub fn authenticate_known(
        &self,
        user: &str,
        secret_hash: &[u8; 32],
        now: Timestamp,
    ) -> KnownLogin {
        match self.logins().known() {
            Known::Devices(devices) => self
                .check(&devices, user, secret_hash, now)
                .map_or(KnownLogin::Wrong, KnownLogin::Right),
            Known::Nothing { .. } => KnownLogin::Unread,
        }
    }

    /// Whether a device in use has the client certificate of this hash.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn knows_certificate(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let devices = self.devices_in_use()?;
        Ok(devices
            .iter()
            .any(|device| device.login.certificate_hash == Some(*hash)))
    }

    /// Calls `tell` after every device that was added or revoked, before that is told to who did it.
    /// The last caller counts.
    pub fn listen_to_devices(&self, tell: impl Fn() + Send + Sync + 'static) {
        self.logins().changes.listen(Box::new(tell));
    }

    fn devices_in_use(&self) -> Result<Devices, StoreError> {
        match self.logins().known() {
            Known::Devices(devices) => Ok(devices),
            Known::Nothing { generation } => {
                let devices: Devices = self.read(in_use)?.into();
                self.logins().learn(&devices, generation);
                Ok(devices)
            }
        }
    }

    fn check(
        &self,
        devices: &Devices,
        user: &str,
        secret_hash: &[u8; 32],
        now: Timestamp,
    ) -> Option<Login> {
        let mut found = None;
        for device in devices.iter() {
            let is_secret = device.secret_hash.ct_eq(secret_hash);
            if bool::from(is_secret & user.as_bytes().ct_eq(device.login.user_name.as_bytes())) {
                found = Some(device);
            }
        }
        let found = found?;
        let seen = found.last_seen_at.load(Ordering::Relaxed);
        if seen == NEVER || seen.abs_diff(now.0) >= LAST_SEEN_MILLIS {
            found.last_seen_at.store(now.0, Ordering::Relaxed);
            let device = found.login.device;
            self.write_later(move |connection| {
                connection
                    .prepare_cached("UPDATE devices SET last_seen_at = ?2 WHERE id = ?1")?
                    .execute(params![device, now])
                    .map(drop)
            });
        }
        Some(found.login.clone())
    }
}

/// A device that may log in.
struct InUse {
    secret_hash: [u8; 32],
    login: Login,
    last_seen_at: AtomicI64,
}

/// All devices that may log in.
type Devices = Arc<[InUse]>;

/// The devices of the store, so that a request need not read them again.
///
/// No other process can change them, because the store is locked.
#[derive(Default)]
pub(crate) struct Logins {
    state: RwLock<State>,
    changes: Commits,
}

#[derive(Default)]
struct State {
    /// Counts the changes, so that what was read before one is not kept after it.
    generation: u64,
    devices: Option<Devices>,
}

enum Known {
    Devices(Devices),
    Nothing { generation: u64 },
}

impl Logins {
    fn known(&self) -> Known {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match &state.devices {
            Some(devices) => Known::Devices(Arc::clone(devices)),
            None => Known::Nothing {
                generation: state.generation,
            },
        }
    }

    /// Keeps what was read after [`Known::Nothing`] told the generation.
    fn learn(&self, devices: &Devices, generation: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation == generation {
            state.devices = Some(Arc::clone(devices));
        }
    }

    /// To be called after a device was added or revoked, before that is told.
    pub(crate) fn forget(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.generation += 1;
        state.devices = None;
        drop(state);
        self.changes.tell();
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

pub(crate) const IN_USE: &str =
    "SELECT secret_hash, user_id, users.name, devices.id, devices.name, last_seen_at,
            certificate_hash
     FROM devices JOIN users ON users.id = user_id
     WHERE revoked_at IS NULL";

fn in_use(connection: &Connection) -> rusqlite::Result<Vec<InUse>> {
    connection
        .prepare_cached(IN_USE)?
        .query_map([], |row| {
            let last_seen_at: Option<Timestamp> = row.get(5)?;
            Ok(InUse {
                secret_hash: row.get(0)?,
                login: Login {
                    user: row.get(1)?,
                    user_name: row.get(2)?,
                    device: row.get(3)?,
                    device_name: row.get(4)?,
                    certificate_hash: row.get(6)?,
                },
                last_seen_at: AtomicI64::new(last_seen_at.map_or(NEVER, |seen| seen.0)),
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn store_of_anna(directory: &std::path::Path) -> Store {
        let store = Store::open(directory).unwrap();
        store.create_user("anna", Timestamp(1)).unwrap();
        store
            .add_device("anna", "phone", [1; 32], Timestamp(1))
            .unwrap();
        store
    }

    #[test]
    fn what_was_read_before_a_revocation_is_not_kept_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = store_of_anna(directory.path());
        let Known::Nothing { generation } = store.logins().known() else {
            panic!("nothing was learned yet");
        };
        let devices = store.read(in_use).unwrap();
        store.revoke_device("anna", "phone", Timestamp(2)).unwrap();
        store.logins().learn(&devices.into(), generation);
        let login = store.authenticate("anna", &[1; 32], Timestamp(3)).unwrap();
        assert_eq!(login, None);
    }

    #[test]
    fn a_login_is_known_after_the_first_until_a_device_changes() {
        let directory = tempfile::tempdir().unwrap();
        let store = store_of_anna(directory.path());
        let known = |hash| store.authenticate_known("anna", &[hash; 32], Timestamp(2));
        let login = |hash, at| {
            let login = store.authenticate("anna", &[hash; 32], Timestamp(at));
            KnownLogin::Right(login.unwrap().unwrap())
        };
        assert_eq!(known(1), KnownLogin::Unread);
        let phone = login(1, 2);
        assert_eq!(known(1), phone);
        assert_eq!(known(2), KnownLogin::Wrong);
        store
            .add_device("anna", "tablet", [2; 32], Timestamp(3))
            .unwrap();
        assert_eq!(known(1), KnownLogin::Unread);
        store.revoke_device("anna", "phone", Timestamp(4)).unwrap();
        let tablet = login(2, 5);
        assert_eq!(known(2), tablet);
        assert_eq!(known(1), KnownLogin::Wrong);
    }

    /// Also where the user has many devices, and right after a change. Both are measured by turns,
    /// so that whatever else the machine does falls upon both.
    #[test]
    fn a_wrong_login_takes_as_long_whether_or_not_the_user_exists() {
        let directory = tempfile::tempdir().unwrap();
        let store = store_of_anna(directory.path());
        for number in 0..30 {
            let name = format!("device {number}");
            store
                .add_device("anna", &name, [number; 32], Timestamp(1))
                .unwrap();
        }
        let time = |user: &str, forgets: bool| {
            if forgets {
                store.logins().forget();
            }
            let start = Instant::now();
            let login = store.authenticate(user, &[99; 32], Timestamp(2)).unwrap();
            assert_eq!(login, None);
            start.elapsed()
        };
        for (n_tries, forgets) in [(4001, false), (201, true)] {
            let (mut known, mut unknown) = (Vec::new(), Vec::new());
            for _ in 0..n_tries {
                known.push(time("anna", forgets));
                unknown.push(time("otto", forgets));
            }
            known.sort();
            unknown.sort();
            let (known, unknown) = (known[n_tries / 2], unknown[n_tries / 2]);
            let ratio = known.as_secs_f64() / unknown.as_secs_f64();
            assert!((0.5..2.0).contains(&ratio), "{known:?} and {unknown:?}");
        }
    }
}
