pub(crate) mod derived;
pub(crate) mod scan;
mod value_list;

use rusqlite::{Connection, OptionalExtension, params};

use self::derived::{Derived, Source};
use crate::card::from_row;
use crate::search::fold;
use crate::setting::{set_setting, setting};
use crate::version::VersionRow;
use crate::{BookId, CardRow, Store, StoreError};

/// One value found in a card, to answer queries without reading the card.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexEntry {
    /// The property's name in upper case, such as `EMAIL`; a single line.
    pub property: String,
    /// The value, as the caller wants to compare it.
    pub value: String,
}

/// A card and what is indexed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedCard {
    /// What is known of the card.
    pub row: CardRow,
    /// Its entries, property by property, each in the order in which they were given; `None` when the
    /// card is not indexed yet and has to be read.
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
    /// Every card of a book with its index entries, sorted by name.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn index_entries(&self, book: BookId) -> Result<Vec<IndexedCard>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(scan::ALL)?
                .query_map([book], |row| {
                    let index: Option<IndexRow> = row.get(5)?;
                    let entries = |index| find(snapshot, index)?.entries();
                    Ok(IndexedCard {
                        row: from_row(row)?,
                        entries: index.map(entries).transpose()?,
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
            .map(|new| (new.card, Index::new(&new.entries, &new.text)))
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
                     DELETE FROM index_stale;
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
    /// The values of each property.
    value_lists: Vec<u8>,
    /// Folded.
    text: String,
}

impl Index {
    pub(crate) fn new(entries: &[IndexEntry], text: &str) -> Self {
        Self {
            value_lists: value_list::join(entries),
            text: fold(text),
        }
    }

    fn entries(&self) -> rusqlite::Result<Vec<IndexEntry>> {
        let mut entries = Vec::new();
        for list in value_list::lists(&self.value_lists) {
            let (property, list) = list?;
            for value in value_list::values(list) {
                entries.push(IndexEntry {
                    property: property.to_owned(),
                    value: value?.to_owned(),
                });
            }
        }
        Ok(entries)
    }
}

/// Names a row of `card_index`: the version whose index it is.
pub(crate) type IndexRow = VersionRow;

/// Adds the index of a version.
pub(crate) fn insert(
    connection: &Connection,
    version: VersionRow,
    book: BookId,
    name: &str,
    index: &Index,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO card_index (id, book_id, name, value_lists, text)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![version, book, name, index.value_lists, index.text])
        .map(drop)
}

/// Prepares everything for queries at once, rather than when nobody waits for the writer.
pub(crate) fn complete(connection: &Connection) -> rusqlite::Result<()> {
    Derived::Entries.take_in(connection, usize::MAX).map(drop)
}

/// The index of one card, to be given to its copy.
pub(crate) fn find(connection: &Connection, id: IndexRow) -> rusqlite::Result<Index> {
    connection
        .prepare_cached("SELECT value_lists, text FROM card_index WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(Index {
                value_lists: row.get(0)?,
                text: row.get(1)?,
            })
        })
}

pub(crate) fn delete(connection: &Connection, id: IndexRow) -> rusqlite::Result<()> {
    derived::outdate(connection, id)?;
    connection
        .prepare_cached("DELETE FROM card_index WHERE id = ?1")?
        .execute([id])
        .map(drop)
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
        insert(connection, card.version, card.book, &card.name, index)?;
        let source = Source {
            id: card.version,
            book: card.book,
            value_lists: &index.value_lists,
            text: &index.text,
        };
        derived::take_in_late(connection, source)?;
        connection
            .prepare_cached("UPDATE cards SET index_id = ?3 WHERE book_id = ?1 AND name = ?2")?
            .execute(params![card.book, card.name, card.version])?;
    }
    Ok(())
}
