use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};

use crate::account::user_id;
use crate::{AccountError, Store, StoreError, Timestamp, UserId};

/// Names a device within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(i64);

impl DeviceId {
    /// A number that no other device of this store has, or ever gets.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// A device, or a program, with a password of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The id.
    pub id: DeviceId,
    /// The name of the user that it belongs to.
    pub user: String,
    /// The name that the user gave it.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last logged in, give or take five minutes; `None` if never.
    pub last_seen_at: Option<Timestamp>,
    /// When it was revoked; `None` while it may log in.
    pub revoked_at: Option<Timestamp>,
    /// Whether it is refused without its client certificate.
    pub has_certificate: bool,
}

impl Store {
    /// Adds a device that logs in with the secret of this hash.
    ///
    /// The secret must be random, of 128 bits or more: the hash is fast. A device name has 1 to 64
    /// characters, none of them a control character, and no blank at either end. The name of a
    /// revoked device may be used again.
    ///
    /// # Errors
    ///
    /// [`AccountError::InvalidName`], [`AccountError::NoSuchUser`],
    /// [`AccountError::DeviceExists`], or the store failed.
    pub fn add_device(
        &self,
        user: &str,
        name: &str,
        secret_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<DeviceId, AccountError> {
        self.add_device_with_certificate(user, name, secret_hash, None, now)
    }

    /// [`Store::add_device`] for a device that has to prove a client certificate too, which has this
    /// SHA-256.
    ///
    /// # Errors
    ///
    /// Those of [`Store::add_device`].
    pub fn add_device_with_certificate(
        &self,
        user: &str,
        name: &str,
        secret_hash: [u8; 32],
        certificate_hash: Option<[u8; 32]>,
        now: Timestamp,
    ) -> Result<DeviceId, AccountError> {
        check_name(name)?;
        let (user, name) = (user.to_owned(), name.to_owned());
        let written = self.write(move |connection| {
            let Some(user_id) = user_id(connection, &user)? else {
                return Ok(Err(AccountError::NoSuchUser { name: user }));
            };
            if device_in_use(connection, user_id, &name)?.is_some() {
                return Ok(Err(AccountError::DeviceExists { user, name }));
            }
            connection
                .prepare_cached(
                    "INSERT INTO devices (user_id, name, secret_hash, created_at, certificate_hash)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![user_id, name, secret_hash, now, certificate_hash])?;
            Ok(Ok(DeviceId(connection.last_insert_rowid())))
        });
        self.logins().forget();
        written?
    }

    /// The devices of one user, or of all, revoked ones too; sorted by user, name and age.
    ///
    /// # Errors
    ///
    /// The store failed. A user that does not exist has no devices.
    pub fn devices(&self, user: Option<&str>) -> Result<Vec<Device>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT devices.id, users.name, devices.name, devices.created_at,
                            last_seen_at, revoked_at, certificate_hash IS NOT NULL
                     FROM devices JOIN users ON users.id = user_id
                     WHERE ?1 IS NULL OR users.name = ?1
                     ORDER BY users.name, devices.name, devices.id",
                )?
                .query_map([user], |row| {
                    Ok(Device {
                        id: row.get(0)?,
                        user: row.get(1)?,
                        name: row.get(2)?,
                        created_at: row.get(3)?,
                        last_seen_at: row.get(4)?,
                        revoked_at: row.get(5)?,
                        has_certificate: row.get(6)?,
                    })
                })?
                .collect()
        })
    }

    /// Whether a device that logged in may still do so. Ask now and then while an answer is sent
    /// that takes long.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn is_in_use(&self, device: DeviceId) -> Result<bool, StoreError> {
        self.read(|snapshot| is_in_use(snapshot, device))
    }

    /// Takes a device's password away. Every [`Store::authenticate`] that starts after this
    /// returned refuses it.
    ///
    /// # Errors
    ///
    /// [`AccountError::NoSuchUser`], [`AccountError::NoSuchDevice`] when no device of that name is
    /// in use, or the store failed.
    pub fn revoke_device(
        &self,
        user: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<(), AccountError> {
        let (user, name) = (user.to_owned(), name.to_owned());
        let written = self.write(move |connection| {
            let Some(user_id) = user_id(connection, &user)? else {
                return Ok(Err(AccountError::NoSuchUser { name: user }));
            };
            let Some(device) = device_in_use(connection, user_id, &name)? else {
                return Ok(Err(AccountError::NoSuchDevice { user, name }));
            };
            connection
                .prepare_cached("UPDATE devices SET revoked_at = ?2 WHERE id = ?1")?
                .execute(params![device, now])?;
            Ok(Ok(()))
        });
        self.logins().forget();
        written?
    }
}

/// Whether the device is there and not revoked.
pub(crate) fn is_in_use(connection: &Connection, device: DeviceId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM devices WHERE id = ?1 AND revoked_at IS NULL")?
        .exists([device])
}

fn device_in_use(
    connection: &Connection,
    user: UserId,
    name: &str,
) -> rusqlite::Result<Option<DeviceId>> {
    connection
        .prepare_cached(
            "SELECT id FROM devices WHERE user_id = ?1 AND name = ?2 AND revoked_at IS NULL",
        )?
        .query_row(params![user, name], |row| row.get(0))
        .optional()
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let length = name.chars().count();
    if (1..=64).contains(&length) && name.trim() == name && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(AccountError::InvalidName {
        name: name.to_owned(),
        rule: "a device name has 1 to 64 characters, no control characters, and no blank at \
               either end",
    })
}

impl ToSql for DeviceId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for DeviceId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}
