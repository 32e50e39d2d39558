use rusqlite::{Connection, params};

use super::edit::{Place, ResourceOutcome, check_path, delete};
use super::quota::{ResourceUsage, usage, usage_of_tree};
use super::{RESOURCE_DEPTH_MAX, ResourceId, find};
use crate::precondition::Found;
use crate::{Actor, Precondition, ResourceError, Store, Timestamp, UserId};

/// A plain resource to be copied or moved, with its dead properties (RFC 4918 sections 9.8 and 9.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceTransfer {
    /// Whose tree it is in.
    pub user: UserId,
    /// Its path.
    pub from: Vec<String>,
    /// Its path afterwards, whose collections exist.
    pub to: Vec<String>,
    /// What becomes of it.
    pub kind: ResourceTransferKind,
    /// Whether what is at the destination may be replaced, with all that is below it.
    pub overwrite: bool,
    /// What must be true of the resource.
    pub precondition: Precondition,
}

/// What becomes of a plain resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceTransferKind {
    /// It is copied with all that is below it.
    Copy,
    /// It is copied alone: a collection without its members.
    CopyAlone,
    /// It is moved with all that is below it.
    Move,
}

impl Store {
    /// Copies or moves a plain resource, in one transaction.
    ///
    /// # Errors
    ///
    /// [`ResourceError`] says what was in the way; nothing is changed then.
    pub fn transfer_resource(
        &self,
        transfer: ResourceTransfer,
        actor: Actor,
    ) -> Result<ResourceOutcome, ResourceError> {
        let (from, to) = (&transfer.from, &transfer.to);
        check_path(to)?;
        if from.is_empty() || to.is_empty() {
            return Err(ResourceError::Root);
        }
        let goes_below = to.starts_with(from) && transfer.kind != ResourceTransferKind::CopyAlone;
        if from == to || goes_below || from.starts_with(to) {
            return Err(ResourceError::IntoItself);
        }
        self.write_as(actor, move |connection| run(connection, &transfer, actor))?
    }
}

fn run(
    connection: &Connection,
    transfer: &ResourceTransfer,
    actor: Actor,
) -> rusqlite::Result<Result<ResourceOutcome, ResourceError>> {
    let user = transfer.user;
    let source = find(connection, user, &transfer.from)?;
    if !transfer
        .precondition
        .holds(connection, Found::from(source.as_ref()))?
    {
        return Ok(Err(ResourceError::PreconditionFailed));
    }
    let Some(source) = source else {
        return Ok(Err(ResourceError::NotFound));
    };
    let place = match Place::find(connection, user, &transfer.to)? {
        Ok(place) => place,
        Err(error) => return Ok(Err(error)),
    };
    if place.found.is_some() && !transfer.overwrite {
        return Ok(Err(ResourceError::DestinationExists));
    }
    let is_alone = transfer.kind == ResourceTransferKind::CopyAlone;
    let (added, levels) = usage_of_tree(connection, source.id, is_alone)?;
    if transfer.to.len() + levels > RESOURCE_DEPTH_MAX {
        return Ok(Err(ResourceError::TooDeep));
    }
    let removed = match &place.found {
        Some(old) => usage_of_tree(connection, old.id, false)?.0,
        None => ResourceUsage::default(),
    };
    let moves = transfer.kind == ResourceTransferKind::Move;
    if !moves && !usage(connection, user)?.has_room(added, removed) {
        return Ok(Err(ResourceError::QuotaExceeded));
    }
    if let Some(old) = &place.found {
        delete(connection, old.id)?;
    }
    if moves {
        connection
            .prepare_cached("UPDATE resources SET parent_id = ?2, name = ?3 WHERE id = ?1")?
            .execute(params![source.id, place.parent, place.name])?;
    } else {
        copy(
            connection,
            source.id,
            place.parent,
            place.name,
            !is_alone,
            actor.at,
        )?;
    }
    Ok(Ok(match place.found {
        Some(_) => ResourceOutcome::Replaced,
        None => ResourceOutcome::Created,
    }))
}

/// Copies a resource, and with `members` all that is below it. The depth of a path bounds the depth
/// of this.
fn copy(
    connection: &Connection,
    from: ResourceId,
    parent: ResourceId,
    name: &str,
    members: bool,
    at: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO resources (user_id, parent_id, name, modified_at, etag, content_type, size,
                 property_size, bytes)
             SELECT user_id, ?2, ?3, ?4, etag, content_type, size, property_size, bytes
             FROM resources WHERE id = ?1",
        )?
        .execute(params![from, parent, name, at])?;
    let to = ResourceId(connection.last_insert_rowid());
    connection
        .prepare_cached(
            "INSERT INTO resource_properties (resource_id, namespace, local, value)
             SELECT ?2, namespace, local, value FROM resource_properties WHERE resource_id = ?1",
        )?
        .execute([from, to])?;
    if !members {
        return Ok(());
    }
    let below: Vec<(ResourceId, String)> = connection
        .prepare_cached("SELECT id, name FROM resources WHERE parent_id = ?1")?
        .query_map([from], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, name) in below {
        copy(connection, id, to, &name, true, at)?;
    }
    Ok(())
}
