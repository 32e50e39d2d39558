//! Who wants to be told of changes of an address book, and what they have not been told yet.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Actor, BookId, DeviceId, Store, StoreError, Timestamp, UserId};

/// The most registrations of one device, for all address books together: no device takes the room of
/// another one.
pub const PUSH_REGISTRATIONS_MAX: u64 = 256;
/// The most registrations of one device for one address book. A phone has one; another push service
/// makes another one until the old one expires.
pub const PUSH_REGISTRATIONS_OF_BOOK_MAX: u64 = 4;

/// Names a registration within one store; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PushId(pub i64);

/// A device that wants to be told of changes.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPushRegistration {
    /// The address book.
    pub book: BookId,
    /// The user that the device belongs to.
    pub user: UserId,
    /// Where to send messages.
    pub push_resource: String,
    /// What messages are encrypted with: the device's public key.
    pub public_key: Vec<u8>,
    /// What messages are encrypted with besides.
    pub auth_secret: Vec<u8>,
    /// Whether to tell of changes of cards.
    pub on_content: bool,
    /// Whether to tell of changes of the address book's properties.
    pub on_properties: bool,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// It is there under this random name, which stays when it is registered again.
    Registered {
        /// 32 hex digits that nobody can guess.
        name: String,
    },
    /// The device has as many as allowed.
    TooMany,
    /// The address book does not exist any more.
    NoSuchBook,
}

/// Something that a device has to be told.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingPush {
    /// The registration.
    pub id: PushId,
    /// Its name.
    pub name: String,
    /// The device that registered.
    pub device: DeviceId,
    /// The address book that changed.
    pub book: BookId,
    /// The book's incarnation.
    pub incarnation: String,
    /// The book's revision at this moment.
    pub revision: u64,
    /// Where to send the message.
    pub push_resource: String,
    /// The device's public key.
    pub public_key: Vec<u8>,
    /// The device's secret.
    pub auth_secret: Vec<u8>,
    /// Whether cards changed.
    pub content: bool,
    /// Whether properties of the book changed.
    pub properties: bool,
    /// How often properties changed, for [`Store::push_told`].
    pub property_changes: u64,
}

/// Which registrations a request does not want to be told of its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untold {
    /// None is told.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

impl Store {
    /// The same store, whose changes are not told to some registrations; earlier changes of others
    /// that they have not been told yet still are.
    #[must_use]
    pub fn without_telling(&self, untold: Untold) -> Self {
        let mut store = self.clone();
        store.untold = Some(Arc::new(untold));
        store
    }

    /// Calls `tell` after each commit until the next call replaces it, on the thread that all
    /// writing waits for: it must return at once.
    pub fn on_commit(&self, tell: impl Fn() + Send + Sync + 'static) {
        self.commits().listen(Box::new(tell));
    }

    /// Registers a device, or renews the registration that the same user made for the same push
    /// resource and address book. The book is the user's own, or shared with them.
    ///
    /// # Errors
    ///
    /// [`StoreError::DeviceRevoked`], or the store failed.
    pub fn register_push(
        &self,
        new: NewPushRegistration,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<PushOutcome, StoreError> {
        let actor = Actor {
            device: Some(device),
            at: now,
        };
        self.write_as(actor, move |connection| {
            purge(connection, now)?;
            let Some(revision) = readable_revision(connection, new.user, new.book)? else {
                return Ok(PushOutcome::NoSuchBook);
            };
            if let Some(name) = renew(connection, &new, device)? {
                return Ok(PushOutcome::Registered { name });
            }
            let (all, for_book) = count(connection, new.book, device)?;
            if all >= PUSH_REGISTRATIONS_MAX || for_book >= PUSH_REGISTRATIONS_OF_BOOK_MAX {
                return Ok(PushOutcome::TooMany);
            }
            let name = insert(connection, &new, device, revision)?;
            Ok(PushOutcome::Registered { name })
        })
    }

    /// Ends a registration of a user. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn unregister_push(
        &self,
        user: UserId,
        name: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |connection| {
            purge(connection, now)?;
            let ended = connection
                .prepare_cached("DELETE FROM push_registrations WHERE user_id = ?1 AND name = ?2")?
                .execute(params![user, name])?;
            Ok(ended > 0)
        })
    }

    /// What is to be told, oldest registration first; bounded by the registrations that users may
    /// have.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn pending_pushes(&self, now: Timestamp) -> Result<Vec<PendingPush>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(PENDING)?
                .query_map([now], pending)?
                .collect()
        })
    }

    /// Notes that a device was told, so that only later changes are pending.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn push_told(&self, told: &PendingPush) -> Result<(), StoreError> {
        let (id, revision, properties) = (told.id.0, told.revision, told.property_changes);
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE push_registrations
                     SET told_revision = ?2, told_property_changes = ?3 WHERE id = ?1",
                )?
                .execute(params![id, revision, properties])
                .map(drop)
        })
    }

    /// Ends a registration that the push service does not know any more.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn forget_push(&self, id: PushId) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached("DELETE FROM push_registrations WHERE id = ?1")?
                .execute([id.0])
                .map(drop)
        })
    }

    /// Removes registrations that have expired. Returns how many.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn purge_pushes(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(move |connection| purge(connection, now))
    }

    /// How many registrations there are.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn push_registrations(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached("SELECT count(*) FROM push_registrations WHERE expires_at > ?1")?
                .query_row([now], |row| row.get(0))
        })
    }
}

impl BookId {
    /// A number that no other address book of this store has, or ever gets.
    pub fn number(self) -> i64 {
        self.0
    }
}

const PENDING: &str =
    "SELECT push_registrations.id, name, device_id, book_id, incarnation, revision,
         push_resource, public_key, auth_secret,
         on_content AND revision > told_revision,
         on_properties AND property_changes > told_property_changes, property_changes
     FROM push_registrations JOIN address_books ON address_books.id = book_id
     WHERE expires_at > ?1
         AND (on_content AND revision > told_revision
             OR on_properties AND property_changes > told_property_changes)
     ORDER BY push_registrations.id";

fn pending(row: &Row<'_>) -> rusqlite::Result<PendingPush> {
    Ok(PendingPush {
        id: PushId(row.get(0)?),
        name: row.get(1)?,
        device: row.get(2)?,
        book: row.get(3)?,
        incarnation: row.get(4)?,
        revision: row.get(5)?,
        push_resource: row.get(6)?,
        public_key: row.get(7)?,
        auth_secret: row.get(8)?,
        content: row.get(9)?,
        properties: row.get(10)?,
        property_changes: row.get(11)?,
    })
}

fn purge(connection: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM push_registrations WHERE expires_at <= ?1")?
        .execute([now])
}

/// The revision of a book that is there and that the user may read.
fn readable_revision(
    connection: &Connection,
    user: UserId,
    book: BookId,
) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached(
            "SELECT revision FROM address_books
             WHERE id = ?1 AND deleted_at IS NULL AND (user_id = ?2
                 OR EXISTS (SELECT 1 FROM shares WHERE book_id = ?1 AND user_id = ?2))",
        )?
        .query_row(params![book, user], |row| row.get(0))
        .optional()
}

/// Renews the registration of the same push resource, whose name it returns. What is pending stays
/// so.
fn renew(
    connection: &Connection,
    new: &NewPushRegistration,
    device: DeviceId,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "UPDATE push_registrations
             SET device_id = ?4, public_key = ?5, auth_secret = ?6, on_content = ?7,
                 on_properties = ?8, expires_at = ?9
             WHERE book_id = ?1 AND user_id = ?2 AND push_resource = ?3
             RETURNING name",
        )?
        .query_row(
            params![
                new.book,
                new.user,
                new.push_resource,
                device,
                new.public_key,
                new.auth_secret,
                new.on_content,
                new.on_properties,
                new.expires_at,
            ],
            |row| row.get(0),
        )
        .optional()
}

/// How many registrations the device has, and how many for this book.
fn count(connection: &Connection, book: BookId, device: DeviceId) -> rusqlite::Result<(u64, u64)> {
    connection
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE book_id = ?2)
             FROM push_registrations WHERE device_id = ?1",
        )?
        .query_row(params![device, book], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn insert(
    connection: &Connection,
    new: &NewPushRegistration,
    device: DeviceId,
    revision: u64,
) -> rusqlite::Result<String> {
    connection
        .prepare_cached(
            "INSERT INTO push_registrations (name, book_id, user_id, device_id, push_resource,
                 public_key, auth_secret, on_content, on_properties, expires_at, told_revision)
             VALUES (lower(hex(randomblob(16))), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             RETURNING name",
        )?
        .query_row(
            params![
                new.book,
                new.user,
                device,
                new.push_resource,
                new.public_key,
                new.auth_secret,
                new.on_content,
                new.on_properties,
                new.expires_at,
                revision,
            ],
            |row| row.get(0),
        )
}

/// Runs an operation whose changes are not told. A registration that has something to be told from
/// before is told, and so learns of these changes as well.
pub(crate) fn untold<T>(
    connection: &Connection,
    untold: &Untold,
    operation: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let up_to_date = up_to_date(connection, untold)?;
    let result = operation(connection)?;
    for id in up_to_date {
        connection
            .prepare_cached(
                "UPDATE push_registrations SET told_property_changes = property_changes,
                     told_revision = (SELECT revision FROM address_books WHERE id = book_id)
                 WHERE id = ?1",
            )?
            .execute([id])?;
    }
    Ok(result)
}

/// The registrations among those that have nothing to be told.
fn up_to_date(connection: &Connection, untold: &Untold) -> rusqlite::Result<Vec<i64>> {
    const UP_TO_DATE: &str = "SELECT push_registrations.id
         FROM push_registrations JOIN address_books ON address_books.id = book_id
         WHERE (?1 IS NULL OR name = ?1)
             AND NOT (on_content AND revision > told_revision)
             AND NOT (on_properties AND property_changes > told_property_changes)";
    let mut statement = connection.prepare_cached(UP_TO_DATE)?;
    let mut ids = Vec::new();
    let mut add = |name: Option<&str>| -> rusqlite::Result<()> {
        for id in statement.query_map([name], |row| row.get(0))? {
            ids.push(id?);
        }
        Ok(())
    };
    match untold {
        Untold::All => add(None)?,
        Untold::Named(names) => names.iter().try_for_each(|name| add(Some(name)))?,
    }
    Ok(ids)
}
