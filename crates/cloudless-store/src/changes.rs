use rusqlite::params;

use crate::card::from_row;
use crate::{BookId, CardRow, Store, StoreError, address_book};

/// What happened in an address book since an earlier revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The revision to ask from the next time.
    pub revision: u64,
    /// Cards that were added or changed, oldest change first.
    pub changed: Vec<CardRow>,
    /// Names of cards that are gone, oldest change first.
    pub removed: Vec<String>,
    /// Whether there is more: ask again with `revision`.
    pub truncated: bool,
}

impl Store {
    /// The changes after revision `since`, each card at most once and as it is at this moment; with
    /// `None` all cards. No revision is ever too old.
    ///
    /// With a `limit`, at most that many cards, the oldest changes first. A removed card may be one
    /// that the client never saw. It is told even if it was first stored after `since`, because the
    /// client may have stored it itself and not have synced since then.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchBook`], or the store failed.
    pub fn changes_since(
        &self,
        book: BookId,
        since: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Changes, StoreError> {
        let limit = limit.unwrap_or(usize::MAX);
        // One row more than asked for tells whether there is more.
        let rows_max = i64::try_from(limit).map_or(-1, |limit| limit.saturating_add(1));
        let since_column = since.map(|since| i64::try_from(since).unwrap_or(i64::MAX));
        let changes = self.read(|snapshot| {
            let Some(revision) = address_book::revision(snapshot, book)? else {
                return Ok(None);
            };
            let mut changes = Changes {
                revision,
                changed: Vec::new(),
                removed: Vec::new(),
                truncated: false,
            };
            let mut statement = snapshot.prepare_cached(SINCE)?;
            let mut rows = statement.query(params![book, since_column, rows_max])?;
            let mut last = since.unwrap_or(0);
            while let Some(row) = rows.next()? {
                if changes.changed.len() + changes.removed.len() == limit {
                    changes.revision = last;
                    changes.truncated = true;
                    break;
                }
                if row.get_ref(2)?.as_str_or_null()?.is_some() {
                    changes.changed.push(from_row(row)?);
                } else {
                    changes.removed.push(row.get(0)?);
                }
                last = row.get(5)?;
            }
            Ok(Some(changes))
        })?;
        changes.ok_or(StoreError::NoSuchBook)
    }
}

pub(crate) const SINCE: &str = "SELECT name, uid, etag, size, modified_at, revision FROM cards
     WHERE book_id = ?1 AND revision > coalesce(?2, 0)
         AND (version_id IS NOT NULL OR ?2 IS NOT NULL)
     ORDER BY revision LIMIT ?3";
