use rusqlite::{Connection, params};

use crate::setting::{set_setting, setting};
use crate::version::VersionRow;
use crate::{Store, StoreError, Timestamp};

/// How many versions one transaction looks at, so that other writers wait for a short time only.
const BATCH: u64 = 1_000;
/// The setting of the moment from which on the history is whole.
const WHOLE_SINCE: &str = "history_whole_since";

/// What [`Store::prune`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many versions.
    pub versions: u64,
    /// How many bytes they had. The file does not shrink, but the room is used again.
    pub bytes: u64,
}

impl Store {
    /// Removes versions that were replaced or deleted before `limit`, and bodies that were refused
    /// before it. What is there now stays whatever its age, and so does the note that a card was
    /// deleted. Without a call nothing is ever removed.
    ///
    /// After this the state of a book before `limit` is not known any more.
    ///
    /// # Errors
    ///
    /// The store failed. A part may be removed then; call it again.
    pub fn prune(&self, limit: Timestamp) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let mut after = Some(0);
        while let Some(cursor) = after {
            let part = self.write(move |connection| {
                if pruned_before(connection, limit)?.is_none() {
                    set_setting(connection, WHOLE_SINCE, limit.0)?;
                }
                prune(connection, limit, cursor)
            })?;
            pruned.versions += part.pruned.versions;
            pruned.bytes += part.pruned.bytes;
            after = part.next;
        }
        Ok(pruned)
    }

    /// What [`Store::prune`] would remove.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn prunable(&self, limit: Timestamp) -> Result<Pruned, StoreError> {
        self.read(|snapshot| {
            let mut pruned = Pruned::default();
            let mut after = 0;
            while let Some(last) = batch_end(snapshot, after)? {
                for (_, bytes) in outdated(snapshot, after, last, limit)? {
                    pruned.versions += 1;
                    pruned.bytes += bytes;
                }
                after = last;
            }
            Ok(pruned)
        })
    }
}

/// When the state at that moment is not known any more: since when it is.
pub(crate) fn pruned_before(
    connection: &Connection,
    at: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    let since = setting(connection, WHOLE_SINCE)?.map(Timestamp);
    Ok(since.filter(|since| at < *since))
}

struct Part {
    pruned: Pruned,
    /// Where to go on; `None` at the end.
    next: Option<VersionRow>,
}

fn prune(connection: &Connection, limit: Timestamp, after: VersionRow) -> rusqlite::Result<Part> {
    let Some(last) = batch_end(connection, after)? else {
        return Ok(Part {
            pruned: Pruned::default(),
            next: None,
        });
    };
    let mut delete = connection.prepare_cached("DELETE FROM versions WHERE id = ?1")?;
    let mut pruned = Pruned::default();
    for (id, bytes) in outdated(connection, after, last, limit)? {
        delete.execute([id])?;
        pruned.versions += 1;
        pruned.bytes += bytes;
    }
    Ok(Part {
        pruned,
        next: Some(last),
    })
}

/// The last of the next versions; `None` at the end.
fn batch_end(connection: &Connection, after: VersionRow) -> rusqlite::Result<Option<VersionRow>> {
    connection
        .prepare_cached(
            "SELECT max(id) FROM (SELECT id FROM versions WHERE id > ?1 ORDER BY id LIMIT ?2)",
        )?
        .query_row(params![after, BATCH], |row| row.get(0))
}

/// The versions of a batch that were replaced or deleted before `limit`, with their sizes.
fn outdated(
    connection: &Connection,
    after: VersionRow,
    last: VersionRow,
    limit: Timestamp,
) -> rusqlite::Result<Vec<(VersionRow, u64)>> {
    // The newest row of all stays, so that no id is used again.
    connection
        .prepare_cached(
            "SELECT id, coalesce(length(bytes), 0) FROM versions
             WHERE id > ?1 AND id <= ?2 AND id < (SELECT max(id) FROM versions)
                 AND NOT EXISTS (SELECT 1 FROM cards WHERE version_id = versions.id)
                 AND CASE kind WHEN 'refused' THEN at ELSE (
                     SELECT next.at FROM versions AS next
                     WHERE next.book_id = versions.book_id AND next.name = versions.name
                         AND next.number > versions.number AND next.kind <> 'refused'
                     ORDER BY next.number LIMIT 1
                 ) END < ?3",
        )?
        .query_map(params![after, last, limit], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}
