//! The cards of an address book, read while the client reads the answer.

use std::vec;

use cloudless_store::{BookId, CardRow, Store, StoreError};

/// Rows that are in memory at a time, some 300 bytes each.
pub(crate) const PAGE: usize = 256;

/// All cards of a book in the order of their names. It blocks on the store.
///
/// Each page is as the book is when it is read; who stops reading holds a page and no snapshot.
pub(crate) struct CardRows {
    store: Store,
    book: BookId,
    page: vec::IntoIter<CardRow>,
    /// The last name of the page; None when nothing comes after it.
    last: Option<String>,
}

impl CardRows {
    pub(crate) fn new(store: Store, book: BookId) -> Self {
        Self {
            store,
            book,
            page: Vec::new().into_iter(),
            last: Some(String::new()),
        }
    }

    fn read(&mut self, after: &str) -> Result<Option<CardRow>, StoreError> {
        let page = self.store.card_rows_after(self.book, after, PAGE)?;
        let is_full = page.len() == PAGE;
        self.last = page.last().filter(|_| is_full).map(|row| row.name.clone());
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}

impl Iterator for CardRows {
    type Item = Result<CardRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.page.next() {
            return Some(Ok(row));
        }
        let after = self.last.take()?;
        self.read(&after).transpose()
    }
}
