use rusqlite::{Connection, params};

use super::quota::{ResourceUsage, usage};
use super::{RESOURCE_DEPTH_MAX, Resource, ResourceId, find};
use crate::card::is_segment;
use crate::precondition::Found;
use crate::{
    Actor, DeadProperty, ETag, PROPERTIES_MAX, Precondition, PropertyChanges, PropertyTarget,
    ResourceError, Store, Timestamp, UserId, properties,
};

/// What a plain resource is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewContent {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The media type to give them back with.
    pub content_type: Option<String>,
}

/// Whether something new came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceOutcome {
    /// There was nothing at the path.
    Created,
    /// What was at the path is replaced.
    Replaced,
}

impl Store {
    /// Stores a plain resource at a path whose collections exist. Its dead properties stay.
    ///
    /// # Errors
    ///
    /// [`ResourceError`] says what was in the way; nothing is stored then.
    pub fn put_resource(
        &self,
        user: UserId,
        path: Vec<String>,
        content: NewContent,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<(ResourceOutcome, ETag), ResourceError> {
        check_path(&path)?;
        let etag = ETag::of(&content.bytes);
        self.write_as(actor, move |connection| {
            let place = match Place::find(connection, user, &path)? {
                Ok(place) => place,
                Err(error) => return Ok(Err(error)),
            };
            if !precondition.holds(connection, Found::from(place.found.as_ref()))? {
                return Ok(Err(ResourceError::PreconditionFailed));
            }
            let mut removed = ResourceUsage::default();
            if let Some(found) = &place.found {
                let Some(old) = &found.content else {
                    return Ok(Err(ResourceError::Exists));
                };
                removed = ResourceUsage {
                    count: 1,
                    bytes: old.size,
                };
            }
            let added = ResourceUsage::of_content(content.bytes.len());
            if !usage(connection, user)?.has_room(added, removed) {
                return Ok(Err(ResourceError::QuotaExceeded));
            }
            connection
                .prepare_cached(
                    "INSERT INTO resources
                         (user_id, parent_id, name, modified_at, etag, content_type, size, bytes)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                     ON CONFLICT (parent_id, name) DO UPDATE SET
                         modified_at = excluded.modified_at, etag = excluded.etag,
                         content_type = excluded.content_type, size = excluded.size,
                         bytes = excluded.bytes",
                )?
                .execute(params![
                    user,
                    place.parent,
                    place.name,
                    actor.at,
                    etag,
                    content.content_type,
                    content.bytes.len(),
                    content.bytes,
                ])?;
            let outcome = match place.found {
                Some(_) => ResourceOutcome::Replaced,
                None => ResourceOutcome::Created,
            };
            Ok(Ok((outcome, etag)))
        })?
    }

    /// Makes a plain collection with these dead properties at a path where nothing is.
    ///
    /// # Errors
    ///
    /// [`ResourceError`] says what was in the way; nothing is made then.
    pub fn make_collection(
        &self,
        user: UserId,
        path: Vec<String>,
        properties: Vec<DeadProperty>,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<(), ResourceError> {
        check_path(&path)?;
        let changes = PropertyChanges {
            dead: properties,
            ..PropertyChanges::default()
        };
        if !changes.fit() || changes.dead.len() > PROPERTIES_MAX {
            return Err(ResourceError::QuotaExceeded);
        }
        self.write_as(actor, move |connection| {
            let place = match Place::find(connection, user, &path)? {
                Ok(place) => place,
                Err(error) => return Ok(Err(error)),
            };
            if place.found.is_some() {
                return Ok(Err(ResourceError::Exists));
            }
            if !precondition.holds(connection, Found::Nothing)? {
                return Ok(Err(ResourceError::PreconditionFailed));
            }
            let size = changes.dead.iter().map(DeadProperty::size).sum();
            let added = ResourceUsage::of_content(size);
            if !usage(connection, user)?.has_room(added, ResourceUsage::default()) {
                return Ok(Err(ResourceError::QuotaExceeded));
            }
            let collection = place.insert_collection(connection, user, actor.at)?;
            let target = PropertyTarget::Resource(collection);
            properties::change(connection, &target, &changes.dead)?;
            Ok(Ok(()))
        })?
    }

    /// Deletes a plain resource, or a collection with all that is below it. There is no history to
    /// bring it back from.
    ///
    /// # Errors
    ///
    /// [`ResourceError`] says what was in the way; nothing is deleted then.
    pub fn delete_resource(
        &self,
        user: UserId,
        path: Vec<String>,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<(), ResourceError> {
        if path.is_empty() {
            return Err(ResourceError::Root);
        }
        self.write_as(actor, move |connection| {
            let found = find(connection, user, &path)?;
            if !precondition.holds(connection, Found::from(found.as_ref()))? {
                return Ok(Err(ResourceError::PreconditionFailed));
            }
            match found {
                Some(resource) => delete(connection, resource.id).map(Ok),
                None => Ok(Err(ResourceError::NotFound)),
            }
        })?
    }
}

/// A path by its last name, for something new.
pub(super) struct Place<'a> {
    pub(super) parent: ResourceId,
    pub(super) name: &'a str,
    /// What is there already.
    pub(super) found: Option<Resource>,
}

impl<'a> Place<'a> {
    pub(super) fn find(
        connection: &Connection,
        user: UserId,
        path: &'a [String],
    ) -> rusqlite::Result<Result<Self, ResourceError>> {
        let Some((name, parents)) = path.split_last() else {
            return Ok(Err(ResourceError::Root));
        };
        let Some(Resource {
            id: parent,
            content: None,
            ..
        }) = find(connection, user, parents)?
        else {
            return Ok(Err(ResourceError::NoCollection));
        };
        Ok(Ok(Self {
            parent,
            name,
            found: find(connection, user, path)?,
        }))
    }

    fn insert_collection(
        &self,
        connection: &Connection,
        user: UserId,
        at: Timestamp,
    ) -> rusqlite::Result<ResourceId> {
        connection
            .prepare_cached(
                "INSERT INTO resources (user_id, parent_id, name, modified_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![user, self.parent, self.name, at])?;
        Ok(ResourceId(connection.last_insert_rowid()))
    }
}

/// Deletes a resource, and by foreign keys what is below it and all their dead properties.
pub(super) fn delete(connection: &Connection, id: ResourceId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM resources WHERE id = ?1")?
        .execute([id])
        .map(drop)
}

/// Whether something may be stored at this path.
pub(super) fn check_path(path: &[String]) -> Result<(), ResourceError> {
    if path.len() > RESOURCE_DEPTH_MAX {
        return Err(ResourceError::TooDeep);
    }
    if !path.iter().all(|name| is_segment(name)) {
        return Err(ResourceError::InvalidName);
    }
    Ok(())
}

impl<'a> From<Option<&'a Resource>> for Found<'a> {
    fn from(resource: Option<&'a Resource>) -> Self {
        match resource {
            None => Self::Nothing,
            Some(Resource { content: None, .. }) => Self::Collection,
            Some(Resource {
                content: Some(content),
                ..
            }) => Self::Tagged(&content.etag),
        }
    }
}
