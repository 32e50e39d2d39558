use rusqlite::Connection;

use crate::card::check_name;
use crate::current::{self, Replacement};
use crate::index::{self, Index};
use crate::version::{self, Body};
use crate::{
    Actor, BookId, ETag, IndexEntry, Precondition, Store, StoreError, VersionKind, address_book,
    refused, sharing,
};

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
    /// The values by which [`Store::candidates`] finds it. A card with neither entries nor text
    /// counts as not indexed: see [`Store::cards_without_index`].
    pub index: Vec<IndexEntry>,
    /// All its text, for [`Store::search`].
    pub text: String,
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
    /// Refused, and the body kept in the history, unless the disk is full.
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
    /// is stored then. [`StoreError::ShareWithdrawn`]; the body is kept in the history then.
    pub fn put_card(
        &self,
        card: NewCard,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<PutOutcome, StoreError> {
        let card = Checked::new(card)?;
        let (book, name, required) = (card.card.book, card.card.name.clone(), precondition.clone());
        let stored = self.write_as(actor, move |connection| {
            if !sharing::is_withheld(connection, book, actor)? {
                return put(connection, &card, &precondition, actor).map(Some);
            }
            let reason = "the address book is no longer shared to be written";
            refused::keep(
                connection,
                book,
                &card.card.name,
                card.body(),
                reason,
                actor,
            )?;
            Ok(None)
        });
        let stored = stored.and_then(|stored| stored.ok_or(StoreError::ShareWithdrawn));
        match stored {
            Err(error) if error.is_full() => self.unless_refused(book, &name, &required, error),
            stored => stored,
        }
    }

    /// What to tell of a write for which there was no room: if the precondition does not hold anyway,
    /// that. A client with an old tag fetches the card again instead of trying again and again.
    fn unless_refused(
        &self,
        book: BookId,
        name: &str,
        required: &Precondition,
        error: StoreError,
    ) -> Result<PutOutcome, StoreError> {
        let refused = self.read(|snapshot| {
            let current = current::find(snapshot, book, name)?.map(|current| current.etag);
            let holds = required.holds(snapshot, current.as_ref())?;
            Ok((!holds).then_some(PutOutcome::PreconditionFailed { current }))
        });
        match refused {
            Ok(Some(outcome)) => {
                tracing::warn!(%error, "The disk is full: a refused card is not kept in the history");
                Ok(outcome)
            }
            Ok(None) | Err(_) => Err(error),
        }
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
            .map(Checked::new)
            .collect::<Result<Vec<_>, StoreError>>()?;
        self.alone().write_as(actor, move |connection| {
            let outcomes = cards
                .iter()
                .map(|card| put(connection, card, &Precondition::None, actor))
                .collect();
            index::complete(connection)?;
            outcomes
        })
    }
}

/// A new card with all that is computed before the writer takes it.
struct Checked {
    card: NewCard,
    etag: ETag,
    index: Option<Index>,
}

impl Checked {
    fn new(mut card: NewCard) -> Result<Self, StoreError> {
        check_name(&card.name)?;
        let etag = ETag::of(&card.bytes);
        let entries = std::mem::take(&mut card.index);
        let indexed = !entries.is_empty() || !card.text.is_empty();
        let index = indexed.then(|| Index::new(&entries, &card.text));
        Ok(Self { card, etag, index })
    }

    fn body(&self) -> Body<'_> {
        Body {
            etag: Some(&self.etag),
            uid: self.card.uid.as_deref().filter(|uid| !uid.is_empty()),
            full_name: self.card.full_name.as_deref(),
            bytes: Some(&self.card.bytes),
        }
    }
}

fn put(
    connection: &Connection,
    checked: &Checked,
    precondition: &Precondition,
    actor: Actor,
) -> rusqlite::Result<PutOutcome> {
    let Checked { card, etag, index } = checked;
    let (book, name, body) = (card.book, card.name.as_str(), checked.body());
    if address_book::revision(connection, book)?.is_none() {
        return Ok(PutOutcome::NoSuchBook);
    }
    let current = current::find(connection, book, name)?;
    let current_etag = current.as_ref().map(|current| &current.etag);
    if !precondition.holds(connection, current_etag)? {
        let reason = "the card had changed meanwhile";
        version::append_refused(connection, book, name, body, reason, actor)?;
        let current = current_etag.cloned();
        return Ok(PutOutcome::PreconditionFailed { current });
    }
    if current_etag == Some(etag) {
        return Ok(PutOutcome::Unchanged(etag.clone()));
    }
    if let Some(other) = current::other_with_uid(connection, book, name, body.uid)? {
        let reason = "another card has the same UID";
        version::append_refused(connection, book, name, body, reason, actor)?;
        return Ok(PutOutcome::UidConflict { name: other });
    }
    let kind = match current {
        Some(_) => VersionKind::Changed,
        None => VersionKind::Created,
    };
    let replacement = Replacement {
        book,
        name,
        kind,
        body,
        index: index.as_ref(),
        reason: None,
        actor,
    };
    current::replace(connection, current.as_ref(), &replacement)?;
    Ok(match kind {
        VersionKind::Created => PutOutcome::Created(etag.clone()),
        _ => PutOutcome::Updated(etag.clone()),
    })
}
