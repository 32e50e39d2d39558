use rusqlite::{Connection, params};

use super::IndexRow;
use super::value_list::lists;
use crate::BookId;
use crate::setting::{set_setting, setting};

/// How many rows one idle moment of the writer takes in: a job that comes meanwhile waits for them.
const BATCH: usize = 64;

/// What is made from `card_index` when nobody waits for the writer, because to store a card would
/// take several times as long otherwise: until then each row is gone through by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derived {
    /// The values of each property beside each other, for queries.
    Entries,
    /// The trigrams of the text, for a search.
    Trigrams,
}

/// A row of `card_index`.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) id: IndexRow,
    pub(super) book: BookId,
    pub(super) value_lists: &'a [u8],
    pub(super) text: &'a str,
}

impl Derived {
    const ALL: [Self; 2] = [Self::Entries, Self::Trigrams];

    /// The last row that was taken in. It may be gone since, and so may others before it.
    pub(crate) fn last(self, connection: &Connection) -> rusqlite::Result<IndexRow> {
        Ok(setting(connection, self.last_in_settings())?.unwrap_or(0))
    }

    fn last_in_settings(self) -> &'static str {
        match self {
            Self::Entries => "entries_to",
            Self::Trigrams => "trigrams_to",
        }
    }

    /// Takes the next rows in. Returns whether there may be more.
    pub(super) fn take_in(self, connection: &Connection, limit: usize) -> rusqlite::Result<bool> {
        let before = self.last(connection)?;
        let mut select = connection.prepare_cached(AFTER)?;
        let mut rows = select.query(params![before, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let (mut last, mut taken) = (before, 0);
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            taken += 1;
            let source = Source {
                id: last,
                book: row.get(1)?,
                value_lists: row.get_ref(2)?.as_blob()?,
                text: row.get_ref(3)?.as_str()?,
            };
            self.add(connection, source)?;
        }
        if last > before {
            set_setting(connection, self.last_in_settings(), last)?;
        }
        Ok(taken == limit)
    }

    fn add(self, connection: &Connection, source: Source<'_>) -> rusqlite::Result<()> {
        let Source {
            id,
            book,
            value_lists,
            text,
        } = source;
        match self {
            Self::Entries => {
                let mut insert = connection.prepare_cached(
                    "INSERT INTO index_entries (book_id, property, index_id, value_list)
                     VALUES (?1, ?2, ?3, ?4)",
                )?;
                for list in lists(value_lists) {
                    let (property, list) = list?;
                    insert.execute(params![book, property, id, list])?;
                }
            }
            Self::Trigrams => {
                connection
                    .prepare_cached("INSERT INTO trigrams (rowid, text) VALUES (?1, ?2)")?
                    .execute(params![id, text])?;
            }
        }
        Ok(())
    }
}

/// Makes some of what is not made yet, and removes some of what is stale: one short transaction. What
/// takes long waits until the writer `is_idle`. Returns whether there may be more.
pub(crate) fn catch_up(connection: &Connection, is_idle: bool) -> rusqlite::Result<bool> {
    Ok(Derived::Entries.take_in(connection, BATCH)?
        || is_idle && (take_out(connection)? || Derived::Trigrams.take_in(connection, BATCH)?))
}

/// Takes a row in at once that comes late: after others with larger ids were taken in.
pub(super) fn take_in_late(connection: &Connection, source: Source<'_>) -> rusqlite::Result<()> {
    for derived in Derived::ALL {
        if source.id <= derived.last(connection)? {
            derived.add(connection, source)?;
        }
    }
    Ok(())
}

/// Forgets a row that is about to go. What was made from it goes later.
pub(super) fn outdate(connection: &Connection, id: IndexRow) -> rusqlite::Result<()> {
    let mut known_to = 0;
    for derived in Derived::ALL {
        known_to = known_to.max(derived.last(connection)?);
    }
    if id <= known_to {
        connection
            .prepare_cached(
                "INSERT INTO index_stale (id, book_id, value_lists)
                 SELECT id, book_id, value_lists FROM card_index WHERE id = ?1",
            )?
            .execute([id])?;
    }
    Ok(())
}

/// Removes what was made from some of the rows that are gone. Returns whether there may be more.
fn take_out(connection: &Connection) -> rusqlite::Result<bool> {
    let mut select = connection
        .prepare_cached("SELECT id, book_id, value_lists FROM index_stale ORDER BY id LIMIT ?1")?;
    let mut rows = select.query([BATCH])?;
    let mut removed = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, book): (IndexRow, BookId) = (row.get(0)?, row.get(1)?);
        for list in lists(row.get_ref(2)?.as_blob()?) {
            let (property, _) = list?;
            connection
                .prepare_cached(DELETE_ENTRIES)?
                .execute(params![book, property, id])?;
        }
        connection
            .prepare_cached("DELETE FROM trigrams WHERE rowid = ?1")?
            .execute([id])?;
        removed.push(id);
    }
    for id in &removed {
        connection
            .prepare_cached("DELETE FROM index_stale WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(removed.len() == BATCH)
}

const AFTER: &str = "SELECT id, book_id, value_lists, text FROM card_index
     WHERE id > ?1 ORDER BY id LIMIT ?2";

pub(crate) const DELETE_ENTRIES: &str = "DELETE FROM index_entries
     WHERE book_id = ?1 AND property = ?2 AND index_id = ?3";
