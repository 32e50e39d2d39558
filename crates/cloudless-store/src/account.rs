use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{AccountError, Store, StoreError, Timestamp, address_book, resource};

/// Names a user within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(i64);

/// A person with address books and devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The name to log in with.
    pub name: String,
    /// When the user was created.
    pub created_at: Timestamp,
}

impl Store {
    /// Creates a user together with an empty address book `contacts`.
    ///
    /// A name starts with one of `a-z0-9` and goes on with up to 62 of `a-z0-9._-`.
    ///
    /// # Errors
    ///
    /// [`AccountError::InvalidName`], [`AccountError::UserExists`], or the store failed.
    pub fn create_user(&self, name: &str, now: Timestamp) -> Result<UserId, AccountError> {
        check_name(name)?;
        let owned = name.to_owned();
        let created = self.write(move |connection| {
            if user_id(connection, &owned)?.is_some() {
                return Ok(None);
            }
            connection
                .prepare_cached("INSERT INTO users (name, created_at) VALUES (?1, ?2)")?
                .execute(params![owned, now])?;
            let user = UserId(connection.last_insert_rowid());
            address_book::insert_personal(connection, user)?;
            resource::insert_root(connection, user, now)?;
            Ok(Some(user))
        })?;
        created.ok_or_else(|| AccountError::UserExists {
            name: name.to_owned(),
        })
    }

    /// All users, sorted by name.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached("SELECT id, name, created_at FROM users ORDER BY name")?
                .query_map([], |row| {
                    Ok(User {
                        id: row.get(0)?,
                        name: row.get(1)?,
                        created_at: row.get(2)?,
                    })
                })?
                .collect()
        })
    }
}

pub(crate) fn user_id(connection: &Connection, name: &str) -> rusqlite::Result<Option<UserId>> {
    connection
        .prepare_cached("SELECT id FROM users WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let valid = match name.as_bytes() {
        [first, rest @ ..] => {
            alphanumeric(*first)
                && rest.len() <= 62
                && rest
                    .iter()
                    .all(|byte| alphanumeric(*byte) || b"._-".contains(byte))
        }
        [] => false,
    };
    if valid {
        return Ok(());
    }
    Err(AccountError::InvalidName {
        name: name.to_owned(),
        rule: "a user name has 1 to 63 of a-z, 0-9, '.', '_', '-' and starts with a letter or digit",
    })
}

impl ToSql for UserId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for UserId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}
