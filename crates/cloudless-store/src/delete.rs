use rusqlite::params;

use crate::{
    Actor, BookId, ETag, Precondition, Store, StoreError, VersionKind, address_book, card, history,
};

/// What became of a card that was to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// It is gone; its history stays.
    Deleted,
    /// There was no card of that name.
    NotFound,
    /// The card stayed.
    PreconditionFailed {
        /// The tag of the card that is there.
        current: Option<ETag>,
    },
}

impl Store {
    /// Deletes one card if `precondition` holds, which is checked in the transaction of the write.
    /// The card can be brought back from its history.
    ///
    /// # Errors
    ///
    /// [`StoreError::DeviceRevoked`], or the store failed; nothing is deleted then.
    pub fn delete_card(
        &self,
        book: BookId,
        name: &str,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<DeleteOutcome, StoreError> {
        let name = name.to_owned();
        self.write_as(actor, move |connection| {
            let current = card::etag(connection, book, &name)?;
            if !precondition.holds(current.as_ref()) {
                return Ok(DeleteOutcome::PreconditionFailed { current });
            }
            if current.is_none() {
                return Ok(DeleteOutcome::NotFound);
            }
            history::append(
                connection,
                book,
                &name,
                VersionKind::Deleted,
                None,
                None,
                actor,
            )?;
            let revision = address_book::advance(connection, book)?;
            connection
                .prepare_cached(
                    "UPDATE cards SET revision = ?3, modified_at = ?4,
                         version_id = NULL, etag = NULL, size = NULL, uid = NULL
                     WHERE book_id = ?1 AND name = ?2",
                )?
                .execute(params![book, name, revision, actor.at])?;
            Ok(DeleteOutcome::Deleted)
        })
    }
}
