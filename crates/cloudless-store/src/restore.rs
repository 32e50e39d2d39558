use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use rusqlite::{Connection, OptionalExtension, Rows, params};

use crate::current::{self, Current, Replacement};
use crate::retention;
use crate::version::{self, Body, VersionRow};
use crate::{Actor, BookId, ETag, Store, StoreError, Timestamp, VersionKind, address_book};

/// A card as it was at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCard {
    /// Its name.
    pub name: String,
    /// The number of the version that it had, for [`Store::version`].
    pub number: u64,
    /// The tag of its bytes.
    pub etag: ETag,
    /// The number of its bytes.
    pub size: u64,
    /// The UID found in it.
    pub uid: Option<String>,
    /// The full name found in it.
    pub full_name: Option<String>,
    /// When these bytes were stored.
    pub at: Timestamp,
    pub(crate) version: VersionRow,
}

/// What a restore does to an address book, as names of cards, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Cards that come back.
    pub created: Vec<String>,
    /// Cards that get other bytes.
    pub changed: Vec<String>,
    /// Cards that go.
    pub deleted: Vec<String>,
    /// Cards that cannot come back.
    pub conflicts: Vec<Conflict>,
}

/// A card that cannot come back, because another one has its UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The name of the card. It is not there after the restore.
    pub name: String,
    /// The name of the one that has its UID.
    pub other: String,
}

/// What became of a card that was to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// The card has the bytes of that version.
    Restored {
        /// The tag of these bytes.
        etag: ETag,
        /// The full name in them; that of a refused version is not known.
        full_name: Option<String>,
        /// Whether another card of this name was there before.
        replaced: bool,
    },
    /// It had them already.
    Unchanged(ETag),
    /// There is no such version, or it is a deletion.
    NoSuchVersion,
    /// There is no such address book.
    NoSuchBook,
    /// Refused: another card of the book has the UID.
    UidConflict {
        /// The name of that card.
        name: String,
    },
}

impl Store {
    /// Gives a card the bytes of one of its versions again, whether it is there or deleted: an
    /// ordinary change that syncs to all devices. A refused version can be restored too. A `dry_run`
    /// changes nothing and only says what would become of it.
    ///
    /// A restored card is not indexed: see [`Store::cards_without_index`].
    ///
    /// # Errors
    ///
    /// [`StoreError::DeviceRevoked`], or the store failed; nothing is changed then.
    pub fn restore_card(
        &self,
        book: BookId,
        name: &str,
        number: u64,
        dry_run: bool,
        actor: Actor,
    ) -> Result<RestoreOutcome, StoreError> {
        let name = name.to_owned();
        self.restore(dry_run, actor, move |connection| {
            let version = connection
                .prepare_cached(
                    "SELECT id FROM versions WHERE book_id = ?1 AND name = ?2 AND number = ?3",
                )?
                .query_row(params![book, name, number], |row| row.get(0))
                .optional()?;
            restore_version(connection, book, &name, version, dry_run, actor)
        })
    }

    /// Brings a deleted card back as it last was; a card that is there stays as it is. A `dry_run`
    /// changes nothing and only says what would become of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::DeviceRevoked`], or the store failed; nothing is changed then.
    pub fn undelete_card(
        &self,
        book: BookId,
        name: &str,
        dry_run: bool,
        actor: Actor,
    ) -> Result<RestoreOutcome, StoreError> {
        let name = name.to_owned();
        self.restore(dry_run, actor, move |connection| {
            let version = last_content(connection, book, &name, VersionRow::MAX)?;
            restore_version(connection, book, &name, version, dry_run, actor)
        })
    }

    /// The cards of an address book as they were at a moment, sorted by name. A book that is deleted
    /// has a past too.
    ///
    /// # Errors
    ///
    /// [`StoreError::HistoryPruned`], or the store failed.
    pub fn book_at(&self, book: BookId, at: Timestamp) -> Result<Vec<PastCard>, StoreError> {
        self.read(|snapshot| {
            if let Some(since) = retention::pruned_before(snapshot, at)? {
                return Ok(Err(StoreError::HistoryPruned { since }));
            }
            let mut statement = snapshot.prepare_cached(PAST)?;
            let mut past = Past(statement.query(params![book, at, VersionRow::MAX])?);
            std::iter::from_fn(|| past.next().transpose())
                .collect::<rusqlite::Result<_>>()
                .map(Ok)
        })?
    }

    /// The number of the version that a card had at a moment, for [`Store::version`]; `None` when it
    /// was not there.
    ///
    /// # Errors
    ///
    /// [`StoreError::HistoryPruned`], or the store failed.
    pub fn number_at(
        &self,
        book: BookId,
        name: &str,
        at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        self.read(|snapshot| {
            if let Some(since) = retention::pruned_before(snapshot, at)? {
                return Ok(Err(StoreError::HistoryPruned { since }));
            }
            let last: Option<(u64, VersionKind)> = snapshot
                .prepare_cached(
                    "SELECT number, kind FROM versions
                     WHERE book_id = ?1 AND name = ?2 AND kind <> 'refused' AND at <= ?3
                     ORDER BY number DESC LIMIT 1",
                )?
                .query_row(params![book, name, at], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let there = last.filter(|(_, kind)| *kind != VersionKind::Deleted);
            Ok(Ok(there.map(|(number, _)| number)))
        })?
    }

    /// The full name that a card last had until a moment, whether it was deleted since or not; the
    /// newest one it ever had with [`Timestamp`] of `i64::MAX`. To name the cards of a [`Difference`]
    /// without holding those of the whole book.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn full_name_at(
        &self,
        book: BookId,
        name: &str,
        at: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        self.read(|snapshot| {
            let full_name = snapshot
                .prepare_cached(
                    "SELECT full_name FROM versions
                     WHERE book_id = ?1 AND name = ?2 AND kind NOT IN ('refused', 'deleted')
                         AND at <= ?3
                     ORDER BY number DESC LIMIT 1",
                )?
                .query_row(params![book, name, at], |row| row.get(0))
                .optional()?;
            Ok(full_name.flatten())
        })
    }

    /// Makes the cards of an address book what they were at a moment, in one transaction, and says
    /// what that changes; a `dry_run` only says it. Restored cards are not indexed: see
    /// [`Store::cards_without_index`].
    ///
    /// # Errors
    ///
    /// [`StoreError::HistoryPruned`], [`StoreError::NoSuchBook`], [`StoreError::DeviceRevoked`], or
    /// the store failed; nothing is changed then.
    pub fn restore_book(
        &self,
        book: BookId,
        at: Timestamp,
        dry_run: bool,
        actor: Actor,
    ) -> Result<Difference, StoreError> {
        let restore = move |connection: &Connection| {
            if address_book::revision(connection, book)?.is_none() {
                return Ok(Err(StoreError::NoSuchBook));
            }
            if let Some(since) = retention::pruned_before(connection, at)? {
                return Ok(Err(StoreError::HistoryPruned { since }));
            }
            let (plan, difference) = plan(connection, book, at, VersionRow::MAX)?;
            if !dry_run {
                run(connection, book, &plan, &difference, actor)?;
            }
            Ok(Ok(difference))
        };
        self.alone().restore(dry_run, actor, restore)?
    }

    /// Reads for a dry run, and writes otherwise.
    fn restore<T: Send + 'static>(
        &self,
        dry_run: bool,
        actor: Actor,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match dry_run {
            true => self.read(operation),
            false => self.write_as(actor, operation),
        }
    }
}

/// Brings a card back as it was before a deletion, unless it is there, and notes what was done.
pub(crate) fn bring_back(
    connection: &Connection,
    book: BookId,
    name: String,
    deletion: VersionRow,
    actor: Actor,
    difference: &mut Difference,
) -> rusqlite::Result<()> {
    if current::find(connection, book, &name)?.is_some() {
        return Ok(());
    }
    let version = last_content(connection, book, &name, deletion)?;
    match restore_version(connection, book, &name, version, false, actor)? {
        RestoreOutcome::Restored { .. } => difference.created.push(name),
        RestoreOutcome::UidConflict { name: other } => {
            difference.conflicts.push(Conflict { name, other });
        }
        RestoreOutcome::Unchanged(_)
        | RestoreOutcome::NoSuchVersion
        | RestoreOutcome::NoSuchBook => {}
    }
    Ok(())
}

/// The newest version before another one with which the card was there.
pub(crate) fn last_content(
    connection: &Connection,
    book: BookId,
    name: &str,
    before: VersionRow,
) -> rusqlite::Result<Option<VersionRow>> {
    connection
        .prepare_cached(
            "SELECT id FROM versions
             WHERE book_id = ?1 AND name = ?2 AND id < ?3 AND kind NOT IN ('refused', 'deleted')
             ORDER BY number DESC LIMIT 1",
        )?
        .query_row(params![book, name, before], |row| row.get(0))
        .optional()
}

pub(crate) fn restore_version(
    connection: &Connection,
    book: BookId,
    name: &str,
    version: Option<VersionRow>,
    dry_run: bool,
    actor: Actor,
) -> rusqlite::Result<RestoreOutcome> {
    if address_book::revision(connection, book)?.is_none() {
        return Ok(RestoreOutcome::NoSuchBook);
    }
    let stored = match version {
        Some(version) => version::stored(connection, version)?,
        None => None,
    };
    let Some(stored) = stored else {
        return Ok(RestoreOutcome::NoSuchVersion);
    };
    let current = current::find(connection, book, name)?;
    if current.as_ref().map(|current| &current.etag) == Some(&stored.etag) {
        return Ok(RestoreOutcome::Unchanged(stored.etag));
    }
    if let Some(name) = current::other_with_uid(connection, book, name, stored.uid.as_deref())? {
        return Ok(RestoreOutcome::UidConflict { name });
    }
    if !dry_run {
        put_back(connection, book, name, current.as_ref(), &stored, actor)?;
    }
    Ok(RestoreOutcome::Restored {
        etag: stored.etag,
        full_name: stored.full_name,
        replaced: current.is_some(),
    })
}

fn put_back(
    connection: &Connection,
    book: BookId,
    name: &str,
    current: Option<&Current>,
    stored: &version::Stored,
    actor: Actor,
) -> rusqlite::Result<()> {
    let replacement = Replacement {
        book,
        name,
        kind: VersionKind::Restored,
        body: Body {
            etag: Some(&stored.etag),
            uid: stored.uid.as_deref(),
            full_name: stored.full_name.as_deref(),
            bytes: Some(&stored.bytes),
        },
        index: None,
        reason: None,
        actor,
    };
    current::replace(connection, current, &replacement).map(drop)
}

/// The plus keeps SQLite on the index by name. Over any other it would sort the versions, with all
/// their bytes in memory.
pub(crate) const PAST: &str = "
    SELECT name, number, etag, length(bytes), uid, full_name, at, max(id), kind
    FROM versions WHERE book_id = ?1 AND kind <> 'refused' AND at <= ?2 AND +id <= ?3
    GROUP BY name ORDER BY name";

/// The last version of each name until then, deletions left out, sorted by name.
struct Past<'a>(Rows<'a>);

impl Past<'_> {
    fn next(&mut self) -> rusqlite::Result<Option<PastCard>> {
        while let Some(row) = self.0.next()? {
            if row.get::<_, VersionKind>(8)? != VersionKind::Deleted {
                return Ok(Some(PastCard {
                    name: row.get(0)?,
                    number: row.get(1)?,
                    etag: row.get(2)?,
                    size: row.get(3)?,
                    uid: row.get(4)?,
                    full_name: row.get(5)?,
                    at: row.get(6)?,
                    version: row.get(7)?,
                }));
            }
        }
        Ok(None)
    }
}

/// The versions that have to be stored again, in the order of the names in the [`Difference`].
#[derive(Default)]
pub(crate) struct Plan {
    created: Vec<VersionRow>,
    changed: Vec<VersionRow>,
}

/// What has to be done to make the cards what they were at a moment, and what that changes. Both
/// states are read side by side, by name: it holds what differs, and a few bytes for each other card.
pub(crate) fn plan(
    connection: &Connection,
    book: BookId,
    at: Timestamp,
    until: VersionRow,
) -> rusqlite::Result<(Plan, Difference)> {
    let mut statement = connection.prepare_cached(PAST)?;
    let mut past = Past(statement.query(params![book, at, until])?);
    let mut statement = connection.prepare_cached(
        "SELECT name, etag FROM cards WHERE book_id = ?1 AND version_id IS NOT NULL ORDER BY name",
    )?;
    let mut present =
        statement.query_map([book], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let mut next_present = || present.next().transpose();
    let mut there: Option<(String, ETag)> = next_present()?;
    let mut uids = Uids::default();
    let mut plan = Plan::default();
    let mut difference = Difference::default();
    while let Some(card) = past.next()? {
        if let Some(other) = uids.other(connection, &card)? {
            let name = card.name;
            difference.conflicts.push(Conflict { name, other });
            continue;
        }
        while let Some((name, _)) = there.take_if(|(name, _)| *name < card.name) {
            difference.deleted.push(name);
            there = next_present()?;
        }
        match there.take_if(|(name, _)| *name == card.name) {
            Some((name, etag)) => {
                if etag != card.etag {
                    difference.changed.push(name);
                    plan.changed.push(card.version);
                }
                there = next_present()?;
            }
            None => {
                difference.created.push(card.name);
                plan.created.push(card.version);
            }
        }
    }
    while let Some((name, _)) = there {
        difference.deleted.push(name);
        there = next_present()?;
    }
    Ok((plan, difference))
}

/// The UIDs of cards that were there at one moment. They are all different, unless the clock went
/// back.
#[derive(Default)]
struct Uids {
    hasher: RandomState,
    versions: HashMap<u64, VersionRow>,
}

impl Uids {
    /// The name of the earlier card with the UID of this one, which is added if there is none.
    fn other(
        &mut self,
        connection: &Connection,
        card: &PastCard,
    ) -> rusqlite::Result<Option<String>> {
        let Some(uid) = &card.uid else {
            return Ok(None);
        };
        let hash = self.hasher.hash_one(uid);
        let Some(version) = self.versions.get(&hash) else {
            self.versions.insert(hash, card.version);
            return Ok(None);
        };
        connection
            .prepare_cached("SELECT name FROM versions WHERE id = ?1 AND uid = ?2")?
            .query_row(params![version, uid], |row| row.get(0))
            .optional()
    }
}

pub(crate) fn run(
    connection: &Connection,
    book: BookId,
    plan: &Plan,
    difference: &Difference,
    actor: Actor,
) -> rusqlite::Result<()> {
    for name in &difference.deleted {
        if let Some(current) = current::find(connection, book, name)? {
            current::remove(connection, book, name, &current, None, actor)?;
        }
    }
    // Two cards may have exchanged their UIDs: all old ones go before the first one comes back.
    let mut forget_uid = connection
        .prepare_cached("UPDATE cards SET uid = NULL WHERE book_id = ?1 AND name = ?2")?;
    for name in &difference.changed {
        forget_uid.execute(params![book, name])?;
    }
    let changed = difference.changed.iter().zip(&plan.changed);
    let created = difference.created.iter().zip(&plan.created);
    for (name, version) in changed.chain(created) {
        if let Some(content) = version::stored(connection, *version)? {
            let current = current::find(connection, book, name)?;
            put_back(connection, book, name, current.as_ref(), &content, actor)?;
        }
    }
    Ok(())
}
