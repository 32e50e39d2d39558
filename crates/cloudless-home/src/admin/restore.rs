//! Bringing cards and address books back to what they were.

use cloudless_store::{
    Actor, BookId, CardRow, ETag, NewCard, Precondition, PutOutcome, RestoreOutcome, Store,
    StoreError, Timestamp, Version, VersionKind,
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

/// The ways a restore of one card ends, or would end.
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

/// Restores some cards, or only says what that would change; each has an outcome of its own.
pub(super) fn cards(
    store: &Store,
    book: BookId,
    choices: &[CardChoice],
    to: RestoreTo,
    dry_run: bool,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let names = choices
        .iter()
        .map(|choice| lookup::card_name(store, book, choice));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let actor = Actor {
        device: None,
        at: now,
    };
    let mut difference = Difference::default();
    let restore = |name: String| {
        let outcome = match to {
            RestoreTo::BeforeDeletion if store.card_row(book, &name)?.is_some() => {
                Outcome::Refused {
                    reason: "it is not deleted; name one of its versions with --version, or a \
                             moment with --at"
                        .to_owned(),
                }
            }
            RestoreTo::BeforeDeletion => store.undelete_card(book, &name, dry_run, actor)?.into(),
            RestoreTo::Version(number) => version(store, book, &name, number, dry_run, actor)?,
            RestoreTo::Moment(at) => match store.number_at(book, &name, Timestamp(at))? {
                Some(number) => store
                    .restore_card(book, &name, number, dry_run, actor)?
                    .into(),
                None => Outcome::Refused {
                    reason: "it was not there at that moment".to_owned(),
                },
            },
        };
        let outcome = match outcome {
            Outcome::Restored {
                full_name,
                replaced,
            } => {
                let cards = match replaced {
                    true => &mut difference.changed,
                    false => &mut difference.created,
                };
                cards.add(&name, full_name);
                CardRestore::Restored
            }
            Outcome::Unchanged => CardRestore::Unchanged,
            Outcome::Refused { reason } => CardRestore::Refused { reason },
        };
        Ok(RestoredCard { name, outcome })
    };
    let cards = names
        .into_iter()
        .map(restore)
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Reply::CardsRestored {
        at: now.0,
        cards,
        difference,
    })
}

/// Makes an address book what it was at a moment, or only says what that would change.
pub(super) fn book(
    store: &Store,
    book: BookId,
    at: Timestamp,
    dry_run: bool,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let actor = Actor {
        device: None,
        at: now,
    };
    let difference = store.restore_book(book, at, dry_run, actor)?;
    Ok(Reply::BookRestored {
        at: now.0,
        difference: named(store, book, at, difference)?,
    })
}

/// The difference with what people call the cards: those that go by their newest full name, the
/// others by the one of that moment.
pub(super) fn named(
    store: &Store,
    book: BookId,
    at: Timestamp,
    difference: cloudless_store::Difference,
) -> Result<Difference, StoreError> {
    let cards = |names: Vec<String>, at| {
        let first = names.iter().take(LISTED_MAX).map(|name| {
            Ok(NamedCard {
                name: name.clone(),
                full_name: store.full_name_at(book, name, at)?.map(cut),
            })
        });
        Ok::<_, StoreError>(Cards {
            count: names.len(),
            cards: first.collect::<Result<_, _>>()?,
        })
    };
    let conflicts = difference.conflicts.into_iter();
    Ok(Difference {
        created: cards(difference.created, at)?,
        changed: cards(difference.changed, at)?,
        deleted: cards(difference.deleted, Timestamp(i64::MAX))?,
        conflicts: cards(conflicts.map(|conflict| conflict.name).collect(), at)?,
    })
}

/// What became of a card, with what the difference tells of it.
enum Outcome {
    Restored {
        full_name: Option<String>,
        replaced: bool,
    },
    Unchanged,
    Refused {
        reason: String,
    },
}

/// A body that was refused is checked as if it came anew: it may have been refused because it is no
/// card, and clients stumble over those.
fn version(
    store: &Store,
    book: BookId,
    name: &str,
    number: u64,
    dry_run: bool,
    actor: Actor,
) -> Result<Outcome, StoreError> {
    let Some(Version {
        kind: VersionKind::Refused,
        bytes: Some(bytes),
        ..
    }) = store.version(book, name, number)?
    else {
        let outcome = store.restore_card(book, name, number, dry_run, actor)?;
        return Ok(outcome.into());
    };
    let summary = match cloudless_vcard::summarize(&bytes) {
        Ok(summary) => summary,
        Err(invalid) => {
            return Ok(Outcome::Refused {
                reason: format!(
                    "{invalid}; take it out with `cloudless contacts show --version {number}`, \
                     mend it and import it"
                ),
            });
        }
    };
    let card = cloudless_carddav::new_card(book, name.to_owned(), bytes, summary);
    let full_name = card.full_name.clone();
    let put = match dry_run {
        true => would_put(store, &card)?,
        false => store.put_card(card, Precondition::None, actor)?,
    };
    let restored = |etag, replaced| RestoreOutcome::Restored {
        etag,
        full_name,
        replaced,
    };
    let outcome = match put {
        PutOutcome::Created(etag) => restored(etag, false),
        PutOutcome::Updated(etag) => restored(etag, true),
        PutOutcome::Unchanged(etag) => RestoreOutcome::Unchanged(etag),
        PutOutcome::UidConflict { name } => RestoreOutcome::UidConflict { name },
        PutOutcome::NoSuchBook | PutOutcome::PreconditionFailed { .. } => {
            RestoreOutcome::NoSuchBook
        }
    };
    Ok(outcome.into())
}

/// What would become of a card that is put at this moment.
fn would_put(store: &Store, card: &NewCard) -> Result<PutOutcome, StoreError> {
    let rows = store.card_rows(card.book)?;
    let has_uid = |row: &&CardRow| row.uid.is_some() && row.uid == card.uid;
    let etag = ETag::of(&card.bytes);
    let there = rows.iter().find(|row| row.name == card.name);
    if there.is_some_and(|row| row.etag == etag) {
        return Ok(PutOutcome::Unchanged(etag));
    }
    let other = rows
        .iter()
        .filter(has_uid)
        .find(|row| row.name != card.name);
    if let Some(other) = other {
        let name = other.name.clone();
        return Ok(PutOutcome::UidConflict { name });
    }
    Ok(match there {
        Some(_) => PutOutcome::Updated(etag),
        None => PutOutcome::Created(etag),
    })
}

impl Cards {
    fn add(&mut self, name: &str, full_name: Option<String>) {
        self.count += 1;
        if self.cards.len() < LISTED_MAX {
            self.cards.push(NamedCard {
                name: name.to_owned(),
                full_name: full_name.map(cut),
            });
        }
    }
}

impl From<RestoreOutcome> for Outcome {
    fn from(outcome: RestoreOutcome) -> Self {
        let reason = match outcome {
            RestoreOutcome::Restored {
                full_name,
                replaced,
                ..
            } => {
                return Self::Restored {
                    full_name,
                    replaced,
                };
            }
            RestoreOutcome::Unchanged(_) => return Self::Unchanged,
            RestoreOutcome::NoSuchVersion => {
                "there is no such version with a card in it".to_owned()
            }
            RestoreOutcome::NoSuchBook => "the address book was deleted meanwhile".to_owned(),
            RestoreOutcome::UidConflict { name } => {
                format!("the card {name} has its UID; delete that one first")
            }
        };
        Self::Refused { reason }
    }
}
