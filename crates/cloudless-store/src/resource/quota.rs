use rusqlite::{Connection, params};

use super::ResourceId;
use crate::{Store, StoreError, UserId};

/// The most plain resources of a user, collections counted.
pub const RESOURCES_MAX: u64 = 10_000;
/// The most bytes that a user's plain resources may have together, dead properties counted.
pub const RESOURCE_BYTES_MAX: u64 = 64 << 20;

/// How much the plain resources of a user take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceUsage {
    /// How many there are, the root counted.
    pub count: u64,
    /// The bytes of their content and dead properties; at most [`RESOURCE_BYTES_MAX`].
    pub bytes: u64,
}

impl Store {
    /// How much the plain resources of a user take.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn resource_usage(&self, user: UserId) -> Result<ResourceUsage, StoreError> {
        self.read(|snapshot| usage(snapshot, user))
    }
}

impl ResourceUsage {
    /// Of one resource with so many bytes.
    pub(crate) fn of_content(bytes: usize) -> Self {
        Self {
            count: 1,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        }
    }

    /// Whether there is room for `added` once `removed` is gone.
    pub(crate) fn has_room(self, added: Self, removed: Self) -> bool {
        let count = (self.count + added.count).saturating_sub(removed.count);
        let bytes = (self.bytes.saturating_add(added.bytes)).saturating_sub(removed.bytes);
        count <= RESOURCES_MAX && bytes <= RESOURCE_BYTES_MAX
    }
}

pub(crate) fn usage(connection: &Connection, user: UserId) -> rusqlite::Result<ResourceUsage> {
    connection
        .prepare_cached(
            "SELECT count(*), coalesce(sum(size + property_size), 0)
             FROM resources WHERE user_id = ?1",
        )?
        .query_row([user], |row| {
            Ok(ResourceUsage {
                count: row.get(0)?,
                bytes: row.get(1)?,
            })
        })
}

/// Counts what the dead properties of a resource take; returns whether there is room for that.
pub(crate) fn set_property_size(
    connection: &Connection,
    id: ResourceId,
    size: usize,
) -> rusqlite::Result<bool> {
    let (user, old): (UserId, u64) = connection
        .prepare_cached("SELECT user_id, property_size FROM resources WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let removed = ResourceUsage {
        count: 1,
        bytes: old,
    };
    let has_room = usage(connection, user)?.has_room(ResourceUsage::of_content(size), removed);
    if has_room {
        connection
            .prepare_cached("UPDATE resources SET property_size = ?2 WHERE id = ?1")?
            .execute(params![id, size])?;
    }
    Ok(has_room)
}

/// What a resource takes, unless `is_alone` with all that is below it, and how many levels that is;
/// 0 for one without members.
pub(crate) fn usage_of_tree(
    connection: &Connection,
    top: ResourceId,
    is_alone: bool,
) -> rusqlite::Result<(ResourceUsage, usize)> {
    connection
        .prepare_cached(
            "WITH RECURSIVE tree (id, level) AS (
                 VALUES (?1, 0) UNION ALL
                 SELECT resources.id, level + 1 FROM tree JOIN resources ON parent_id = tree.id
                 WHERE NOT ?2
             )
             SELECT count(*), coalesce(sum(size + property_size), 0), coalesce(max(level), 0)
             FROM tree JOIN resources USING (id)",
        )?
        .query_row(params![top, is_alone], |row| {
            let usage = ResourceUsage {
                count: row.get(0)?,
                bytes: row.get(1)?,
            };
            Ok((usage, row.get(2)?))
        })
}
