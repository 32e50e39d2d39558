use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Actor, BookId, DeviceId, ETag, Timestamp};

/// One thing that happened to a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counts the versions of this card, from 1.
    pub number: u64,
    /// What happened.
    pub kind: VersionKind,
    /// The bytes that were stored or refused; `None` for a deletion.
    pub bytes: Option<Vec<u8>>,
    /// Who did it.
    pub device: Option<DeviceId>,
    /// When.
    pub at: Timestamp,
    /// Why it was refused, or where it was moved or copied from or to.
    pub reason: Option<String>,
}

/// What a version records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionKind {
    /// The card appeared.
    Created,
    /// The card got other bytes.
    Changed,
    /// The card went.
    Deleted,
    /// Somebody tried to store these bytes and was refused. The card stayed as it was.
    Refused,
    /// The card got the bytes of an earlier version back.
    Restored,
}

/// The bytes of a version and what was found in them. A deletion has neither bytes nor a tag, and
/// says which contact went.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) etag: Option<&'a ETag>,
    pub(crate) uid: Option<&'a str>,
    pub(crate) full_name: Option<&'a str>,
    pub(crate) bytes: Option<&'a [u8]>,
}

/// Names a row of the history.
pub(crate) type VersionRow = i64;

/// Adds a version.
pub(crate) fn append(
    connection: &Connection,
    book: BookId,
    name: &str,
    kind: VersionKind,
    body: Body<'_>,
    reason: Option<&str>,
    actor: Actor,
) -> rusqlite::Result<VersionRow> {
    connection
        .prepare_cached(
            "INSERT INTO versions
                 (book_id, name, number, kind, at, device_id, reason, etag, uid, full_name, bytes)
             SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
             FROM versions WHERE book_id = ?1 AND name = ?2",
        )?
        .execute(params![
            book,
            name,
            kind,
            actor.at,
            actor.device,
            reason,
            body.etag,
            body.uid,
            body.full_name,
            body.bytes,
        ])?;
    Ok(connection.last_insert_rowid())
}

/// Adds a refused body, unless the history of this name has these bytes already: a client that
/// tries the same again and again must not fill the disk.
pub(crate) fn append_refused(
    connection: &Connection,
    book: BookId,
    name: &str,
    body: Body<'_>,
    reason: &str,
    actor: Actor,
) -> rusqlite::Result<()> {
    let known = connection
        .prepare_cached("SELECT 1 FROM versions WHERE book_id = ?1 AND name = ?2 AND etag = ?3")?
        .exists(params![book, name, body.etag])?;
    if !known {
        let kind = VersionKind::Refused;
        append(connection, book, name, kind, body, Some(reason), actor)?;
    }
    Ok(())
}

/// What a version holds, to be stored again.
pub(crate) struct Stored {
    pub(crate) etag: ETag,
    pub(crate) uid: Option<String>,
    pub(crate) full_name: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// The content of a version; `None` if it is gone, or the version is a deletion.
pub(crate) fn stored(
    connection: &Connection,
    version: VersionRow,
) -> rusqlite::Result<Option<Stored>> {
    connection
        .prepare_cached(
            "SELECT etag, uid, full_name, bytes FROM versions
             WHERE id = ?1 AND bytes IS NOT NULL",
        )?
        .query_row([version], |row| {
            Ok(Stored {
                etag: row.get(0)?,
                uid: row.get(1)?,
                full_name: row.get(2)?,
                bytes: row.get(3)?,
            })
        })
        .optional()
}

/// Reads the columns number, kind, bytes, device_id, at and reason.
pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        number: row.get(0)?,
        kind: row.get(1)?,
        bytes: row.get(2)?,
        device: row.get(3)?,
        at: row.get(4)?,
        reason: row.get(5)?,
    })
}

impl ToSql for VersionKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Refused => "refused",
            Self::Restored => "restored",
        };
        Ok(text.into())
    }
}

impl FromSql for VersionKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value.as_str()? {
            "created" => Self::Created,
            "changed" => Self::Changed,
            "deleted" => Self::Deleted,
            "refused" => Self::Refused,
            "restored" => Self::Restored,
            _ => return Err(FromSqlError::InvalidType),
        })
    }
}
