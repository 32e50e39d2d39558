use std::ops::RangeInclusive;

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
        let first = since.map_or(0, |since| since.saturating_add(1));
        let limit = limit.unwrap_or(usize::MAX);
        self.changes_between(book, first..=u64::MAX, since.is_some(), limit)
    }

    /// The cards whose last change is within `revisions`, at most `limit` of them, the oldest
    /// changes first; those that are gone only if `removed`. It reads a long list a page at a time:
    /// a card that changes between two pages leaves the range, so end it at the revision of the
    /// first page, and the next sync tells of that card.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchBook`], or the store failed.
    pub fn changes_between(
        &self,
        book: BookId,
        revisions: RangeInclusive<u64>,
        removed: bool,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        let column = |revision: &u64| i64::try_from(*revision).unwrap_or(i64::MAX);
        let (first, last) = (column(revisions.start()), column(revisions.end()));
        // One row more than asked for tells whether there is more.
        let rows_max = i64::try_from(limit).map_or(-1, |limit| limit.saturating_add(1));
        let changes = self.read(|snapshot| {
            let Some(revision) = address_book::revision(snapshot, book)? else {
                return Ok(None);
            };
            let mut changes = Changes {
                revision: revision.min(*revisions.end()),
                changed: Vec::new(),
                removed: Vec::new(),
                truncated: false,
            };
            let mut statement = snapshot.prepare_cached(BETWEEN)?;
            let mut rows = statement.query(params![book, first, last, removed, rows_max])?;
            let mut told = revisions.start().saturating_sub(1);
            while let Some(row) = rows.next()? {
                if changes.changed.len() + changes.removed.len() == limit {
                    changes.revision = told;
                    changes.truncated = true;
                    break;
                }
                if row.get_ref(2)?.as_str_or_null()?.is_some() {
                    changes.changed.push(from_row(row)?);
                } else {
                    changes.removed.push(row.get(0)?);
                }
                told = row.get(5)?;
            }
            Ok(Some(changes))
        })?;
        changes.ok_or(StoreError::NoSuchBook)
    }
}

pub(crate) const BETWEEN: &str = "SELECT name, uid, etag, size, modified_at, revision FROM cards
     WHERE book_id = ?1 AND revision BETWEEN ?2 AND ?3 AND (version_id IS NOT NULL OR ?4)
     ORDER BY revision LIMIT ?5";
