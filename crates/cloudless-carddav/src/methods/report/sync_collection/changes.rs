//! The changes of an address book, read while the client reads the answer.

use std::vec;

use cloudless_store::{AddressBook, BookId, Store, StoreError};

use super::Told;
use crate::card_rows::PAGE;

/// The changes up to the revision that the book had at the beginning, at most so many, and at the
/// end the revision that they lead to. It blocks on the store.
pub(super) struct Changes {
    store: Store,
    book: BookId,
    until: u64,
    removed: bool,
    page: vec::IntoIter<Told>,
    /// From where to go on, and how many may follow; None at the end.
    next: Option<(u64, usize)>,
}

impl Changes {
    /// With no revision to begin after, only cards that are there.
    pub(super) fn new(store: Store, book: &AddressBook, since: Option<u64>, limit: usize) -> Self {
        Self {
            store,
            book: book.id,
            until: book.revision,
            removed: since.is_some(),
            page: Vec::new().into_iter(),
            next: Some((since.map_or(0, |since| since + 1), limit)),
        }
    }

    fn read(&mut self, first: u64, limit: usize) -> Result<Option<Told>, StoreError> {
        let revisions = first..=self.until;
        let n_rows = limit.min(PAGE);
        let changes = self
            .store
            .changes_between(self.book, revisions, self.removed, n_rows)?;
        let changed = changes.changed.into_iter().map(Told::Changed);
        let removed = changes.removed.into_iter().map(Told::Removed);
        let mut told: Vec<Told> = changed.chain(removed).collect();
        if changes.truncated && limit > n_rows {
            self.next = Some((changes.revision + 1, limit - n_rows));
        } else {
            told.extend(changes.truncated.then_some(Told::Truncated));
            told.push(Told::Revision(changes.revision));
        }
        self.page = told.into_iter();
        Ok(self.page.next())
    }
}

impl Iterator for Changes {
    type Item = Result<Told, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(told) = self.page.next() {
            return Some(Ok(told));
        }
        let (first, limit) = self.next.take()?;
        self.read(first, limit).transpose()
    }
}
