use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use crate::precondition::Found;
use crate::{
    Actor, BookId, ETag, Precondition, ResourceId, Store, StoreError, address_book, current,
    resource,
};

/// The most dead properties of one resource.
pub const PROPERTIES_MAX: usize = 64;
/// The most bytes of one dead property: its namespace, name and value.
pub const PROPERTY_BYTES_MAX: usize = 64 * 1024;

/// A resource that has dead properties: what clients store with it and the server does not
/// understand (RFC 4918 section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyTarget {
    /// An address book.
    Book(BookId),
    /// A card of this name. Its properties go when it is deleted, and move with it.
    Card(BookId, String),
    /// A plain resource or collection. Its properties go and move with it.
    Resource(ResourceId),
}

/// What is to become of the properties of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyChanges {
    /// Dead properties, set and removed in this order.
    pub dead: Vec<DeadProperty>,
    /// The name of an address book for people, if that is to change.
    pub display_name: Option<String>,
    /// What an address book is for, if that is to change.
    pub description: Option<String>,
}

/// A dead property, or in [`PropertyChanges`] what to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadProperty {
    /// The namespace of its name.
    pub namespace: String,
    /// The local part of its name.
    pub local: String,
    /// Its value as XML, kept as it is; `None` removes it.
    pub value: Option<String>,
}

/// What became of a set of property updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertiesOutcome {
    /// All were made.
    Updated,
    /// None was made: the resource does not exist.
    NoSuchResource,
    /// None was made: the precondition does not hold.
    PreconditionFailed,
    /// None was made: the user's plain resources would take more than they may.
    QuotaExceeded,
    /// None was made: the resource would have more than [`PROPERTIES_MAX`] properties, or one would
    /// be larger than [`PROPERTY_BYTES_MAX`], or a name or description larger than 16 KiB.
    TooLarge,
}

impl Store {
    /// Makes these changes to the properties of a resource if `precondition` holds for it; all of
    /// them or none.
    ///
    /// # Errors
    ///
    /// [`StoreError::DeviceRevoked`], [`StoreError::ShareWithdrawn`], or the store failed; nothing is
    /// changed then.
    pub fn change_properties(
        &self,
        target: PropertyTarget,
        changes: PropertyChanges,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<PropertiesOutcome, StoreError> {
        if !changes.fit() {
            return Ok(PropertiesOutcome::TooLarge);
        }
        self.write_in_as(target.book(), actor, move |connection| {
            let Some(etag) = target.etag(connection)? else {
                return Ok(PropertiesOutcome::NoSuchResource);
            };
            let found = etag.as_ref().map_or(Found::Collection, Found::Tagged);
            if !precondition.holds(connection, found)? {
                return Ok(PropertiesOutcome::PreconditionFailed);
            }
            let outcome = change(connection, &target, &changes.dead)?;
            let name = changes.display_name.as_deref();
            let description = changes.description.as_deref();
            if let (PropertiesOutcome::Updated, PropertyTarget::Book(book)) = (outcome, &target)
                && (name.is_some() || description.is_some())
            {
                address_book::edit::describe(connection, *book, name, description)?;
            }
            Ok(outcome)
        })
    }

    /// The dead properties of a resource, sorted by name; each has a value. A resource that does
    /// not exist has none.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn properties(&self, target: &PropertyTarget) -> Result<Vec<DeadProperty>, StoreError> {
        self.read(|snapshot| select(snapshot, target))
    }
}

impl PropertyChanges {
    /// Whether each change alone is small enough.
    pub(crate) fn fit(&self) -> bool {
        self.dead
            .iter()
            .all(|update| update.size() <= PROPERTY_BYTES_MAX)
            && address_book::edit::check_text(self.display_name.as_deref()).is_ok()
            && address_book::edit::check_text(self.description.as_deref()).is_ok()
    }
}

impl DeadProperty {
    /// The bytes that it takes.
    pub(crate) fn size(&self) -> usize {
        let value = self.value.as_deref().unwrap_or_default();
        self.namespace.len() + self.local.len() + value.len()
    }
}

/// The rows of one resource.
enum Key<'a> {
    /// `book_id` and `name` in `properties`. No card has an empty name: that is the book itself.
    Card(BookId, &'a str),
    /// `resource_id` in `resource_properties`.
    Resource(ResourceId),
}

impl PropertyTarget {
    fn book(&self) -> Option<BookId> {
        match self {
            Self::Book(book) | Self::Card(book, _) => Some(*book),
            Self::Resource(_) => None,
        }
    }

    fn key(&self) -> Key<'_> {
        match self {
            Self::Book(book) => Key::Card(*book, ""),
            Self::Card(book, name) => Key::Card(*book, name),
            Self::Resource(id) => Key::Resource(*id),
        }
    }

    /// The tag of the resource, which a collection has not; `None` if it does not exist.
    fn etag(&self, connection: &Connection) -> rusqlite::Result<Option<Option<ETag>>> {
        Ok(match self {
            Self::Book(book) => address_book::revision(connection, *book)?.map(|_| None),
            Self::Card(book, name) => {
                current::find(connection, *book, name)?.map(|card| Some(card.etag))
            }
            Self::Resource(id) => resource::etag(connection, *id)?,
        })
    }
}

/// Sets and removes dead properties of a resource that exists, in this order; all of them or none.
/// Each is small enough.
pub(crate) fn change(
    connection: &Connection,
    target: &PropertyTarget,
    updates: &[DeadProperty],
) -> rusqlite::Result<PropertiesOutcome> {
    let before = select(connection, target)?;
    let mut sizes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for property in before.iter().chain(updates) {
        let name = (property.namespace.as_str(), property.local.as_str());
        match property.value {
            Some(_) => sizes.insert(name, property.size()),
            None => sizes.remove(&name),
        };
    }
    if sizes.len() > PROPERTIES_MAX {
        return Ok(PropertiesOutcome::TooLarge);
    }
    if let PropertyTarget::Resource(id) = target
        && !resource::set_property_size(connection, *id, sizes.values().sum())?
    {
        return Ok(PropertiesOutcome::QuotaExceeded);
    }
    for update in updates {
        set(connection, target, update)?;
    }
    Ok(PropertiesOutcome::Updated)
}

/// Gives a card the properties of another one, and no others.
pub(crate) fn copy(
    connection: &Connection,
    from: (BookId, &str),
    to: (BookId, &str),
) -> rusqlite::Result<()> {
    delete(connection, to.0, to.1)?;
    connection
        .prepare_cached(
            "INSERT INTO properties (book_id, name, namespace, local, value)
             SELECT ?3, ?4, namespace, local, value FROM properties
             WHERE book_id = ?1 AND name = ?2",
        )?
        .execute(params![from.0, from.1, to.0, to.1])
        .map(drop)
}

pub(crate) fn delete(connection: &Connection, book: BookId, name: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM properties WHERE book_id = ?1 AND name = ?2")?
        .execute(params![book, name])
        .map(drop)
}

fn set(
    connection: &Connection,
    target: &PropertyTarget,
    DeadProperty {
        namespace,
        local,
        value,
    }: &DeadProperty,
) -> rusqlite::Result<()> {
    match (target.key(), value) {
        (Key::Card(book, name), Some(value)) => connection
            .prepare_cached(
                "INSERT INTO properties (book_id, name, namespace, local, value)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (book_id, name, namespace, local)
                 DO UPDATE SET value = excluded.value",
            )?
            .execute(params![book, name, namespace, local, value]),
        (Key::Card(book, name), None) => connection
            .prepare_cached(
                "DELETE FROM properties
                 WHERE book_id = ?1 AND name = ?2 AND namespace = ?3 AND local = ?4",
            )?
            .execute(params![book, name, namespace, local]),
        (Key::Resource(id), Some(value)) => connection
            .prepare_cached(
                "INSERT INTO resource_properties (resource_id, namespace, local, value)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (resource_id, namespace, local) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![id, namespace, local, value]),
        (Key::Resource(id), None) => connection
            .prepare_cached(
                "DELETE FROM resource_properties
                 WHERE resource_id = ?1 AND namespace = ?2 AND local = ?3",
            )?
            .execute(params![id, namespace, local]),
    }
    .map(drop)
}

fn select(connection: &Connection, target: &PropertyTarget) -> rusqlite::Result<Vec<DeadProperty>> {
    match target.key() {
        Key::Card(book, name) => connection
            .prepare_cached(
                "SELECT namespace, local, value FROM properties
                 WHERE book_id = ?1 AND name = ?2 ORDER BY namespace, local",
            )?
            .query_map(params![book, name], from_row)?
            .collect(),
        Key::Resource(id) => connection
            .prepare_cached(
                "SELECT namespace, local, value FROM resource_properties
                 WHERE resource_id = ?1 ORDER BY namespace, local",
            )?
            .query_map([id], from_row)?
            .collect(),
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<DeadProperty> {
    Ok(DeadProperty {
        namespace: row.get(0)?,
        local: row.get(1)?,
        value: row.get(2)?,
    })
}
