use rusqlite::{Connection, OptionalExtension, params};

use crate::address_book::edit::slug_taken;
use crate::card::is_segment;
use crate::precondition::Found;
use crate::{Access, Actor, BookError, BookId, Precondition, Store, StoreError, UserId, account};

/// Somebody who may use another user's address book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The name of the user that it is shared with.
    pub user: String,
    /// The book's name in that user's URLs.
    pub slug: String,
    /// What that user may do.
    pub access: Access,
}

impl Store {
    /// Shares an address book with another user, or changes what that user may do with it. It gets
    /// a slug of its own among that user's address books, and keeps it.
    ///
    /// # Errors
    ///
    /// [`BookError::NoSuchBook`], [`BookError::NoSuchUser`], [`BookError::NotShareable`] with its
    /// owner or [`Access::Owner`], or the store failed.
    pub fn share_book(&self, book: BookId, with: &str, access: Access) -> Result<(), BookError> {
        if access == Access::Owner {
            return Err(BookError::NotShareable);
        }
        let with = with.to_owned();
        self.write(move |connection| {
            let Some(user) = account::user_id(connection, &with)? else {
                return Ok(Err(BookError::NoSuchUser));
            };
            let Some((owner, slug, owner_name)) = owner(connection, book)? else {
                return Ok(Err(BookError::NoSuchBook));
            };
            if owner == user {
                return Ok(Err(BookError::NotShareable));
            }
            let changed = connection
                .prepare_cached(
                    "UPDATE shares SET access = ?3 WHERE book_id = ?1 AND user_id = ?2",
                )?
                .execute(params![book, user, access])?;
            if changed == 0 {
                let slug = free_slug(connection, user, book, &format!("{slug}-{owner_name}"))?;
                connection
                    .prepare_cached("INSERT INTO shares VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![book, user, slug, access])?;
            }
            Ok(Ok(()))
        })?
    }

    /// Ends a share. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn unshare_book(&self, book: BookId, with: &str) -> Result<bool, StoreError> {
        let with = with.to_owned();
        self.write(move |connection| {
            let ended = connection
                .prepare_cached(
                    "DELETE FROM shares
                     WHERE book_id = ?1 AND user_id = (SELECT id FROM users WHERE name = ?2)",
                )?
                .execute(params![book, with])?;
            Ok(ended > 0)
        })
    }

    /// Ends the share of a user who wants the address book no more, if `precondition` holds for it.
    ///
    /// # Errors
    ///
    /// [`BookError::NoSuchBook`] also when it is not shared with the user,
    /// [`BookError::PreconditionFailed`], [`StoreError::DeviceRevoked`], or the store failed.
    pub fn leave_book(
        &self,
        book: BookId,
        user: UserId,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<(), BookError> {
        self.write_as(actor, move |connection| {
            if !precondition.holds(connection, Found::Collection)? {
                return Ok(Err(BookError::PreconditionFailed));
            }
            let left = connection
                .prepare_cached("DELETE FROM shares WHERE book_id = ?1 AND user_id = ?2")?
                .execute(params![book, user])?;
            Ok(match left {
                0 => Err(BookError::NoSuchBook),
                _ => Ok(()),
            })
        })?
    }

    /// Who else may use an address book, sorted by name.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn shares(&self, book: BookId) -> Result<Vec<Share>, StoreError> {
        self.read(|snapshot| {
            snapshot
                .prepare_cached(
                    "SELECT users.name, slug, access FROM shares JOIN users ON users.id = user_id
                     WHERE book_id = ?1 ORDER BY users.name",
                )?
                .query_map([book], |row| {
                    Ok(Share {
                        user: row.get(0)?,
                        slug: row.get(1)?,
                        access: row.get(2)?,
                    })
                })?
                .collect()
        })
    }
}

/// Whether an address book is another user's, who does not share it with the user of this device to be
/// written. What the owner does at the machine itself is never withheld.
pub(crate) fn is_withheld(
    connection: &Connection,
    book: BookId,
    actor: Actor,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(WITHHELD)?
        .exists(params![actor.device, book])
}

pub(crate) const WITHHELD: &str = "SELECT 1
    FROM devices JOIN address_books ON address_books.id = ?2
    WHERE devices.id = ?1 AND devices.user_id <> address_books.user_id AND NOT EXISTS (
        SELECT 1 FROM shares
        WHERE book_id = ?2 AND user_id = devices.user_id AND access = 'read-write'
    )";

/// The owner of the book, its slug and the owner's name.
fn owner(
    connection: &Connection,
    book: BookId,
) -> rusqlite::Result<Option<(UserId, String, String)>> {
    connection
        .prepare_cached(
            "SELECT user_id, slug, users.name FROM address_books JOIN users ON users.id = user_id
             WHERE address_books.id = ?1 AND deleted_at IS NULL",
        )?
        .query_row([book], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
}

/// The wanted slug, or one that is free and always allowed.
fn free_slug(
    connection: &Connection,
    user: UserId,
    book: BookId,
    wanted: &str,
) -> rusqlite::Result<String> {
    let mut slug = wanted.to_owned();
    let mut number = 1;
    while !is_segment(&slug) || slug_taken(connection, user, &slug)? {
        slug = format!("shared-{}-{number}", book.0);
        number += 1;
    }
    Ok(slug)
}
