use std::collections::HashSet;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::address_book::edit;
use crate::current;
use crate::restore::{self, Conflict, Difference, RestoreOutcome};
use crate::setting::{set_setting, setting};
use crate::version::VersionRow;
use crate::{Actor, BookError, BookId, DeviceId, Store, StoreError, Timestamp};

const MINUTE_MILLIS: i64 = 60 * 1_000;
/// Deletions that are no further apart belong together.
const WINDOW_MINUTES: i64 = 10;
/// Fewer deletions are never an alarm.
const CARDS_MIN: u64 = 10;
/// The share of a book's cards whose deletion is one, unless it is set otherwise.
pub(crate) const SHARE_DEFAULT: u64 = 20;
/// The setting of that share.
const SHARE: &str = "alarm_share";

/// Names an alarm within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmId(pub i64);

/// A device deleted a large share of an address book within ten minutes. It was served. A card that
/// another one was copied or moved over counts as deleted; one that is stored again with other bytes
/// does not, as a client that edits all of its cards does just that: its history has the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The id, for [`Store::undo_mass_deletion`].
    pub id: AlarmId,
    /// The address book.
    pub book: BookId,
    /// Its name in its owner's URLs.
    pub slug: String,
    /// The name of its owner.
    pub owner: String,
    /// The device.
    pub device: DeviceId,
    /// The device's name.
    pub device_name: String,
    /// When the first of the cards was deleted.
    pub first_at: Timestamp,
    /// When the last one was.
    pub last_at: Timestamp,
    /// How many were.
    pub count: u64,
    /// When it was undone; `None` while it is not.
    pub undone_at: Option<Timestamp>,
}

impl Store {
    /// All alarms, the newest first, those that were undone too.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT alarms.id, book_id, slug, users.name, device_id, devices.name,
                         first_at, last_at, count, undone_at
                     FROM alarms JOIN address_books ON address_books.id = book_id
                         JOIN users ON users.id = address_books.user_id
                         JOIN devices ON devices.id = device_id
                     ORDER BY alarms.id DESC",
                )?
                .query_map([], from_row)?
                .collect()
        })
    }

    /// Brings back exactly the cards that the device deleted, as they were, and the address book if
    /// that was deleted. A card of which somebody stored a new version meanwhile stays as it is; one
    /// whose UID another card has now is reported.
    ///
    /// # Errors
    ///
    /// [`BookError::NoSuchAlarm`] also when it was undone before, [`BookError::SlugTaken`],
    /// [`StoreError::DeviceRevoked`], or the store failed.
    pub fn undo_mass_deletion(
        &self,
        alarm: AlarmId,
        actor: Actor,
    ) -> Result<Difference, BookError> {
        self.alone().write_as(actor, move |connection| {
            let Some(deletions) = find(connection, alarm)? else {
                return Ok(Err(BookError::NoSuchAlarm));
            };
            if let Err(slug) = edit::reopen_book(connection, deletions.book)? {
                return Ok(Err(BookError::SlugTaken { slug }));
            }
            let difference = undo(connection, &deletions, actor)?;
            connection
                .prepare_cached("UPDATE alarms SET undone_at = ?2 WHERE id = ?1")?
                .execute(params![alarm, actor.at])?;
            connection
                .prepare_cached(
                    "DELETE FROM deletion_counts WHERE book_id = ?1 AND device_id = ?2",
                )?
                .execute(params![deletions.book, deletions.device])?;
            Ok(Ok(difference))
        })?
    }

    /// Sets which share of a book's cards, in percent, one device may delete within ten minutes
    /// before that is an alarm: 20 unless set. With 100 there is never one.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn set_alarm_share(&self, percent: u8) -> Result<(), StoreError> {
        self.write(move |connection| set_setting(connection, SHARE, i64::from(percent)))
    }
}

/// Counts a deletion, and raises an alarm or adds to one. Costs the same for any number of cards.
pub(crate) fn note_deletion(
    connection: &Connection,
    book: BookId,
    version: VersionRow,
    actor: Actor,
) -> rusqlite::Result<()> {
    let Some(device) = actor.device else {
        return Ok(());
    };
    let minute = actor.at.0.div_euclid(MINUTE_MILLIS);
    connection
        .prepare_cached(
            "DELETE FROM deletion_counts WHERE book_id = ?1 AND device_id = ?2
                 AND minute NOT BETWEEN ?3 - ?4 AND ?3",
        )?
        .execute(params![book, device, minute, WINDOW_MINUTES - 1])?;
    connection
        .prepare_cached(
            "INSERT INTO deletion_counts VALUES (?1, ?2, ?3, 1, ?4, ?5)
             ON CONFLICT (book_id, device_id, minute) DO UPDATE SET count = count + 1",
        )?
        .execute(params![book, device, minute, actor.at, version])?;
    if !extend(connection, book, device, version, actor.at)? {
        raise(connection, book, device, version, actor.at)?;
    }
    Ok(())
}

/// Adds to the last alarm, if it is not long ago. Returns whether it did.
fn extend(
    connection: &Connection,
    book: BookId,
    device: DeviceId,
    version: VersionRow,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    let last: Option<(AlarmId, i64, Option<Timestamp>)> = connection
        .prepare_cached(
            "SELECT id, last_at, undone_at FROM alarms WHERE book_id = ?1 AND device_id = ?2
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![book, device], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((alarm, last_at, None)) = last else {
        return Ok(false);
    };
    if at.0.saturating_sub(last_at) > WINDOW_MINUTES * MINUTE_MILLIS {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "UPDATE alarms SET count = count + 1, last_at = ?2, last_version = ?3 WHERE id = ?1",
        )?
        .execute(params![alarm, at, version])?;
    Ok(true)
}

fn raise(
    connection: &Connection,
    book: BookId,
    device: DeviceId,
    version: VersionRow,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let (count, first_at, first_version): (u64, Timestamp, VersionRow) = connection
        .prepare_cached(
            "SELECT sum(count), min(first_at), min(first_version) FROM deletion_counts
             WHERE book_id = ?1 AND device_id = ?2",
        )?
        .query_row(params![book, device], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let left: u64 = connection
        .prepare_cached("SELECT card_count FROM address_books WHERE id = ?1")?
        .query_row([book], |row| row.get(0))?;
    let share = match setting(connection, SHARE)? {
        Some(share) => u64::try_from(share).unwrap_or(SHARE_DEFAULT),
        None => SHARE_DEFAULT,
    };
    if count < CARDS_MIN || count * 100 <= share * (left + count) {
        return Ok(());
    }
    tracing::warn!(
        count,
        "A device deleted a large share of an address book; this can be undone"
    );
    connection
        .prepare_cached(
            "INSERT INTO alarms
                 (book_id, device_id, first_at, last_at, first_version, last_version, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            book,
            device,
            first_at,
            at,
            first_version,
            version,
            count
        ])
        .map(drop)
}

/// The deletions of an alarm.
struct Deletions {
    book: BookId,
    device: DeviceId,
    first: VersionRow,
    last: VersionRow,
}

fn find(connection: &Connection, alarm: AlarmId) -> rusqlite::Result<Option<Deletions>> {
    connection
        .prepare_cached(
            "SELECT book_id, device_id, first_version, last_version FROM alarms
             WHERE id = ?1 AND undone_at IS NULL",
        )?
        .query_row([alarm], |row| {
            Ok(Deletions {
                book: row.get(0)?,
                device: row.get(1)?,
                first: row.get(2)?,
                last: row.get(3)?,
            })
        })
        .optional()
}

fn undo(
    connection: &Connection,
    deletions: &Deletions,
    actor: Actor,
) -> rusqlite::Result<Difference> {
    // A deletion with a reason is the end of a move, which loses nothing.
    let names: Vec<(String, VersionRow)> = connection
        .prepare_cached(
            "SELECT name, max(id) FROM versions
             WHERE book_id = ?1 AND id BETWEEN ?2 AND ?3
                 AND device_id = ?4 AND kind = 'deleted' AND reason IS NULL
             GROUP BY name ORDER BY name",
        )?
        .query_map(
            params![
                deletions.book,
                deletions.first,
                deletions.last,
                deletions.device
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect::<Result<_, _>>()?;
    let mut difference = Difference::default();
    uncover(connection, deletions, actor, &mut difference)?;
    for (name, deletion) in names {
        restore::bring_back(
            connection,
            deletions.book,
            name,
            deletion,
            actor,
            &mut difference,
        )?;
    }
    Ok(difference)
}

/// Brings back the cards that another one was copied or moved over, and that one where it was moved
/// away from, the last first: one card may have gone over many. What somebody stored since stays.
fn uncover(
    connection: &Connection,
    deletions: &Deletions,
    actor: Actor,
    difference: &mut Difference,
) -> rusqlite::Result<()> {
    let Deletions {
        book,
        device,
        first,
        last,
    } = *deletions;
    let covering: Vec<(VersionRow, String)> = connection
        .prepare_cached(
            "SELECT id, name FROM versions
             WHERE book_id = ?1 AND id BETWEEN ?2 AND ?3 AND device_id = ?4 AND kind = 'changed'
                 AND (reason LIKE 'moved from %' OR reason LIKE 'copied from %')
             ORDER BY id DESC",
        )?
        .query_map(params![book, first, last, device], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut sources = HashSet::new();
    for (version, name) in covering {
        let current = current::find(connection, book, &name)?;
        let was_moved_on = sources.remove(&(book, name.clone()));
        if !was_moved_on && current.is_none_or(|current| current.version != version) {
            continue;
        }
        let was = restore::last_content(connection, book, &name, version)?;
        match restore::restore_version(connection, book, &name, was, false, actor)? {
            RestoreOutcome::Restored { .. } if !was_moved_on => difference.changed.push(name),
            RestoreOutcome::UidConflict { name: other } => {
                difference.conflicts.push(Conflict { name, other });
            }
            _ => {}
        }
        // A move notes the end of its source just before.
        let source: Option<(BookId, String)> = connection
            .prepare_cached(
                "SELECT book_id, name FROM versions
                 WHERE id = ?1 - 1 AND kind = 'deleted' AND device_id = ?2
                     AND reason LIKE 'moved to %'",
            )?
            .query_row(params![version, device], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some((book, name)) = source
            && current::find(connection, book, &name)?.is_none()
        {
            let source = (book, name.clone());
            restore::bring_back(connection, book, name, version - 1, actor, difference)?;
            sources.insert(source);
        }
    }
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Alarm> {
    Ok(Alarm {
        id: row.get(0)?,
        book: row.get(1)?,
        slug: row.get(2)?,
        owner: row.get(3)?,
        device: row.get(4)?,
        device_name: row.get(5)?,
        first_at: row.get(6)?,
        last_at: row.get(7)?,
        count: row.get(8)?,
        undone_at: row.get(9)?,
    })
}

impl ToSql for AlarmId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for AlarmId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}
