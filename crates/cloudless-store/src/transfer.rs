use rusqlite::Connection;

use crate::card::check_name;
use crate::current::{self, Replacement};
use crate::version::{self, Body};
use crate::{
    Actor, BookId, ETag, Precondition, Store, StoreError, VersionKind, address_book, alarm, index,
    properties,
};

/// A card to be copied or moved (RFC 4918 sections 9.8 and 9.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The address book that it is in.
    pub from_book: BookId,
    /// Its name.
    pub from_name: String,
    /// The address book that it goes to, perhaps the same.
    pub to_book: BookId,
    /// Its name there.
    pub to_name: String,
    /// Whether a card that is there may be replaced.
    pub overwrite: bool,
    /// What must be true of the card.
    pub source: Precondition,
    /// What must be true of the card at the destination.
    pub destination: Precondition,
}

/// What became of a card that was to be copied or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// There was no card of the new name.
    Created(ETag),
    /// The card of the new name was replaced; its history has the earlier bytes.
    Replaced(ETag),
    /// Refused: there is no such card.
    NoSuchCard,
    /// Refused: there is no address book to put it in.
    NoSuchBook,
    /// Refused: both names are those of one card.
    SameCard,
    /// Refused: there is a card of the new name.
    DestinationExists,
    /// Refused: a precondition does not hold.
    PreconditionFailed,
    /// Refused: another card of the address book that it goes to has the same UID.
    UidConflict {
        /// The name of that card.
        name: String,
    },
}

impl Store {
    /// Copies a card with its index and dead properties, in one transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidCardName`], [`StoreError::DeviceRevoked`],
    /// [`StoreError::ShareWithdrawn`], or the store failed; nothing is changed then.
    pub fn copy_card(
        &self,
        transfer: Transfer,
        actor: Actor,
    ) -> Result<TransferOutcome, StoreError> {
        check_name(&transfer.to_name)?;
        self.write_in_as([transfer.to_book], actor, move |connection| {
            run(connection, &transfer, false, actor)
        })
    }

    /// Moves a card with its index and dead properties, in one transaction. The history has both: a
    /// card that went and one that came.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidCardName`], [`StoreError::DeviceRevoked`],
    /// [`StoreError::ShareWithdrawn`], or the store failed; nothing is changed then.
    pub fn move_card(
        &self,
        transfer: Transfer,
        actor: Actor,
    ) -> Result<TransferOutcome, StoreError> {
        check_name(&transfer.to_name)?;
        let books = [transfer.from_book, transfer.to_book];
        self.write_in_as(books, actor, move |connection| {
            run(connection, &transfer, true, actor)
        })
    }
}

/// Copies or moves a card, if nothing is in the way.
pub(crate) fn run(
    connection: &Connection,
    transfer: &Transfer,
    moves: bool,
    actor: Actor,
) -> rusqlite::Result<TransferOutcome> {
    let from = (transfer.from_book, transfer.from_name.as_str());
    let to = (transfer.to_book, transfer.to_name.as_str());
    let Some(source) = current::find(connection, from.0, from.1)? else {
        return Ok(TransferOutcome::NoSuchCard);
    };
    if from == to {
        return Ok(TransferOutcome::SameCard);
    }
    let Some(to_slug) = address_book::slug(connection, to.0)? else {
        return Ok(TransferOutcome::NoSuchBook);
    };
    let from_slug = address_book::slug(connection, from.0)?.unwrap_or_default();
    let destination = current::find(connection, to.0, to.1)?;
    let destination_etag = destination.as_ref().map(|current| &current.etag);
    if !transfer.source.holds(connection, Some(&source.etag))?
        || !transfer.destination.holds(connection, destination_etag)?
    {
        return Ok(TransferOutcome::PreconditionFailed);
    }
    if destination.is_some() && !transfer.overwrite {
        return Ok(TransferOutcome::DestinationExists);
    }
    let other = current::other_with_uid(connection, to.0, to.1, source.uid.as_deref())?;
    if let Some(name) = other
        && !(moves && (to.0, name.as_str()) == from)
    {
        return Ok(TransferOutcome::UidConflict { name });
    }

    let Some(stored) = version::stored(connection, source.version)? else {
        return Ok(TransferOutcome::NoSuchCard);
    };
    let index = match source.index {
        Some(index) => Some(index::find(connection, index)?),
        None => None,
    };
    properties::copy(connection, from, to)?;
    if moves {
        // What goes to another user's book is deleted to the owner of this one.
        let stays = has_one_owner(connection, from.0, to.0)?;
        let reason = stays.then(|| format!("moved to {to_slug}/{}", to.1));
        let reason = reason.as_deref();
        let version = current::remove(connection, from.0, from.1, &source, reason, actor)?;
        if !stays {
            alarm::note_deletion(connection, from.0, version, actor)?;
        }
    }
    let reason = match moves {
        true => format!("moved from {from_slug}/{}", from.1),
        false => format!("copied from {from_slug}/{}", from.1),
    };
    let replacement = Replacement {
        book: to.0,
        name: to.1,
        kind: match destination {
            Some(_) => VersionKind::Changed,
            None => VersionKind::Created,
        },
        body: Body {
            etag: Some(&source.etag),
            uid: source.uid.as_deref(),
            full_name: stored.full_name.as_deref(),
            bytes: Some(&stored.bytes),
        },
        index: index.as_ref(),
        reason: Some(&reason),
        actor,
    };
    let version = current::replace(connection, destination.as_ref(), &replacement)?;
    if let Some(gone) = &destination
        && (gone.uid.is_none() || gone.uid != source.uid)
    {
        // Another card took its place: a device can empty an address book so, too.
        alarm::note_deletion(connection, to.0, version, actor)?;
    }
    Ok(match destination {
        Some(_) => TransferOutcome::Replaced(source.etag),
        None => TransferOutcome::Created(source.etag),
    })
}

fn has_one_owner(connection: &Connection, one: BookId, other: BookId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT count(DISTINCT user_id) = 1 FROM address_books WHERE id IN (?1, ?2)",
        )?
        .query_row([one, other], |row| row.get(0))
}
