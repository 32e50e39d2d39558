//! What the store keeps beside a card, so that a query need not read it.

use std::borrow::Cow;

use cloudless_dav_proto::filter::{Evaluation, Filter, Needs, Property};
use cloudless_store::{BookId, IndexEntry, Judge, NewCard, NewIndex, Store, StoreError, Verdict};
use cloudless_vcard::{INDEXED, Summary};

/// To be counted up when entries are made in another way, so that old cards are indexed again.
const RULES: u32 = 1;

/// Marks a card of which not everything is indexed. It is the name of no property.
const INCOMPLETE: &str = "*";

/// How many cards are indexed in one transaction. Each may have 10 MiB.
const BATCH: usize = 16;

/// A card for [`Store::put_card`] with all that is to be known of it. `summary` is that of `bytes`.
pub fn new_card(book: BookId, name: String, bytes: Vec<u8>, summary: Summary) -> NewCard {
    NewCard {
        book,
        name,
        uid: summary.uid,
        full_name: summary.full_name,
        index: entries(&bytes),
        text: cloudless_vcard::text(&bytes),
        bytes,
    }
}

/// Indexes some of the cards that are not indexed: those that were stored by an earlier version of
/// the program, and restored ones. Blocks on the store. Returns whether there may be more: call it
/// again then. Call it at the start and after each restore; until all is done, queries read the
/// cards that are left, and are only slower.
///
/// # Errors
/// The store failed.
pub fn index_cards(store: &Store) -> Result<bool, StoreError> {
    store.set_index_rules(RULES)?;
    let cards = store.cards_without_index(BATCH)?;
    let more = cards.len() == BATCH;
    let indexes = cards.into_iter().map(|card| NewIndex {
        entries: entries(&card.bytes),
        text: cloudless_vcard::text(&card.bytes),
        card,
    });
    store.put_index(indexes.collect())?;
    Ok(more)
}

/// The names of the entries by which a filter can be decided; None when the cards themselves have to
/// be read.
pub(crate) fn names(needs: &Needs) -> Option<Vec<&str>> {
    let mut names: Vec<&str> = needs.names.iter().map(String::as_str).collect();
    let known = names.iter().all(|name| INDEXED.contains(name));
    names.push(INCOMPLETE);
    (known && !needs.parameters && !needs.groups).then_some(names)
}

/// Decides by the entries of cards whether a filter matches them.
pub(crate) struct IndexFilter<'a> {
    evaluation: Evaluation<'a>,
    is_complete: bool,
}

impl<'a> IndexFilter<'a> {
    pub(crate) fn new(filter: &'a Filter) -> Self {
        Self {
            evaluation: Evaluation::new(filter),
            is_complete: true,
        }
    }
}

impl Judge for IndexFilter<'_> {
    fn see(&mut self, property: &str, value: &str) {
        if property == INCOMPLETE {
            self.is_complete = false;
            return;
        }
        self.evaluation.see(&Property {
            name: Cow::Borrowed(property),
            value: Cow::Borrowed(value),
            ..Property::default()
        });
    }

    fn decide(&mut self) -> Verdict {
        let matches = self.evaluation.decide();
        match std::mem::replace(&mut self.is_complete, true) {
            false => Verdict::Perhaps,
            true if matches => Verdict::Yes,
            true => Verdict::No,
        }
    }
}

fn entries(bytes: &[u8]) -> Vec<IndexEntry> {
    let index = cloudless_vcard::index(bytes);
    let entry = |property: &str, value| IndexEntry {
        property: property.to_owned(),
        value,
    };
    let incomplete = (!index.is_complete).then(|| entry(INCOMPLETE, String::new()));
    let entries = index.entries.into_iter();
    entries
        .map(|it| entry(it.property, it.value))
        .chain(incomplete)
        .collect()
}
