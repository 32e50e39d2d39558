use rusqlite::{Connection, OptionalExtension, params};

use super::edit::{insert, names, slug_taken};
use crate::card::is_segment;
use crate::precondition::Found;
use crate::{
    Actor, BookError, BookId, Precondition, Store, Transfer, UserId, properties, transfer,
};

/// What one copy of an address book may hold. All of it is one transaction, for which the disk needs
/// the room twice and others wait.
const COPY_BYTES_MAX: u64 = 256 << 20;

impl Store {
    /// Gives an address book another slug in the URLs of a user: its owner's, or those of one that
    /// it is shared with.
    ///
    /// # Errors
    ///
    /// [`BookError::InvalidSlug`], [`BookError::NoSuchBook`], [`BookError::Personal`],
    /// [`BookError::PreconditionFailed`], [`BookError::SlugTaken`],
    /// [`StoreError::DeviceRevoked`](crate::StoreError::DeviceRevoked), or the store failed.
    pub fn rename_book(
        &self,
        user: UserId,
        book: BookId,
        slug: &str,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<(), BookError> {
        if !is_segment(slug) {
            return Err(BookError::InvalidSlug);
        }
        let slug = slug.to_owned();
        self.write_as(actor, move |connection| {
            let found: Option<(bool, UserId)> = connection
                .prepare_cached(
                    "SELECT personal, user_id FROM address_books
                     WHERE id = ?1 AND deleted_at IS NULL",
                )?
                .query_row([book], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let is_owner = match found {
                None => return Ok(Err(BookError::NoSuchBook)),
                Some((true, owner)) if owner == user => return Ok(Err(BookError::Personal)),
                Some((_, owner)) => owner == user,
            };
            if !precondition.holds(connection, Found::Collection)? {
                return Ok(Err(BookError::PreconditionFailed));
            }
            if slug_taken(connection, user, &slug)? {
                return Ok(Err(BookError::SlugTaken { slug }));
            }
            let renamed = match is_owner {
                true => connection
                    .prepare_cached("UPDATE address_books SET slug = ?2 WHERE id = ?1")?
                    .execute(params![book, slug])?,
                false => connection
                    .prepare_cached(
                        "UPDATE shares SET slug = ?2 WHERE book_id = ?1 AND user_id = ?3",
                    )?
                    .execute(params![book, slug, user])?,
            };
            Ok(match renamed {
                0 => Err(BookError::NoSuchBook),
                _ => Ok(()),
            })
        })?
    }

    /// Copies an address book to a new one of a user, with its properties, and unless `is_alone` with
    /// its cards, of at most 256 MiB together; their history says where they came from.
    ///
    /// # Errors
    ///
    /// [`BookError::NoSuchBook`] also for one that the user may not read, [`BookError::TooMuch`],
    /// [`BookError::PreconditionFailed`],
    /// [`StoreError::DeviceRevoked`](crate::StoreError::DeviceRevoked), and those of
    /// [`Store::create_book`]; nothing is copied then.
    pub fn copy_book(
        &self,
        user: UserId,
        book: BookId,
        slug: &str,
        is_alone: bool,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<BookId, BookError> {
        let slug = slug.to_owned();
        self.alone().write_as(actor, move |connection| {
            let texts: Option<(String, String)> = connection
                .prepare_cached(
                    "SELECT display_name, description FROM address_books
                     WHERE id = ?1 AND deleted_at IS NULL AND (user_id = ?2
                         OR EXISTS (SELECT 1 FROM shares WHERE book_id = ?1 AND user_id = ?2))",
                )?
                .query_row(params![book, user], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((display_name, description)) = texts else {
                return Ok(Err(BookError::NoSuchBook));
            };
            if !precondition.holds(connection, Found::Collection)? {
                return Ok(Err(BookError::PreconditionFailed));
            }
            if !is_alone && bytes(connection, book)? > COPY_BYTES_MAX {
                return Ok(Err(BookError::TooMuch));
            }
            let copy = match insert(connection, user, &slug, &display_name, &description)? {
                Ok(copy) => copy,
                Err(error) => return Ok(Err(error)),
            };
            // The name of the book itself among the holders of properties is the empty one.
            properties::copy(connection, (book, ""), (copy, ""))?;
            let names = match is_alone {
                true => Vec::new(),
                false => names(connection, book)?,
            };
            for name in names {
                let card = Transfer {
                    from_book: book,
                    from_name: name.clone(),
                    to_book: copy,
                    to_name: name,
                    overwrite: false,
                    source: Precondition::None,
                    destination: Precondition::None,
                };
                transfer::run(connection, &card, false, actor)?;
            }
            Ok(Ok(copy))
        })?
    }
}

/// The bytes of all cards of a book.
fn bytes(connection: &Connection, book: BookId) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM cards WHERE book_id = ?1")?
        .query_row([book], |row| row.get(0))
}
