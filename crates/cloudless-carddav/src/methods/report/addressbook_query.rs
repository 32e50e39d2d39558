//! CARDDAV:addressbook-query (RFC 6352 §8.6).

use cloudless_dav_proto::filter::{Filter, Needs};
use cloudless_store::{Candidate, StoreError};
use http::Response;

use super::Cards;
use crate::index::{self, IndexFilter};
use crate::multistatus::{self, Row, Rows};
use crate::refusal::Refusal;
use crate::{Body, card_properties};

/// Which cards a query looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The address book at Depth 0: itself, which is no card.
    Nothing,
    /// The cards of the address book.
    Members,
    /// One card.
    Card(String),
}

/// Tells of the cards that match a filter, sorted by name, at most `limit` of them.
pub(super) fn respond(
    cards: Cards,
    scope: Scope,
    filter: Filter,
    limit: Option<u32>,
) -> Result<Response<Body>, Refusal> {
    let limit = limit.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
    let (reader, minimal) = (cards.request.reader(), cards.minimal);
    let needs = filter.needs();
    let candidates = candidates(&cards, scope, &filter, &needs)?;
    let book_href = cards.book_href();
    let matches = Matches {
        needs,
        cards,
        filter,
        candidates: candidates.into_iter(),
    };
    let rows: Rows = Box::new(Limited::new(matches, limit, book_href));
    multistatus::respond(reader, rows, minimal)
}

fn candidates(
    cards: &Cards,
    scope: Scope,
    filter: &Filter,
    needs: &Needs,
) -> Result<Vec<Candidate>, StoreError> {
    let store = &cards.request.store;
    let matches = filter.prop_filters.is_empty();
    let rows = match scope {
        Scope::Nothing => Vec::new(),
        Scope::Card(name) => Vec::from_iter(store.card_row(cards.book.id, &name)?),
        Scope::Members => match index::names(needs) {
            Some(names) if !matches => {
                return store.candidates(cards.book.id, &names, &mut IndexFilter::new(filter));
            }
            _ => store.card_rows(cards.book.id)?,
        },
    };
    let candidates = rows.into_iter().map(|row| Candidate {
        row,
        is_certain: matches,
    });
    Ok(candidates.collect())
}

/// The rows of the cards that match. It blocks on the store.
struct Matches {
    cards: Cards,
    filter: Filter,
    needs: Needs,
    candidates: std::vec::IntoIter<Candidate>,
}

impl Matches {
    /// The row of a card; None when it does not match, or is gone meanwhile.
    fn row(&self, candidate: Candidate) -> Result<Option<Row>, StoreError> {
        let Candidate { row, is_certain } = candidate;
        let cards = &self.cards;
        if is_certain && !cards.gives_cards() {
            return cards.row(row, None).map(Some);
        }
        let Some(card) = cards.request.store.card(cards.book.id, &row.name)? else {
            return Ok(None);
        };
        // It may have changed since its index was read.
        let known = is_certain && card.row.etag == row.etag;
        if !known
            && !self
                .filter
                .matches(card_properties::read(&card.bytes, &self.needs))
        {
            return Ok(None);
        }
        cards.row(card.row, Some(card.bytes)).map(Some)
    }
}

impl Iterator for Matches {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(candidate) = self.candidates.next() {
            if let Some(row) = self.row(candidate).transpose() {
                return Some(row);
            }
        }
        None
    }
}

/// The first rows, and 507 for the address book when there are more (RFC 6352 §8.6.2).
struct Limited<I> {
    rows: I,
    left: usize,
    /// None once the end was told.
    book_href: Option<String>,
}

impl<I> Limited<I> {
    fn new(rows: I, limit: usize, book_href: String) -> Self {
        Self {
            rows,
            left: limit,
            book_href: Some(book_href),
        }
    }
}

impl<I: Iterator<Item = Result<Row, StoreError>>> Iterator for Limited<I> {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.book_href.as_ref()?;
        let row = self.rows.next();
        if self.left > 0 && row.is_some() {
            self.left -= 1;
            return row;
        }
        let href = self.book_href.take()?;
        row.map(|row| row.map(|_| Row::Truncated { href }))
    }
}
