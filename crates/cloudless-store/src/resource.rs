//! Plain collections and plain resources (RFC 4918): for each user a tree of anything that is no
//! contact. It has no history.

pub(crate) mod edit;
mod quota;
pub(crate) mod transfer;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{ETag, Store, StoreError, Timestamp, UserId};

pub(crate) use quota::set_property_size;
pub use quota::{RESOURCE_BYTES_MAX, RESOURCES_MAX, ResourceUsage};

/// The most names in a path.
pub const RESOURCE_DEPTH_MAX: usize = 32;

/// Names a plain resource within one store. An id is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceId(i64);

/// A plain collection, or a plain resource in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The id.
    pub id: ResourceId,
    /// The last name of its path; empty for the root of a tree.
    pub name: String,
    /// When its content was stored, or the collection made.
    pub modified_at: Timestamp,
    /// What is known of its content; `None` for a collection.
    pub content: Option<Content>,
}

/// What is known of the content of a plain resource without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The tag of its bytes.
    pub etag: ETag,
    /// The media type that it came with, if any.
    pub content_type: Option<String>,
    /// The number of its bytes.
    pub size: u64,
}

impl Store {
    /// What is at a path of a user's tree: the names of collections and the name of a member. The
    /// empty path is the root, which every user has.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn resource(&self, user: UserId, path: &[String]) -> Result<Option<Resource>, StoreError> {
        self.read(|snapshot| find(snapshot, user, path))
    }

    /// What is at a path with its bytes, which are empty for a collection.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn resource_with_bytes(
        &self,
        user: UserId,
        path: &[String],
    ) -> Result<Option<(Resource, Vec<u8>)>, StoreError> {
        self.read(|snapshot| {
            let Some(resource) = find(snapshot, user, path)? else {
                return Ok(None);
            };
            let bytes: Option<Vec<u8>> = snapshot
                .prepare_cached("SELECT bytes FROM resources WHERE id = ?1")?
                .query_row([resource.id], |row| row.get(0))?;
            Ok(Some((resource, bytes.unwrap_or_default())))
        })
    }

    /// The members of a collection, sorted by name.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn resource_members(&self, collection: ResourceId) -> Result<Vec<Resource>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT id, name, modified_at, etag, content_type, size FROM resources
                     WHERE parent_id = ?1 ORDER BY name",
                )?
                .query_map([collection], from_row)?
                .collect()
        })
    }
}

/// The root of a new user's tree.
pub(crate) fn insert_root(
    connection: &Connection,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO resources (user_id, name, modified_at) VALUES (?1, '', ?2)")?
        .execute(params![user, now])
        .map(drop)
}

pub(crate) fn find(
    connection: &Connection,
    user: UserId,
    path: &[String],
) -> rusqlite::Result<Option<Resource>> {
    let root = connection
        .prepare_cached(
            "SELECT id, name, modified_at, etag, content_type, size FROM resources
             WHERE user_id = ?1 AND parent_id IS NULL",
        )?
        .query_row([user], from_row)
        .optional()?;
    let mut found = root;
    for name in path {
        let Some(parent) = found else {
            return Ok(None);
        };
        found = connection
            .prepare_cached(
                "SELECT id, name, modified_at, etag, content_type, size FROM resources
                 WHERE parent_id = ?1 AND name = ?2",
            )?
            .query_row(params![parent.id, name], from_row)
            .optional()?;
    }
    Ok(found)
}

/// The tag of a resource, which a collection has not; `None` if it does not exist.
pub(crate) fn etag(
    connection: &Connection,
    id: ResourceId,
) -> rusqlite::Result<Option<Option<ETag>>> {
    connection
        .prepare_cached("SELECT etag FROM resources WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Resource> {
    let etag: Option<ETag> = row.get(3)?;
    let content = match etag {
        Some(etag) => Some(Content {
            etag,
            content_type: row.get(4)?,
            size: row.get(5)?,
        }),
        None => None,
    };
    Ok(Resource {
        id: row.get(0)?,
        name: row.get(1)?,
        modified_at: row.get(2)?,
        content,
    })
}

impl ToSql for ResourceId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for ResourceId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}
