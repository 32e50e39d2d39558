use rusqlite::{Connection, OptionalExtension, params};

use crate::card::{self, check_name};
use crate::history::{self, Body};
use crate::{Actor, BookId, ETag, Precondition, Store, StoreError, VersionKind, address_book};

/// A card to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCard {
    /// Where.
    pub book: BookId,
    /// Under what name: 1 to 255 bytes, no `/` and no NUL, neither `.` nor `..`.
    pub name: String,
    /// What, kept byte for byte.
    pub bytes: Vec<u8>,
    /// The UID found in it. No two cards of a book share one; an empty one counts as none.
    pub uid: Option<String>,
    /// The full name found in it, for lists.
    pub full_name: Option<String>,
}

/// What became of a card that was to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// There was no card of that name.
    Created(ETag),
    /// The card of that name was replaced; its history has the earlier bytes.
    Updated(ETag),
    /// The same bytes were there already, so that nothing was written.
    Unchanged(ETag),
    /// Refused, and the body kept in the history.
    PreconditionFailed {
        /// The tag of the card that is there.
        current: Option<ETag>,
    },
    /// Refused, and the body kept in the history: another card of the book has the same UID.
    UidConflict {
        /// The name of that card.
        name: String,
    },
    /// There is no such address book.
    NoSuchBook,
}

impl Store {
    /// Stores one card if `precondition` holds and no other card of the book has its UID, both
    /// checked in the transaction of the write.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidCardName`], [`StoreError::DeviceRevoked`], or the store failed; nothing
    /// is stored then.
    pub fn put_card(
        &self,
        card: NewCard,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<PutOutcome, StoreError> {
        check_name(&card.name)?;
        let etag = ETag::of(&card.bytes);
        self.write_as(actor, move |connection| {
            put(connection, card, etag, &precondition, actor)
        })
    }

    /// Stores many cards in one transaction, each as [`Store::put_card`] without a precondition;
    /// the outcomes come in the same order. Other writers wait meanwhile, so give a large import
    /// in parts.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidCardName`] if any name is not allowed, [`StoreError::DeviceRevoked`], or
    /// the store failed; nothing is stored then.
    pub fn put_cards(
        &self,
        cards: Vec<NewCard>,
        actor: Actor,
    ) -> Result<Vec<PutOutcome>, StoreError> {
        let cards = cards
            .into_iter()
            .map(|card| {
                check_name(&card.name)?;
                let etag = ETag::of(&card.bytes);
                Ok((card, etag))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        self.write_as(actor, move |connection| {
            cards
                .into_iter()
                .map(|(card, etag)| put(connection, card, etag, &Precondition::None, actor))
                .collect()
        })
    }
}

fn put(
    connection: &Connection,
    card: NewCard,
    etag: ETag,
    precondition: &Precondition,
    actor: Actor,
) -> rusqlite::Result<PutOutcome> {
    let (book, name) = (card.book, card.name.as_str());
    let body = Body {
        etag: &etag,
        uid: card.uid.as_deref().filter(|uid| !uid.is_empty()),
        full_name: card.full_name.as_deref(),
        bytes: &card.bytes,
    };
    if address_book::revision(connection, book)?.is_none() {
        return Ok(PutOutcome::NoSuchBook);
    }
    let current = card::etag(connection, book, name)?;
    if !precondition.holds(current.as_ref()) {
        let reason = "the card had changed meanwhile";
        history::append_refused(connection, book, name, body, reason, actor)?;
        return Ok(PutOutcome::PreconditionFailed { current });
    }
    if current.as_ref() == Some(&etag) {
        return Ok(PutOutcome::Unchanged(etag));
    }
    if let Some(other) = other_with_uid(connection, book, name, body.uid)? {
        let reason = "another card has the same UID";
        history::append_refused(connection, book, name, body, reason, actor)?;
        return Ok(PutOutcome::UidConflict { name: other });
    }
    let kind = match current {
        Some(_) => VersionKind::Changed,
        None => VersionKind::Created,
    };
    let version = history::append(connection, book, name, kind, Some(body), None, actor)?;
    let revision = address_book::advance(connection, book)?;
    connection
        .prepare_cached(
            "INSERT INTO cards
                 (book_id, name, first_revision, revision, modified_at, version_id, etag, size, uid)
             VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (book_id, name) DO UPDATE SET
                 revision = excluded.revision, modified_at = excluded.modified_at,
                 version_id = excluded.version_id, etag = excluded.etag,
                 size = excluded.size, uid = excluded.uid",
        )?
        .execute(params![
            book,
            name,
            revision,
            actor.at,
            version,
            etag,
            body.bytes.len(),
            body.uid,
        ])?;
    Ok(match kind {
        VersionKind::Created => PutOutcome::Created(etag),
        _ => PutOutcome::Updated(etag),
    })
}

fn other_with_uid(
    connection: &Connection,
    book: BookId,
    name: &str,
    uid: Option<&str>,
) -> rusqlite::Result<Option<String>> {
    let Some(uid) = uid else {
        return Ok(None);
    };
    connection
        .prepare_cached("SELECT name FROM cards WHERE book_id = ?1 AND uid = ?2 AND name <> ?3")?
        .query_row(params![book, uid, name], |row| row.get(0))
        .optional()
}
