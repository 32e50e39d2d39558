use rusqlite::{Connection, OptionalExtension, params};

use crate::card::is_segment;
use crate::precondition::Found;
use crate::version::VersionRow;
use crate::{
    Actor, BookError, BookId, Difference, PROPERTIES_MAX, Precondition, PropertyChanges,
    PropertyTarget, Store, StoreError, Timestamp, UserId, alarm, current, properties, restore,
};

/// More address books than any person has.
const BOOKS_MAX: u64 = 256;
/// The most bytes of a name or a description.
const TEXT_MAX: usize = 16 * 1024;

/// An address book that was deleted and can be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedBook {
    /// The id, for [`Store::undelete_book`].
    pub id: BookId,
    /// Its name in URLs; another book may have it now.
    pub slug: String,
    /// Its name for people.
    pub display_name: String,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

impl Store {
    /// Creates an address book. A slug has 1 to 255 bytes, no `/` and no NUL, and is neither `.`
    /// nor `..`. A book that was deleted is not brought back by this.
    ///
    /// # Errors
    ///
    /// [`BookError::InvalidSlug`], [`BookError::TooLarge`], [`BookError::NoSuchUser`],
    /// [`BookError::SlugTaken`], [`BookError::TooMany`], or the store failed.
    pub fn create_book(
        &self,
        user: UserId,
        slug: &str,
        display_name: &str,
        description: &str,
    ) -> Result<BookId, BookError> {
        check_text(Some(display_name))?;
        check_text(Some(description))?;
        let [slug, display_name, description] =
            [slug, display_name, description].map(str::to_owned);
        self.write(move |connection| insert(connection, user, &slug, &display_name, &description))?
    }

    /// Creates an address book with all its properties if `precondition` holds where nothing is.
    /// Without a display name it gets its slug for one.
    ///
    /// # Errors
    ///
    /// Those of [`Store::create_book`], [`BookError::PreconditionFailed`], and
    /// [`BookError::TooLarge`] also for dead properties; nothing is made then.
    pub fn make_book(
        &self,
        user: UserId,
        slug: &str,
        changes: PropertyChanges,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<BookId, BookError> {
        if !changes.fit() || changes.dead.len() > PROPERTIES_MAX {
            return Err(BookError::TooLarge);
        }
        let slug = slug.to_owned();
        self.write_as(actor, move |connection| {
            if !precondition.holds(connection, Found::Nothing)? {
                return Ok(Err(BookError::PreconditionFailed));
            }
            let display_name = changes.display_name.as_deref().unwrap_or(&slug);
            let description = changes.description.as_deref().unwrap_or_default();
            let book = match insert(connection, user, &slug, display_name, description)? {
                Ok(book) => book,
                Err(error) => return Ok(Err(error)),
            };
            properties::change(connection, &PropertyTarget::Book(book), &changes.dead)?;
            Ok(Ok(book))
        })?
    }

    /// Changes what people read of an address book; `None` leaves a part as it is.
    ///
    /// # Errors
    ///
    /// [`BookError::NoSuchBook`], [`BookError::TooLarge`], or the store failed.
    pub fn describe_book(
        &self,
        book: BookId,
        display_name: Option<&str>,
        description: Option<&str>,
    ) -> Result<(), BookError> {
        check_text(display_name)?;
        check_text(description)?;
        let [display_name, description] =
            [display_name, description].map(|text| text.map(str::to_owned));
        let described = self.write(move |connection| {
            describe(
                connection,
                book,
                display_name.as_deref(),
                description.as_deref(),
            )
        })?;
        match described {
            true => Ok(()),
            false => Err(BookError::NoSuchBook),
        }
    }

    /// Deletes an address book and its cards if `precondition` holds, and ends its shares. What clients
    /// stored in dead properties is gone then. The history keeps all of the rest, and [`Store::undelete_book`] brings it back; a new book of the same
    /// slug is another one.
    ///
    /// # Errors
    ///
    /// [`BookError::NoSuchBook`], [`BookError::Personal`], [`BookError::PreconditionFailed`],
    /// [`StoreError::DeviceRevoked`], or the store failed.
    pub fn delete_book(
        &self,
        book: BookId,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<(), BookError> {
        self.alone().write_as(actor, move |connection| {
            let personal: Option<bool> = connection
                .prepare_cached(
                    "SELECT personal FROM address_books WHERE id = ?1 AND deleted_at IS NULL",
                )?
                .query_row([book], |row| row.get(0))
                .optional()?;
            match personal {
                None => return Ok(Err(BookError::NoSuchBook)),
                Some(true) => return Ok(Err(BookError::Personal)),
                Some(false) => {}
            }
            if !precondition.holds(connection, Found::Collection)? {
                return Ok(Err(BookError::PreconditionFailed));
            }
            let before: VersionRow = connection
                .prepare_cached("SELECT coalesce(max(id), 0) FROM versions")?
                .query_row([], |row| row.get(0))?;
            for name in names(connection, book)? {
                if let Some(current) = current::find(connection, book, &name)? {
                    let version = current::remove(connection, book, &name, &current, None, actor)?;
                    alarm::note_deletion(connection, book, version, actor)?;
                }
            }
            properties::delete(connection, book, "")?;
            connection
                .prepare_cached("DELETE FROM shares WHERE book_id = ?1")?
                .execute([book])?;
            connection
                .prepare_cached(
                    "UPDATE address_books SET deleted_at = ?2, deleted_version = ?3 WHERE id = ?1",
                )?
                .execute(params![book, actor.at, before])?;
            Ok(Ok(()))
        })?
    }

    /// Brings a deleted address book back with the cards that it had, under the slug that it had.
    ///
    /// # Errors
    ///
    /// [`BookError::NoSuchBook`] also when it is not deleted, [`BookError::SlugTaken`],
    /// [`StoreError::DeviceRevoked`], or the store failed; nothing is changed then.
    pub fn undelete_book(&self, book: BookId, actor: Actor) -> Result<Difference, BookError> {
        self.alone().write_as(actor, move |connection| {
            let before = match reopen_book(connection, book)? {
                Ok(Some(before)) => before,
                Ok(None) => return Ok(Err(BookError::NoSuchBook)),
                Err(slug) => return Ok(Err(BookError::SlugTaken { slug })),
            };
            let (plan, difference) = restore::plan(connection, book, Timestamp(i64::MAX), before)?;
            restore::run(connection, book, &plan, &difference, actor)?;
            Ok(Ok(difference))
        })?
    }

    /// The address books that a user deleted, the last deleted first.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn deleted_books(&self, user: UserId) -> Result<Vec<DeletedBook>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT id, slug, display_name, deleted_at FROM address_books
                     WHERE user_id = ?1 AND deleted_at IS NOT NULL ORDER BY deleted_at DESC, id",
                )?
                .query_map([user], |row| {
                    Ok(DeletedBook {
                        id: row.get(0)?,
                        slug: row.get(1)?,
                        display_name: row.get(2)?,
                        deleted_at: row.get(3)?,
                    })
                })?
                .collect()
        })
    }
}

/// Makes an empty address book.
pub(super) fn insert(
    connection: &Connection,
    user: UserId,
    slug: &str,
    display_name: &str,
    description: &str,
) -> rusqlite::Result<Result<BookId, BookError>> {
    if !is_segment(slug) {
        return Ok(Err(BookError::InvalidSlug));
    }
    let books: u64 = connection
        .prepare_cached(
            "SELECT count(*) FROM address_books WHERE user_id = ?1 AND deleted_at IS NULL",
        )?
        .query_row([user], |row| row.get(0))?;
    if books == 0 {
        // Each user has the personal one.
        return Ok(Err(BookError::NoSuchUser));
    }
    if slug_taken(connection, user, slug)? {
        let slug = slug.to_owned();
        return Ok(Err(BookError::SlugTaken { slug }));
    }
    if books >= BOOKS_MAX {
        return Ok(Err(BookError::TooMany));
    }
    connection
        .prepare_cached(
            "INSERT INTO address_books (user_id, slug, display_name, description, incarnation)
             VALUES (?1, ?2, ?3, ?4, lower(hex(randomblob(16))))",
        )?
        .execute(params![user, slug, display_name, description])?;
    Ok(Ok(BookId(connection.last_insert_rowid())))
}

/// Changes what people read of an address book; returns whether there is such a book.
pub(crate) fn describe(
    connection: &Connection,
    book: BookId,
    display_name: Option<&str>,
    description: Option<&str>,
) -> rusqlite::Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE address_books SET display_name = coalesce(?2, display_name),
                 description = coalesce(?3, description)
             WHERE id = ?1 AND deleted_at IS NULL",
        )?
        .execute(params![book, display_name, description])?;
    Ok(changed > 0)
}

/// Makes a deleted book an empty live one, and returns the newest version before its deletion;
/// `None` if it is not deleted, or its slug if another one has that.
pub(crate) fn reopen_book(
    connection: &Connection,
    book: BookId,
) -> rusqlite::Result<Result<Option<VersionRow>, String>> {
    let deleted: Option<(UserId, String, VersionRow)> = connection
        .prepare_cached(
            "SELECT user_id, slug, deleted_version FROM address_books
             WHERE id = ?1 AND deleted_at IS NOT NULL",
        )?
        .query_row([book], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((user, slug, version)) = deleted else {
        return Ok(Ok(None));
    };
    if slug_taken(connection, user, &slug)? {
        return Ok(Err(slug));
    }
    connection
        .prepare_cached(
            "UPDATE address_books SET deleted_at = NULL, deleted_version = NULL WHERE id = ?1",
        )?
        .execute([book])?;
    Ok(Ok(Some(version)))
}

/// Whether one of the user's own or shared address books has this slug.
pub(crate) fn slug_taken(
    connection: &Connection,
    user: UserId,
    slug: &str,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM address_books
             WHERE user_id = ?1 AND slug = ?2 AND deleted_at IS NULL
             UNION ALL SELECT 1 FROM shares WHERE user_id = ?1 AND slug = ?2",
        )?
        .exists(params![user, slug])
}

/// The names of all cards of a book, sorted.
pub(crate) fn names(connection: &Connection, book: BookId) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT name FROM cards WHERE book_id = ?1 AND version_id IS NOT NULL ORDER BY name",
        )?
        .query_map([book], |row| row.get(0))?
        .collect()
}

pub(crate) fn check_text(text: Option<&str>) -> Result<(), BookError> {
    match text {
        Some(text) if text.len() > TEXT_MAX => Err(BookError::TooLarge),
        _ => Ok(()),
    }
}
