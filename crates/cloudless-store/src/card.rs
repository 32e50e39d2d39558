use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{BookId, ETag, Store, StoreError, Timestamp};

/// What is known of a stored card without reading its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardRow {
    /// Its name in the address book, the last segment of its URL.
    pub name: String,
    /// The UID that the writer found in it, unique in the address book.
    pub uid: Option<String>,
    /// The tag of its bytes.
    pub etag: ETag,
    /// The number of its bytes.
    pub size: u64,
    /// When these bytes were stored.
    pub modified_at: Timestamp,
}

/// A stored card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// What is known about it.
    pub row: CardRow,
    /// Exactly what was stored.
    pub bytes: Vec<u8>,
}

impl Store {
    /// One card; `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn card(&self, book: BookId, name: &str) -> Result<Option<Card>, StoreError> {
        self.read(|snapshot| select(snapshot, book, name))
    }

    /// One card without its bytes; `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn card_row(&self, book: BookId, name: &str) -> Result<Option<CardRow>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT name, uid, etag, size, modified_at FROM cards
                     WHERE book_id = ?1 AND name = ?2 AND version_id IS NOT NULL",
                )?
                .query_row(params![book, name], from_row)
                .optional()
        })
    }

    /// The name of the card of a book that has this UID; `None` if no card has it.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn name_of_uid(&self, book: BookId, uid: &str) -> Result<Option<String>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(BY_UID)?
                .query_row(params![book, uid], |row| row.get(0))
                .optional()
        })
    }

    /// All cards of a book without their bytes, sorted by name. All are in memory at once; see
    /// [`Store::card_rows_after`].
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn card_rows(&self, book: BookId) -> Result<Vec<CardRow>, StoreError> {
        self.card_rows_after(book, "", usize::MAX)
    }

    /// The first cards, at most `limit`, whose names come after `name`, sorted by name: a page of a
    /// long list, which begins after the empty name. A card that is there all the time is on
    /// exactly one page, whatever changes between them.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn card_rows_after(
        &self,
        book: BookId,
        name: &str,
        limit: usize,
    ) -> Result<Vec<CardRow>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|snapshot| {
            snapshot
                .prepare_cached(AFTER)?
                .query_map(params![book, name, limit], from_row)?
                .collect()
        })
    }

    /// The cards of these names in this order, `None` for each that does not exist; all from one
    /// snapshot. All their bytes are in memory at once, so ask for a page at a time.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn cards(&self, book: BookId, names: &[String]) -> Result<Vec<Option<Card>>, StoreError> {
        self.read(|snapshot| {
            names
                .iter()
                .map(|name| select(snapshot, book, name))
                .collect()
        })
    }
}

pub(crate) const AFTER: &str = "SELECT name, uid, etag, size, modified_at FROM cards
     WHERE book_id = ?1 AND name > ?2 AND version_id IS NOT NULL ORDER BY name LIMIT ?3";

pub(crate) const BY_UID: &str = "SELECT name FROM cards WHERE book_id = ?1 AND uid = ?2";

/// Reads the columns name, uid, etag, size and modified_at.
pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<CardRow> {
    Ok(CardRow {
        name: row.get(0)?,
        uid: row.get(1)?,
        etag: row.get(2)?,
        size: row.get(3)?,
        modified_at: row.get(4)?,
    })
}

pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    if is_segment(name) {
        Ok(())
    } else {
        Err(StoreError::InvalidCardName)
    }
}

/// Whether a name can be one segment of a path, encoded if need be.
pub(crate) fn is_segment(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.contains(['/', '\0']) && !matches!(name, "." | "..")
}

fn select(connection: &Connection, book: BookId, name: &str) -> rusqlite::Result<Option<Card>> {
    connection
        .prepare_cached(
            "SELECT cards.name, cards.uid, cards.etag, size, modified_at, bytes
             FROM cards JOIN versions ON versions.id = version_id
             WHERE cards.book_id = ?1 AND cards.name = ?2",
        )?
        .query_row(params![book, name], |row| {
            Ok(Card {
                row: from_row(row)?,
                bytes: row.get(5)?,
            })
        })
        .optional()
}
