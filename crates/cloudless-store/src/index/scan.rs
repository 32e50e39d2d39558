use std::collections::HashMap;

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::IndexRow;
use super::derived::Derived;
use super::value_list::{lists, values};
use crate::card::from_row;
use crate::{BookId, CardRow, Store, StoreError};

/// Decides about cards by their index entries, one card after the other.
pub trait Judge {
    /// Takes an entry of the card into account, which is not kept.
    fn see(&mut self, property: &str, value: &str);

    /// Decides about the card whose entries were seen since the last decision.
    fn decide(&mut self) -> Verdict;
}

/// What the index tells about a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not looked for.
    No,
    /// Only the card itself can tell.
    Perhaps,
    /// It is looked for.
    Yes,
}

/// A card that is looked for, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is known of the card.
    pub row: CardRow,
    /// Whether the index told so. If not, the card has to be read: it is not indexed yet, or the
    /// judge said [`Verdict::Perhaps`].
    pub is_certain: bool,
}

impl Store {
    /// The cards of a book for which `judge` does not say no after it has seen the entries of the
    /// `properties`, card by card; sorted by name.
    ///
    /// Nothing is held of the cards that are not looked for. Only when a card without any of the
    /// properties is one of those looked for, all the book's cards are gone through.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn candidates(
        &self,
        book: BookId,
        properties: &[&str],
        judge: &mut impl Judge,
    ) -> Result<Vec<Candidate>, StoreError> {
        self.read_long(|snapshot| {
            let without_entries = judge.decide();
            let mut candidates = Vec::new();
            if without_entries == Verdict::No {
                judge_all(snapshot, book, properties, judge, |index, verdict| {
                    if verdict != Verdict::No {
                        let row = by_index(snapshot, index)?;
                        candidates.extend(row.map(|row| candidate(row, verdict)));
                    }
                    Ok(())
                })?;
                select(snapshot, UNINDEXED, book, |row| {
                    candidates.push(candidate(from_row(row)?, Verdict::Perhaps));
                    Ok(())
                })?;
                candidates.sort_unstable_by(|a, b| a.row.name.cmp(&b.row.name));
            } else {
                let mut verdicts = HashMap::new();
                judge_all(snapshot, book, properties, judge, |index, verdict| {
                    verdicts.insert(index, verdict);
                    Ok(())
                })?;
                select(snapshot, ALL, book, |row| {
                    let index: Option<IndexRow> = row.get(5)?;
                    let verdict = index.map_or(Verdict::Perhaps, |index| {
                        verdicts.get(&index).copied().unwrap_or(without_entries)
                    });
                    if verdict != Verdict::No {
                        candidates.push(candidate(from_row(row)?, verdict));
                    }
                    Ok(())
                })?;
            }
            Ok(candidates)
        })
    }
}

fn candidate(row: CardRow, verdict: Verdict) -> Candidate {
    Candidate {
        row,
        is_certain: verdict == Verdict::Yes,
    }
}

/// Shows the judge every card of the book that has an entry of one of these properties. The values
/// of each property come in the order of the cards, so that the lists are gone through side by side.
fn judge_all(
    connection: &Connection,
    book: BookId,
    properties: &[&str],
    judge: &mut impl Judge,
    mut decided: impl FnMut(IndexRow, Verdict) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statements = properties
        .iter()
        .map(|_| connection.prepare_cached(SCAN))
        .collect::<Result<Vec<_>, _>>()?;
    let mut columns = Vec::with_capacity(properties.len());
    for (property, statement) in properties.iter().zip(&mut statements) {
        let mut rows = statement.query(params![book, property])?;
        if let Some(index) = next_index(&mut rows)? {
            columns.push((index, *property, rows));
        }
    }
    while let Some(index) = columns.iter().map(|(index, ..)| *index).min() {
        for (next, property, rows) in &mut columns {
            if *next == index
                && let Some(row) = rows.get()
            {
                for value in values(row.get_ref(1)?.as_blob()?) {
                    judge.see(property, value?);
                }
                *next = next_index(rows)?.unwrap_or(IndexRow::MAX);
            }
        }
        columns.retain(|(next, ..)| *next != IndexRow::MAX);
        decided(index, judge.decide())?;
    }
    judge_newest(connection, book, properties, judge, decided)
}

/// Shows the judge the cards of the book whose entries are not beside each other yet.
fn judge_newest(
    connection: &Connection,
    book: BookId,
    properties: &[&str],
    judge: &mut impl Judge,
    mut decided: impl FnMut(IndexRow, Verdict) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let last = Derived::Entries.last(connection)?;
    let mut statement = connection.prepare_cached(NEWEST)?;
    let mut rows = statement.query(params![last, book])?;
    while let Some(row) = rows.next()? {
        let all = row.get_ref(1)?.as_blob()?;
        for wanted in properties {
            for list in lists(all) {
                let (property, list) = list?;
                if property == *wanted {
                    for value in values(list) {
                        judge.see(property, value?);
                    }
                }
            }
        }
        decided(row.get(0)?, judge.decide())?;
    }
    Ok(())
}

/// Goes on to the next card of a list.
fn next_index(list: &mut Rows<'_>) -> rusqlite::Result<Option<IndexRow>> {
    list.advance()?;
    list.get().map(|row| row.get(0)).transpose()
}

/// The card with this index.
pub(crate) fn by_index(
    connection: &Connection,
    index: IndexRow,
) -> rusqlite::Result<Option<CardRow>> {
    connection
        .prepare_cached(BY_INDEX)?
        .query_row([index], from_row)
        .optional()
}

fn select(
    connection: &Connection,
    statement: &str,
    book: BookId,
    mut found: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query([book])?;
    while let Some(row) = rows.next()? {
        found(row)?;
    }
    Ok(())
}

/// In the order of the primary key.
pub(crate) const SCAN: &str = "SELECT index_id, value_list FROM index_entries
     WHERE book_id = ?1 AND property = ?2 ORDER BY index_id";

pub(crate) const NEWEST: &str = "SELECT id, value_lists FROM card_index
     WHERE id > ?1 AND book_id = ?2";

pub(crate) const BY_INDEX: &str = "SELECT cards.name, uid, etag, size, modified_at
     FROM card_index JOIN cards USING (book_id, name)
     WHERE card_index.id = ?1 AND index_id = card_index.id";

pub(crate) const UNINDEXED: &str = "SELECT name, uid, etag, size, modified_at FROM cards
     WHERE book_id = ?1 AND version_id IS NOT NULL AND index_id IS NULL";

pub(super) const ALL: &str = "SELECT name, uid, etag, size, modified_at, index_id FROM cards
     WHERE book_id = ?1 AND version_id IS NOT NULL ORDER BY name";

#[cfg(test)]
mod tests;
