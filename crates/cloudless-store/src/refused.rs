//! Bodies of writes that were refused.

use rusqlite::{Connection, params};

use crate::card::is_segment;
use crate::version::{self, Body};
use crate::{Actor, BookId, ETag, Store, StoreError, address_book, sharing};

/// How many bodies are kept of those that one device sends to a book that its user may only read.
const OF_READER_MAX: u64 = 1_000;

/// How many bytes these may have together. The newest body is kept whatever its size.
const OF_READER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The longest name of a card, in bytes.
const NAME_LEN_MAX: usize = 255;

impl Store {
    /// Keeps the body of a write that was refused before it reached [`Store::put_card`], because it
    /// is no vCard for example. `reason` is for people. Bytes that the history of this name already
    /// holds are not kept again.
    ///
    /// A name that no card can have is kept in a spelling that one can: `%2F` stands for a slash, and
    /// what is too long is cut.
    ///
    /// Of what a device sends to a book that its user may only read, the newest 1,000 bodies of 64 MiB
    /// are kept: whoever may not write does not fill the owner's disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchBook`], [`StoreError::DeviceRevoked`], or the store failed.
    pub fn keep_refused(
        &self,
        book: BookId,
        name: &str,
        bytes: Vec<u8>,
        reason: &str,
        actor: Actor,
    ) -> Result<(), StoreError> {
        let etag = ETag::of(&bytes);
        let (name, reason) = (name_in_history(name), reason.to_owned());
        let kept = self.write_as(actor, move |connection| {
            if address_book::revision(connection, book)?.is_none() {
                return Ok(false);
            }
            let body = Body {
                etag: Some(&etag),
                uid: None,
                full_name: None,
                bytes: Some(&bytes),
            };
            keep(connection, book, &name, body, &reason, actor)?;
            Ok(true)
        })?;
        if kept {
            Ok(())
        } else {
            Err(StoreError::NoSuchBook)
        }
    }
}

/// Whether a card can have this name: 1 to 255 bytes, no `/` and no NUL, neither `.` nor `..`.
pub fn is_card_name(name: &str) -> bool {
    is_segment(name)
}

fn name_in_history(name: &str) -> String {
    if is_segment(name) {
        return name.to_owned();
    }
    let mut spelling = match name {
        "" | "." | ".." => name.replace('.', "%2E") + "%",
        name => name.replace('/', "%2F").replace('\0', "%00"),
    };
    spelling.truncate(spelling.floor_char_boundary(NAME_LEN_MAX));
    spelling
}

/// Keeps a body in the history of a card whose name a card can have.
pub(crate) fn keep(
    connection: &Connection,
    book: BookId,
    name: &str,
    body: Body<'_>,
    reason: &str,
    actor: Actor,
) -> rusqlite::Result<()> {
    version::append_refused(connection, book, name, body, reason, actor)?;
    if sharing::is_withheld(connection, book, actor)? {
        forget_older(connection, book, actor)?;
    }
    Ok(())
}

fn forget_older(connection: &Connection, book: BookId, actor: Actor) -> rusqlite::Result<()> {
    connection
        .prepare_cached(FORGET_OLDER)?
        .execute(params![
            book,
            actor.device,
            OF_READER_MAX,
            OF_READER_BYTES_MAX
        ])
        .map(drop)
}

pub(crate) const FORGET_OLDER: &str = "DELETE FROM versions WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER newer AS count, sum(length(bytes)) OVER newer AS bytes
        FROM versions WHERE kind = 'refused' AND book_id = ?1 AND device_id = ?2
        WINDOW newer AS (ORDER BY id DESC)
    ) WHERE count > 1 AND (count > ?3 OR bytes > ?4)
)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_spelling_that_a_card_can_have() {
        let long = "ä".repeat(200);
        for (name, spelling) in [
            ("a.vcf", "a.vcf"),
            ("a/b", "a%2Fb"),
            ("a\0b", "a%00b"),
            ("", "%"),
            (".", "%2E%"),
            ("..", "%2E%2E%"),
            (long.as_str(), &long[..254]),
        ] {
            assert_eq!(name_in_history(name), spelling);
            assert!(is_card_name(&name_in_history(name)), "{name:?}");
        }
        assert!(is_card_name(&name_in_history(&"/".repeat(300))));
    }
}
