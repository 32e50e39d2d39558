use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, params};
use subtle::ConstantTimeEq;

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
}

impl Store {
    /// Finds the device of `user` whose secret has this hash. `None` if there is none, the user
    /// does not exist, or the device is revoked.
    ///
    /// Hashes are compared in constant time. That the device was seen is noted later, and never
    /// delays or fails the answer.
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
        let devices = match self.logins().known(user) {
            Known::Devices(devices) => devices,
            Known::Nothing { generation } => {
                let devices: Devices = self.read(|snapshot| in_use_by(snapshot, user))?.into();
                self.logins().learn(user, &devices, generation);
                devices
            }
        };
        Ok(self.check(&devices, secret_hash, now))
    }

    /// [`Store::authenticate`] for a user whose devices are in memory, as they are since the user's
    /// last login; it never blocks. `None` says nothing: ask the other one then.
    pub fn authenticate_known(
        &self,
        user: &str,
        secret_hash: &[u8; 32],
        now: Timestamp,
    ) -> Option<Login> {
        match self.logins().known(user) {
            Known::Devices(devices) => self.check(&devices, secret_hash, now),
            Known::Nothing { .. } => None,
        }
    }

    fn check(&self, devices: &Devices, secret_hash: &[u8; 32], now: Timestamp) -> Option<Login> {
        let mut found = None;
        for device in devices.iter() {
            if bool::from(device.secret_hash.ct_eq(secret_hash)) {
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
#[derive(Debug)]
struct InUse {
    secret_hash: [u8; 32],
    login: Login,
    last_seen_at: AtomicI64,
}

/// The devices of one user.
type Devices = Arc<[InUse]>;

/// The devices of the users that logged in, so that a request need not read them again.
///
/// No other process can change them, because the store is locked. There is at most one list for
/// each user of the store.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the changes, so that what was read before one is not kept after it.
    generation: u64,
    users: HashMap<String, Devices>,
}

enum Known {
    Devices(Devices),
    Nothing { generation: u64 },
}

impl Logins {
    fn known(&self, user: &str) -> Known {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match state.users.get(user) {
            Some(devices) => Known::Devices(Arc::clone(devices)),
            None => Known::Nothing {
                generation: state.generation,
            },
        }
    }

    /// Keeps what was read after [`Known::Nothing`] told the generation. What anybody types as a
    /// user name is not kept.
    fn learn(&self, user: &str, devices: &Devices, generation: u64) {
        if devices.is_empty() {
            return;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation == generation {
            state.users.insert(user.to_owned(), Arc::clone(devices));
        }
    }

    /// To be called after a device was added or revoked, before that is told.
    pub(crate) fn forget(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.generation += 1;
        state.users.clear();
    }
}

pub(crate) const IN_USE_BY_USER: &str =
    "SELECT secret_hash, user_id, users.name, devices.id, devices.name, last_seen_at
     FROM devices JOIN users ON users.id = user_id
     WHERE users.name = ?1 AND revoked_at IS NULL";

fn in_use_by(connection: &Connection, user: &str) -> rusqlite::Result<Vec<InUse>> {
    connection
        .prepare_cached(IN_USE_BY_USER)?
        .query_map([user], |row| {
            let last_seen_at: Option<Timestamp> = row.get(5)?;
            Ok(InUse {
                secret_hash: row.get(0)?,
                login: Login {
                    user: row.get(1)?,
                    user_name: row.get(2)?,
                    device: row.get(3)?,
                    device_name: row.get(4)?,
                },
                last_seen_at: AtomicI64::new(last_seen_at.map_or(NEVER, |seen| seen.0)),
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_revocation_is_not_kept_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.create_user("anna", Timestamp(1)).unwrap();
        store
            .add_device("anna", "phone", [1; 32], Timestamp(1))
            .unwrap();
        let Known::Nothing { generation } = store.logins().known("anna") else {
            panic!("nothing was learned yet");
        };
        let devices = store.read(|snapshot| in_use_by(snapshot, "anna")).unwrap();
        store.revoke_device("anna", "phone", Timestamp(2)).unwrap();
        store.logins().learn("anna", &devices.into(), generation);
        let login = store.authenticate("anna", &[1; 32], Timestamp(3)).unwrap();
        assert_eq!(login, None);
    }

    #[test]
    fn a_login_is_known_after_the_first_until_a_device_changes() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.create_user("anna", Timestamp(1)).unwrap();
        store
            .add_device("anna", "phone", [1; 32], Timestamp(1))
            .unwrap();
        let known = |hash| store.authenticate_known("anna", &[hash; 32], Timestamp(2));
        assert_eq!(known(1), None);
        let login = store.authenticate("anna", &[1; 32], Timestamp(2)).unwrap();
        assert!(login.is_some());
        assert_eq!(known(1), login);
        assert_eq!(known(2), None);
        store
            .add_device("anna", "tablet", [2; 32], Timestamp(3))
            .unwrap();
        assert_eq!(known(1), None, "to be read again");
        store.revoke_device("anna", "phone", Timestamp(4)).unwrap();
        let login = store.authenticate("anna", &[2; 32], Timestamp(5)).unwrap();
        assert_eq!(known(2), login);
        assert_eq!(known(1), None);
    }
}
