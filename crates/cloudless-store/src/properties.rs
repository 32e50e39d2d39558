use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use crate::{BookId, Store, StoreError, address_book, current};

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
}

/// A dead property, or in [`Store::set_properties`] what to do with it.
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
    /// None was made: the resource would have more than [`PROPERTIES_MAX`] properties, or one would
    /// be larger than [`PROPERTY_BYTES_MAX`].
    TooLarge,
}

impl Store {
    /// Sets and removes dead properties in this order, all of them or none.
    ///
    /// # Errors
    ///
    /// The store failed; nothing is changed then.
    pub fn set_properties(
        &self,
        target: &PropertyTarget,
        updates: Vec<DeadProperty>,
    ) -> Result<PropertiesOutcome, StoreError> {
        let fits = |update: &DeadProperty| {
            let value = update.value.as_deref().unwrap_or_default();
            update.namespace.len() + update.local.len() + value.len() <= PROPERTY_BYTES_MAX
        };
        if !updates.iter().all(fits) {
            return Ok(PropertiesOutcome::TooLarge);
        }
        let target = target.clone();
        self.write(move |connection| {
            if !target.exists(connection)? {
                return Ok(PropertiesOutcome::NoSuchResource);
            }
            let (book, name) = target.key();
            let mut names = BTreeSet::new();
            for property in select(connection, book, name)? {
                names.insert((property.namespace, property.local));
            }
            for update in &updates {
                let name = (update.namespace.clone(), update.local.clone());
                match update.value {
                    Some(_) => names.insert(name),
                    None => names.remove(&name),
                };
            }
            if names.len() > PROPERTIES_MAX {
                return Ok(PropertiesOutcome::TooLarge);
            }
            for update in &updates {
                set(connection, book, name, update)?;
            }
            Ok(PropertiesOutcome::Updated)
        })
    }

    /// The dead properties of a resource, sorted by name; each has a value. A resource that does
    /// not exist has none.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn properties(&self, target: &PropertyTarget) -> Result<Vec<DeadProperty>, StoreError> {
        let (book, name) = target.key();
        self.read(|snapshot| select(snapshot, book, name))
    }
}

impl PropertyTarget {
    /// The columns `book_id` and `name`. No card has an empty name.
    fn key(&self) -> (BookId, &str) {
        match self {
            Self::Book(book) => (*book, ""),
            Self::Card(book, name) => (*book, name),
        }
    }

    fn exists(&self, connection: &Connection) -> rusqlite::Result<bool> {
        match self {
            Self::Book(book) => Ok(address_book::revision(connection, *book)?.is_some()),
            Self::Card(book, name) => Ok(current::find(connection, *book, name)?.is_some()),
        }
    }
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
    book: BookId,
    name: &str,
    update: &DeadProperty,
) -> rusqlite::Result<()> {
    let DeadProperty {
        namespace,
        local,
        value,
    } = update;
    match value {
        Some(value) => connection
            .prepare_cached(
                "INSERT INTO properties (book_id, name, namespace, local, value)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (book_id, name, namespace, local)
                 DO UPDATE SET value = excluded.value",
            )?
            .execute(params![book, name, namespace, local, value]),
        None => connection
            .prepare_cached(
                "DELETE FROM properties
                 WHERE book_id = ?1 AND name = ?2 AND namespace = ?3 AND local = ?4",
            )?
            .execute(params![book, name, namespace, local]),
    }
    .map(drop)
}

fn select(
    connection: &Connection,
    book: BookId,
    name: &str,
) -> rusqlite::Result<Vec<DeadProperty>> {
    connection
        .prepare_cached(
            "SELECT namespace, local, value FROM properties
             WHERE book_id = ?1 AND name = ?2 ORDER BY namespace, local",
        )?
        .query_map(params![book, name], |row| {
            Ok(DeadProperty {
                namespace: row.get(0)?,
                local: row.get(1)?,
                value: row.get(2)?,
            })
        })?
        .collect()
}
