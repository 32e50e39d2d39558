pub(crate) mod edit;
mod transfer;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Store, StoreError, UserId};

/// Names an address book within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookId(pub(crate) i64);

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
    /// How many cards it has.
    pub card_count: u64,
    /// Whether it is the one that each user always has.
    pub personal: bool,
    /// The name of the user whose book it is.
    pub owner: String,
    /// What the user that asked may do with it.
    pub access: Access,
}

/// What a user may do with an address book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everything: it is theirs.
    Owner,
    /// Read and write its cards.
    ReadWrite,
    /// Read its cards.
    ReadOnly,
}

impl Store {
    /// The address books of a user: the personal one, then their other ones sorted by age, then
    /// those that others share with them.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn address_books(&self, user: UserId) -> Result<Vec<AddressBook>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(OF_USER)?
                .query_map([user], from_row)?
                .collect()
        })
    }

    /// The address book of that slug, their own or a shared one; `None` if the user has none.
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
                .prepare_cached(BY_SLUG)?
                .query_row(params![user, slug], from_row)
                .optional()
        })
    }
}

macro_rules! select_books {
    ($own:literal, $shared:literal) => {
        concat!(
            "SELECT address_books.id, slug, display_name, description, incarnation, revision,
                 card_count, personal, users.name, NULL, 1 - personal AS place
             FROM address_books JOIN users ON users.id = user_id
             WHERE user_id = ?1 AND deleted_at IS NULL",
            $own,
            " UNION ALL
             SELECT address_books.id, shares.slug, display_name, description, incarnation, revision,
                 card_count, 0, users.name, access, 2 AS place
             FROM shares JOIN address_books ON address_books.id = book_id
                 JOIN users ON users.id = address_books.user_id
             WHERE shares.user_id = ?1 AND deleted_at IS NULL",
            $shared,
            " ORDER BY 11, 1"
        )
    };
}

pub(crate) const OF_USER: &str = select_books!("", "");
pub(crate) const BY_SLUG: &str =
    select_books!(" AND address_books.slug = ?2", " AND shares.slug = ?2");

/// The personal address book of a new user.
pub(crate) fn insert_personal(connection: &Connection, user: UserId) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO address_books (user_id, slug, display_name, incarnation, personal)
             VALUES (?1, 'contacts', 'Contacts', lower(hex(randomblob(16))), 1)",
        )?
        .execute([user])
        .map(drop)
}

/// The revision of the book; `None` if there is no such book, or it is deleted.
pub(crate) fn revision(connection: &Connection, book: BookId) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT revision FROM address_books WHERE id = ?1 AND deleted_at IS NULL")?
        .query_row([book], |row| row.get(0))
        .optional()
}

/// The slug of the book; `None` if there is no such book, or it is deleted.
pub(crate) fn slug(connection: &Connection, book: BookId) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT slug FROM address_books WHERE id = ?1 AND deleted_at IS NULL")?
        .query_row([book], |row| row.get(0))
        .optional()
}

/// Counts one change that `added` so many cards, and returns the new revision.
pub(crate) fn advance(connection: &Connection, book: BookId, added: i64) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "UPDATE address_books SET revision = revision + 1, card_count = card_count + ?2
             WHERE id = ?1 RETURNING revision",
        )?
        .query_row(params![book, added], |row| row.get(0))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<AddressBook> {
    Ok(AddressBook {
        id: row.get(0)?,
        slug: row.get(1)?,
        display_name: row.get(2)?,
        description: row.get(3)?,
        incarnation: row.get(4)?,
        revision: row.get(5)?,
        card_count: row.get(6)?,
        personal: row.get(7)?,
        owner: row.get(8)?,
        access: row.get::<_, Option<Access>>(9)?.unwrap_or(Access::Owner),
    })
}

impl ToSql for Access {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = match self {
            Self::Owner => "owner",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
        };
        Ok(text.into())
    }
}

impl FromSql for Access {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "read-write" => Ok(Self::ReadWrite),
            "read-only" => Ok(Self::ReadOnly),
            _ => Err(FromSqlError::InvalidType),
        }
    }
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
