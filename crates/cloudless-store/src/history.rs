use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};

use crate::card::check_name;
use crate::{BookId, DeviceId, ETag, Store, StoreError, Timestamp, address_book};

/// Who writes, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The device that logged in; `None` for the owner at the machine itself.
    pub device: Option<DeviceId>,
    /// When.
    pub at: Timestamp,
}

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

impl Store {
    /// All that ever happened under this name, oldest first. All the bytes are in memory at once.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn versions(&self, book: BookId, name: &str) -> Result<Vec<Version>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT number, kind, bytes, device_id, at, reason FROM versions
                     WHERE book_id = ?1 AND name = ?2 ORDER BY number",
                )?
                .query_map(params![book, name], |row| {
                    Ok(Version {
                        number: row.get(0)?,
                        kind: row.get(1)?,
                        bytes: row.get(2)?,
                        device: row.get(3)?,
                        at: row.get(4)?,
                        reason: row.get(5)?,
                    })
                })?
                .collect()
        })
    }

    /// Keeps the body of a write that was refused before it reached [`Store::put_card`], because it
    /// is no vCard for example. `reason` is for people. Bytes that the history of this name already
    /// holds are not kept again.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidCardName`], [`StoreError::NoSuchBook`], [`StoreError::DeviceRevoked`], or
    /// the store failed.
    pub fn keep_refused(
        &self,
        book: BookId,
        name: &str,
        bytes: Vec<u8>,
        reason: &str,
        actor: Actor,
    ) -> Result<(), StoreError> {
        check_name(name)?;
        let etag = ETag::of(&bytes);
        let (name, reason) = (name.to_owned(), reason.to_owned());
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
            append_refused(connection, book, &name, body, &reason, actor)?;
            Ok(true)
        })?;
        if kept {
            Ok(())
        } else {
            Err(StoreError::NoSuchBook)
        }
    }
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
