//! Bringing cards and address books back to what they were.

use std::collections::HashMap;

use cloudless_store::{
    Actor, BookId, Precondition, PutOutcome, RestoreOutcome, Store, StoreError, Timestamp, Version,
    VersionKind,
};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::history::cut;
use super::lookup::{self, CardChoice};
use super::reply::Reply;

/// Cards of one kind that are listed; all are counted.
const LISTED_MAX: usize = 5_000;

/// What a card is restored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreTo {
    /// What it was when it was deleted.
    BeforeDeletion,
    /// One of its versions, a refused one too.
    Version(u64),
    /// What it was at a moment in Unix milliseconds.
    Moment(i64),
}

/// What became of one card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredCard {
    /// Its name.
    pub name: String,
    /// What happened.
    #[serde(flatten)]
    pub outcome: CardRestore,
}

/// The ways a restore of one card ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CardRestore {
    /// It has the bytes of then; those of before stay in the history.
    Restored,
    /// It had them already.
    Unchanged,
    /// It stays as it is.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

/// What a restore changes in an address book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Cards that come back.
    pub created: Cards,
    /// Cards that get other bytes.
    pub changed: Cards,
    /// Cards that go; they stay in the history.
    pub deleted: Cards,
    /// Cards that cannot come back because another one has their UID.
    pub conflicts: Cards,
}

impl Difference {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        [&self.created, &self.changed, &self.deleted]
            .iter()
            .all(|cards| cards.count == 0)
    }
}

/// Some cards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cards {
    /// How many there are.
    pub count: usize,
    /// The first of them, in the order of their names.
    pub cards: Vec<NamedCard>,
}

/// A card as people know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCard {
    /// Its name.
    pub name: String,
    /// The full name in it.
    pub full_name: Option<String>,
}

/// Restores some cards; each has an outcome of its own.
pub(super) fn cards(
    store: &Store,
    book: BookId,
    choices: &[CardChoice],
    to: RestoreTo,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let names = choices
        .iter()
        .map(|choice| lookup::card_name(store, book, choice));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let past = match to {
        RestoreTo::Moment(at) => store
            .book_at(book, Timestamp(at))?
            .into_iter()
            .map(|card| (card.name, card.number))
            .collect(),
        RestoreTo::BeforeDeletion | RestoreTo::Version(_) => HashMap::new(),
    };
    let actor = Actor {
        device: None,
        at: now,
    };
    let restore = |name: String| {
        let outcome = match to {
            RestoreTo::BeforeDeletion if store.card_row(book, &name)?.is_some() => {
                CardRestore::Refused {
                    reason: "it is not deleted; name one of its versions with --version, or a \
                             moment with --at"
                        .to_owned(),
                }
            }
            RestoreTo::BeforeDeletion => outcome(store.undelete_card(book, &name, actor)?),
            RestoreTo::Version(number) => version(store, book, &name, number, actor)?,
            RestoreTo::Moment(_) => match past.get(&name) {
                Some(number) => outcome(store.restore_card(book, &name, *number, actor)?),
                None => CardRestore::Refused {
                    reason: "it was not there at that moment".to_owned(),
                },
            },
        };
        Ok(RestoredCard { name, outcome })
    };
    let cards = names
        .into_iter()
        .map(restore)
        .collect::<Result<_, StoreError>>()?;
    Ok(Reply::CardsRestored { at: now.0, cards })
}

/// Makes an address book what it was at a moment, or only says what that would change.
pub(super) fn book(
    store: &Store,
    book: BookId,
    at: Timestamp,
    dry_run: bool,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let names = full_names(store, book, at)?;
    let actor = Actor {
        device: None,
        at: now,
    };
    let difference = store.restore_book(book, at, dry_run, actor)?;
    Ok(Reply::BookRestored {
        at: now.0,
        difference: named(difference, &names),
    })
}

/// The difference with what people call the cards.
pub(super) fn named(
    difference: cloudless_store::Difference,
    full_names: &HashMap<String, String>,
) -> Difference {
    let cards = |names: Vec<String>| Cards {
        count: names.len(),
        cards: names
            .into_iter()
            .take(LISTED_MAX)
            .map(|name| NamedCard {
                full_name: full_names.get(&name).cloned(),
                name,
            })
            .collect(),
    };
    let conflicts = difference.conflicts.into_iter();
    Difference {
        created: cards(difference.created),
        changed: cards(difference.changed),
        deleted: cards(difference.deleted),
        conflicts: cards(conflicts.map(|conflict| conflict.name).collect()),
    }
}

/// The full names of the cards that are there, and of those that were at a moment.
pub(super) fn full_names(
    store: &Store,
    book: BookId,
    at: Timestamp,
) -> Result<HashMap<String, String>, StoreError> {
    let mut names = HashMap::new();
    for card in store.index_entries(book, Some(&["FN"]))? {
        let full_name = card.entries.into_iter().flatten().next();
        names.extend(full_name.map(|entry| (card.row.name, cut(entry.value))));
    }
    for card in store.book_at(book, at)? {
        names.extend(card.full_name.map(|full_name| (card.name, cut(full_name))));
    }
    Ok(names)
}

/// A body that was refused is checked as if it came anew: it may have been refused because it is no
/// card, and clients stumble over those.
fn version(
    store: &Store,
    book: BookId,
    name: &str,
    number: u64,
    actor: Actor,
) -> Result<CardRestore, StoreError> {
    let Some(Version {
        kind: VersionKind::Refused,
        bytes: Some(bytes),
        ..
    }) = store.version(book, name, number)?
    else {
        return Ok(outcome(store.restore_card(book, name, number, actor)?));
    };
    let summary = match cloudless_vcard::summarize(&bytes) {
        Ok(summary) => summary,
        Err(invalid) => {
            return Ok(CardRestore::Refused {
                reason: format!(
                    "{invalid}; take it out with `cloudless contacts show --version {number}`, \
                     mend it and import it"
                ),
            });
        }
    };
    let card = cloudless_carddav::new_card(book, name.to_owned(), bytes, summary);
    Ok(outcome(
        match store.put_card(card, Precondition::None, actor)? {
            PutOutcome::Created(etag) | PutOutcome::Updated(etag) => RestoreOutcome::Restored(etag),
            PutOutcome::Unchanged(etag) => RestoreOutcome::Unchanged(etag),
            PutOutcome::UidConflict { name } => RestoreOutcome::UidConflict { name },
            PutOutcome::NoSuchBook | PutOutcome::PreconditionFailed { .. } => {
                RestoreOutcome::NoSuchBook
            }
        },
    ))
}

fn outcome(outcome: RestoreOutcome) -> CardRestore {
    let reason = match outcome {
        RestoreOutcome::Restored(_) => return CardRestore::Restored,
        RestoreOutcome::Unchanged(_) => return CardRestore::Unchanged,
        RestoreOutcome::NoSuchVersion => "there is no such version with a card in it".to_owned(),
        RestoreOutcome::NoSuchBook => "the address book was deleted meanwhile".to_owned(),
        RestoreOutcome::UidConflict { name } => {
            format!("the card {name} has its UID; delete that one first")
        }
    };
    CardRestore::Refused { reason }
}
