use rusqlite::{Connection, OptionalExtension, ToSql, params};

use crate::version;
use crate::{BookId, DeviceId, Store, StoreError, Timestamp, UserId, Version, VersionKind};

/// Who writes, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The device that logged in; `None` for the owner at the machine itself.
    pub device: Option<DeviceId>,
    /// When.
    pub at: Timestamp,
}

/// Whose history to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryScope {
    /// That of one address book.
    Book(BookId),
    /// That of all address books of a user.
    User(UserId),
}

/// Which part of a history to read. By default the newest 100 rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only of cards of this name.
    pub name: Option<String>,
    /// Only of cards with this UID.
    pub uid: Option<String>,
    /// Only what this device did.
    pub device: Option<DeviceId>,
    /// Only what happened then or later.
    pub since: Option<Timestamp>,
    /// Only what comes before the row of this id.
    pub before: Option<u64>,
    /// At most so many rows.
    pub limit: usize,
}

/// One thing that happened to a card, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// The place in the history: larger ids happened later.
    pub id: u64,
    /// The address book.
    pub book: BookId,
    /// The address book's name in its owner's URLs.
    pub slug: String,
    /// The name of the card.
    pub name: String,
    /// Counts the versions of this card, from 1; see [`Store::version`].
    pub number: u64,
    /// What happened.
    pub kind: VersionKind,
    /// When.
    pub at: Timestamp,
    /// Who did it; `None` for the owner at the machine itself.
    pub device: Option<DeviceId>,
    /// The name of that device.
    pub device_name: Option<String>,
    /// The number of bytes; `None` for a deletion.
    pub size: Option<u64>,
    /// The UID found in the card.
    pub uid: Option<String>,
    /// The full name found in the card.
    pub full_name: Option<String>,
    /// Why it was refused, or where it was moved or copied from or to.
    pub reason: Option<String>,
}

impl Store {
    /// All that ever happened under this name, oldest first. All the bytes are in memory at once.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn versions(&self, book: BookId, name: &str) -> Result<Vec<Version>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT number, kind, bytes, device_id, at, reason FROM versions
                     WHERE book_id = ?1 AND name = ?2 ORDER BY number",
                )?
                .query_map(params![book, name], version::from_row)?
                .collect()
        })
    }

    /// One version of a name; `None` if there is none of that number.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn version(
        &self,
        book: BookId,
        name: &str,
        number: u64,
    ) -> Result<Option<Version>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT number, kind, bytes, device_id, at, reason FROM versions
                     WHERE book_id = ?1 AND name = ?2 AND number = ?3",
                )?
                .query_row(params![book, name, number], version::from_row)
                .optional()
        })
    }

    /// What happened, the newest first, without the bytes. Deleted address books have a history
    /// too. A next page starts with [`HistoryQuery::before`] at the last row of this one.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn history(
        &self,
        scope: impl Into<HistoryScope>,
        query: &HistoryQuery,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        let scope = scope.into();
        self.read(|snapshot| {
            let mut rows = Vec::new();
            for book in scope.books(snapshot)? {
                rows.extend(select(snapshot, book, query)?);
            }
            rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.id));
            rows.truncate(query.limit);
            Ok(rows)
        })
    }
}

impl HistoryScope {
    fn books(self, connection: &Connection) -> rusqlite::Result<Vec<BookId>> {
        match self {
            Self::Book(book) => Ok(vec![book]),
            Self::User(user) => connection
                .prepare_cached("SELECT id FROM address_books WHERE user_id = ?1")?
                .query_map([user], |row| row.get(0))?
                .collect(),
        }
    }
}

impl Default for HistoryQuery {
    fn default() -> Self {
        Self {
            name: None,
            uid: None,
            device: None,
            since: None,
            before: None,
            limit: 100,
        }
    }
}

impl From<BookId> for HistoryScope {
    fn from(book: BookId) -> Self {
        Self::Book(book)
    }
}

impl From<UserId> for HistoryScope {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

/// A condition is only written when it is asked for, so that each has the index that fits it.
fn select(
    connection: &Connection,
    book: BookId,
    query: &HistoryQuery,
) -> rusqlite::Result<Vec<HistoryRow>> {
    let HistoryQuery {
        name,
        uid,
        device,
        since,
        before,
        limit,
    } = query;
    let mut sql = String::from(
        "SELECT versions.id, book_id, slug, versions.name, number, kind, at, device_id,
             devices.name, length(bytes), uid, full_name, reason
         FROM versions JOIN address_books ON address_books.id = book_id
             LEFT JOIN devices ON devices.id = device_id
         WHERE book_id = :book",
    );
    let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":book", &book), (":limit", &limit)];
    let mut require = |condition: &str, parameter, value| {
        sql.push_str(condition);
        values.push((parameter, value));
    };
    if let Some(name) = name {
        require(" AND versions.name = :name", ":name", name);
    }
    if let Some(uid) = uid {
        require(" AND uid = :uid", ":uid", uid);
    }
    if let Some(device) = device {
        require(" AND device_id = :device", ":device", device);
    }
    if let Some(since) = since {
        require(" AND at >= :since", ":since", since);
    }
    if let Some(before) = before {
        require(" AND versions.id < :before", ":before", before);
    }
    sql.push_str(" ORDER BY versions.id DESC LIMIT :limit");
    connection
        .prepare_cached(&sql)?
        .query_map(values.as_slice(), |row| {
            Ok(HistoryRow {
                id: row.get(0)?,
                book: row.get(1)?,
                slug: row.get(2)?,
                name: row.get(3)?,
                number: row.get(4)?,
                kind: row.get(5)?,
                at: row.get(6)?,
                device: row.get(7)?,
                device_name: row.get(8)?,
                size: row.get(9)?,
                uid: row.get(10)?,
                full_name: row.get(11)?,
                reason: row.get(12)?,
            })
        })?
        .collect()
}
