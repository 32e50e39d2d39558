pub(crate) mod scan;

use rusqlite::{Connection, OptionalExtension, params};

use crate::card::from_row;
use crate::search::{self, fold};
use crate::setting::{set_setting, setting};
use crate::version::VersionRow;
use crate::{BookId, CardRow, Store, StoreError};

/// One value found in a card, to answer queries without reading the card.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexEntry {
    /// The property's name in upper case, such as `EMAIL`.
    pub property: String,
    /// The value, as the caller wants to compare it.
    pub value: String,
}

/// A card and what is indexed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedCard {
    /// What is known of the card.
    pub row: CardRow,
    /// The entries that were asked for, in the order in which they were given; `None` when the card
    /// is not indexed yet and has to be read.
    pub entries: Option<Vec<IndexEntry>>,
}

/// A card that was stored or restored without an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnindexedCard {
    /// Its address book.
    pub book: BookId,
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    pub(crate) version: VersionRow,
}

/// What the caller found in an [`UnindexedCard`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIndex {
    /// The card.
    pub card: UnindexedCard,
    /// The values for queries.
    pub entries: Vec<IndexEntry>,
    /// All its text, for [`Store::search`].
    pub text: String,
}

impl Store {
    /// Every card of a book with its index entries, sorted by name: all entries, or only those of
    /// the `properties`, which is much faster.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn index_entries(
        &self,
        book: BookId,
        properties: Option<&[&str]>,
    ) -> Result<Vec<IndexedCard>, StoreError> {
        self.read(|snapshot| {
            let mut entries = entries(snapshot, book, properties)?;
            snapshot
                .prepare_cached(
                    "SELECT name, uid, etag, size, modified_at, index_id FROM cards
                     WHERE book_id = ?1 AND version_id IS NOT NULL ORDER BY name",
                )?
                .query_map([book], |row| {
                    let index: Option<IndexRow> = row.get(5)?;
                    Ok(IndexedCard {
                        row: from_row(row)?,
                        entries: index.map(|index| take(&mut entries, index)),
                    })
                })?
                .collect()
        })
    }

    /// Some of the cards that are not indexed: those of a database that was just migrated, and
    /// restored ones. Index them with [`Store::put_index`] until this returns none; call it at the
    /// start and after each restore.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn cards_without_index(&self, limit: usize) -> Result<Vec<UnindexedCard>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT cards.book_id, cards.name, version_id, bytes
                     FROM cards JOIN versions ON versions.id = version_id
                     WHERE version_id IS NOT NULL AND index_id IS NULL LIMIT ?1",
                )?
                .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                    Ok(UnindexedCard {
                        book: row.get(0)?,
                        name: row.get(1)?,
                        version: row.get(2)?,
                        bytes: row.get(3)?,
                    })
                })?
                .collect()
        })
    }

    /// Indexes cards in one transaction. A card that has changed meanwhile, or is indexed already,
    /// stays as it is. An index without entries and text counts as one.
    ///
    /// # Errors
    ///
    /// The store failed; nothing is indexed then.
    pub fn put_index(&self, indexes: Vec<NewIndex>) -> Result<(), StoreError> {
        let indexes: Vec<_> = indexes
            .into_iter()
            .map(|new| (new.card, Index::new(new.entries, &new.text)))
            .collect();
        self.write(move |connection| {
            for (card, index) in &indexes {
                put(connection, card, index)?;
            }
            Ok(())
        })
    }

    /// Says which rules the caller makes entries by. When another number was given before, every
    /// index is dropped, and [`Store::cards_without_index`] returns all cards. Call it at the start.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn set_index_rules(&self, rules: u32) -> Result<(), StoreError> {
        let same = self.read(|snapshot| {
            let known = setting(snapshot, "index_rules")?;
            Ok(known == Some(i64::from(rules)))
        })?;
        if same {
            return Ok(());
        }
        self.write(move |connection| {
            if setting(connection, "index_rules")?.is_some() {
                connection.execute_batch(
                    "UPDATE cards SET index_id = NULL WHERE index_id IS NOT NULL;
                     DELETE FROM index_entries;
                     DELETE FROM card_index;
                     DELETE FROM trigrams_stale;
                     INSERT INTO trigrams (trigrams) VALUES ('delete-all');",
                )?;
            }
            set_setting(connection, "index_rules", i64::from(rules))
        })
    }
}

/// What a card is found by.
#[derive(Debug)]
pub(crate) struct Index {
    entries: Vec<IndexEntry>,
    /// Folded.
    text: String,
}

impl Index {
    pub(crate) fn new(entries: Vec<IndexEntry>, text: &str) -> Self {
        Self {
            entries,
            text: fold(text),
        }
    }
}

/// Names a row of `card_index`.
pub(crate) type IndexRow = i64;

pub(crate) fn insert(
    connection: &Connection,
    book: BookId,
    name: &str,
    index: &Index,
) -> rusqlite::Result<IndexRow> {
    connection
        .prepare_cached("INSERT INTO card_index (book_id, name, text) VALUES (?1, ?2, ?3)")?
        .execute(params![book, name, index.text])?;
    let id = connection.last_insert_rowid();
    let mut statement = connection.prepare_cached(
        "INSERT INTO index_entries (book_id, property, index_id, position, value)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, entry) in index.entries.iter().enumerate() {
        statement.execute(params![book, entry.property, id, position, entry.value])?;
    }
    Ok(id)
}

/// The index of one card, to be given to its copy.
pub(crate) fn find(connection: &Connection, id: IndexRow) -> rusqlite::Result<Index> {
    let text = connection
        .prepare_cached("SELECT text FROM card_index WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    let entries = connection
        .prepare_cached(
            "SELECT index_entries.property, index_entries.value
             FROM index_entries INDEXED BY index_entries_by_card
             WHERE index_id = ?1 ORDER BY position",
        )?
        .query_map([id], |row| {
            Ok(IndexEntry {
                property: row.get(0)?,
                value: row.get(1)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Index { entries, text })
}

pub(crate) fn delete(connection: &Connection, id: IndexRow) -> rusqlite::Result<()> {
    for statement in [
        "DELETE FROM index_entries WHERE index_id = ?1",
        "DELETE FROM card_index WHERE id = ?1",
    ] {
        connection.prepare_cached(statement)?.execute([id])?;
    }
    search::delete(connection, id)
}

fn put(connection: &Connection, card: &UnindexedCard, index: &Index) -> rusqlite::Result<()> {
    let current: Option<Option<IndexRow>> = connection
        .prepare_cached(
            "SELECT index_id FROM cards WHERE book_id = ?1 AND name = ?2 AND version_id = ?3",
        )?
        .query_row(params![card.book, card.name, card.version], |row| {
            row.get(0)
        })
        .optional()?;
    if current == Some(None) {
        let id = insert(connection, card.book, &card.name, index)?;
        connection
            .prepare_cached("UPDATE cards SET index_id = ?3 WHERE book_id = ?1 AND name = ?2")?
            .execute(params![card.book, card.name, id])?;
    }
    Ok(())
}

/// An entry with its place: the card's index, and the position in it.
type Placed = (IndexRow, i64, IndexEntry);

/// Sorted by place.
fn entries(
    connection: &Connection,
    book: BookId,
    properties: Option<&[&str]>,
) -> rusqlite::Result<Vec<Placed>> {
    let mut found = Vec::new();
    let mut collect = |statement: &str, property: Option<&str>| {
        let mut statement = connection.prepare_cached(statement)?;
        let mut rows = statement.query(params![book, property])?;
        while let Some(row) = rows.next()? {
            let entry = IndexEntry {
                property: row.get(2)?,
                value: row.get(3)?,
            };
            found.push((row.get(0)?, row.get(1)?, entry));
        }
        Ok::<_, rusqlite::Error>(())
    };
    match properties {
        Some(properties) => {
            for property in properties {
                collect(OF_PROPERTY, Some(property))?;
            }
        }
        None => collect(OF_BOOK, None)?,
    }
    found.sort_by_key(|(index, position, _)| (*index, *position));
    Ok(found)
}

/// Takes the entries of one card out of all.
fn take(entries: &mut [Placed], index: IndexRow) -> Vec<IndexEntry> {
    let start = entries.partition_point(|(other, ..)| *other < index);
    entries[start..]
        .iter_mut()
        .take_while(|(other, ..)| *other == index)
        .map(|(.., entry)| IndexEntry {
            property: std::mem::take(&mut entry.property),
            value: std::mem::take(&mut entry.value),
        })
        .collect()
}

pub(crate) const OF_PROPERTY: &str = "SELECT index_id, position, property, value
     FROM index_entries WHERE book_id = ?1 AND property = ?2";

const OF_BOOK: &str = "SELECT index_id, position, property, value
     FROM index_entries WHERE book_id = ?1 AND ?2 IS NULL";
