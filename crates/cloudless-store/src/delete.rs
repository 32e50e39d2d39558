use crate::{Actor, BookId, ETag, Precondition, Store, StoreError, alarm, current};

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
    /// [`StoreError::DeviceRevoked`], [`StoreError::ShareWithdrawn`], or the store failed; nothing is
    /// deleted then.
    pub fn delete_card(
        &self,
        book: BookId,
        name: &str,
        precondition: Precondition,
        actor: Actor,
    ) -> Result<DeleteOutcome, StoreError> {
        let name = name.to_owned();
        self.write_in_as([book], actor, move |connection| {
            let current = current::find(connection, book, &name)?;
            let etag = current.as_ref().map(|current| &current.etag);
            if !precondition.holds(connection, etag)? {
                let current = etag.cloned();
                return Ok(DeleteOutcome::PreconditionFailed { current });
            }
            let Some(current) = current else {
                return Ok(DeleteOutcome::NotFound);
            };
            let version = current::remove(connection, book, &name, &current, None, actor)?;
            alarm::note_deletion(connection, book, version, actor)?;
            Ok(DeleteOutcome::Deleted)
        })
    }
}
