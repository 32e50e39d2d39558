use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Store, StoreError, UserId};

/// Names an address book within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookId(i64);

/// An address book of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressBook {
    /// The id.
    pub id: BookId,
    /// Its name in URLs, unique for the user.
    pub slug: String,
    /// Its name for people.
    pub display_name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// 32 random hex digits that no other address book ever has, so that a sync token of another
    /// one with the same name is never mistaken for one of this.
    pub incarnation: String,
    /// Counts the changes of cards. Never goes back.
    pub revision: u64,
}

impl Store {
    /// The address books of a user, sorted by age.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn address_books(&self, user: UserId) -> Result<Vec<AddressBook>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT id, slug, display_name, description, incarnation, revision
                     FROM address_books WHERE user_id = ?1 ORDER BY id",
                )?
                .query_map([user], from_row)?
                .collect()
        })
    }

    /// The address book of that slug; `None` if the user has none.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn address_book(
        &self,
        user: UserId,
        slug: &str,
    ) -> Result<Option<AddressBook>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT id, slug, display_name, description, incarnation, revision
                     FROM address_books WHERE user_id = ?1 AND slug = ?2",
                )?
                .query_row(params![user, slug], from_row)
                .optional()
        })
    }
}

pub(crate) fn insert(
    connection: &Connection,
    user: UserId,
    slug: &str,
    display_name: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO address_books (user_id, slug, display_name, incarnation)
             VALUES (?1, ?2, ?3, lower(hex(randomblob(16))))",
        )?
        .execute(params![user, slug, display_name])
        .map(drop)
}

/// The revision of the book; `None` if there is no such book.
pub(crate) fn revision(connection: &Connection, book: BookId) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT revision FROM address_books WHERE id = ?1")?
        .query_row([book], |row| row.get(0))
        .optional()
}

/// Counts one change of a card, and returns the new revision.
pub(crate) fn advance(connection: &Connection, book: BookId) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "UPDATE address_books SET revision = revision + 1 WHERE id = ?1 RETURNING revision",
        )?
        .query_row([book], |row| row.get(0))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<AddressBook> {
    Ok(AddressBook {
        id: row.get(0)?,
        slug: row.get(1)?,
        display_name: row.get(2)?,
        description: row.get(3)?,
        incarnation: row.get(4)?,
        revision: row.get(5)?,
    })
}

impl ToSql for BookId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for BookId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}
