//! The current version of a name: the only place that changes what clients see.

use rusqlite::{Connection, OptionalExtension, params};

use crate::index::{self, Index, IndexRow};
use crate::version::{self, Body, VersionRow};
use crate::{Actor, BookId, ETag, VersionKind, address_book, properties};

/// The card that is there under a name.
pub(crate) struct Current {
    pub(crate) etag: ETag,
    pub(crate) uid: Option<String>,
    pub(crate) version: VersionRow,
    pub(crate) index: Option<IndexRow>,
}

/// What becomes the current version of a name, once all checks have passed.
pub(crate) struct Replacement<'a> {
    pub(crate) book: BookId,
    pub(crate) name: &'a str,
    pub(crate) kind: VersionKind,
    pub(crate) body: Body<'a>,
    /// `None` leaves the card without an index until [`Store::put_index`].
    ///
    /// [`Store::put_index`]: crate::Store::put_index
    pub(crate) index: Option<&'a Index>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) actor: Actor,
}

/// The card of that name, if there is one.
pub(crate) fn find(
    connection: &Connection,
    book: BookId,
    name: &str,
) -> rusqlite::Result<Option<Current>> {
    connection
        .prepare_cached(
            "SELECT etag, uid, version_id, index_id FROM cards
             WHERE book_id = ?1 AND name = ?2 AND version_id IS NOT NULL",
        )?
        .query_row(params![book, name], |row| {
            Ok(Current {
                etag: row.get(0)?,
                uid: row.get(1)?,
                version: row.get(2)?,
                index: row.get(3)?,
            })
        })
        .optional()
}

/// The other card of the book that has this UID.
pub(crate) fn other_with_uid(
    connection: &Connection,
    book: BookId,
    name: &str,
    uid: Option<&str>,
) -> rusqlite::Result<Option<String>> {
    let Some(uid) = uid else {
        return Ok(None);
    };
    connection
        .prepare_cached("SELECT name FROM cards WHERE book_id = ?1 AND uid = ?2 AND name <> ?3")?
        .query_row(params![book, uid, name], |row| row.get(0))
        .optional()
}

/// Stores a new version, makes it the current one, and returns it. `current` is what [`find`] found.
pub(crate) fn replace(
    connection: &Connection,
    current: Option<&Current>,
    replacement: &Replacement<'_>,
) -> rusqlite::Result<VersionRow> {
    let Replacement {
        book,
        name,
        kind,
        body,
        index,
        reason,
        actor,
    } = *replacement;
    let version = version::append(connection, book, name, kind, body, reason, actor)?;
    if let Some(old) = current.and_then(|current| current.index) {
        index::delete(connection, old)?;
    }
    if let Some(index) = index {
        index::insert(connection, version, book, name, index)?;
    }
    let added = i64::from(current.is_none());
    let revision = address_book::advance(connection, book, added)?;
    connection
        .prepare_cached(
            "INSERT INTO cards (book_id, name, first_revision, revision, modified_at,
                 version_id, etag, size, uid, index_id)
             VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (book_id, name) DO UPDATE SET
                 revision = excluded.revision, modified_at = excluded.modified_at,
                 version_id = excluded.version_id, etag = excluded.etag,
                 size = excluded.size, uid = excluded.uid, index_id = excluded.index_id",
        )?
        .execute(params![
            book,
            name,
            revision,
            actor.at,
            version,
            body.etag,
            body.bytes.map_or(0, <[u8]>::len),
            body.uid,
            index.map(|_| version),
        ])?;
    Ok(version)
}

/// Removes the card that [`find`] found, and returns the version that records it.
pub(crate) fn remove(
    connection: &Connection,
    book: BookId,
    name: &str,
    current: &Current,
    reason: Option<&str>,
    actor: Actor,
) -> rusqlite::Result<VersionRow> {
    let full_name: Option<String> = connection
        .prepare_cached("SELECT full_name FROM versions WHERE id = ?1")?
        .query_row([current.version], |row| row.get(0))?;
    let body = Body {
        etag: None,
        uid: current.uid.as_deref(),
        full_name: full_name.as_deref(),
        bytes: None,
    };
    let kind = VersionKind::Deleted;
    let version = version::append(connection, book, name, kind, body, reason, actor)?;
    if let Some(index) = current.index {
        index::delete(connection, index)?;
    }
    properties::delete(connection, book, name)?;
    let revision = address_book::advance(connection, book, -1)?;
    connection
        .prepare_cached(
            "UPDATE cards SET revision = ?3, modified_at = ?4,
                 version_id = NULL, etag = NULL, size = NULL, uid = NULL, index_id = NULL
             WHERE book_id = ?1 AND name = ?2",
        )?
        .execute(params![book, name, revision, actor.at])?;
    Ok(version)
}
