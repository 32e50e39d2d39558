//! Cards that are the same person, and joining them.

use std::collections::BTreeSet;

use cloudless_store::{
    Actor, BookId, Card, DeleteOutcome, Precondition, PutOutcome, Store, StoreError, Timestamp,
};
use cloudless_vcard::{Person, Reason, Region};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::history::cut;
use super::import::CARD_MAX;
use super::lookup::{self, CardChoice};
use super::reply::Reply;
use super::restore::NamedCard;
use super::search::full_name;

/// Names that are read at a time.
const PAGE_CARDS: usize = 256;
/// Bytes of cards that are joined at a time, as all of them are held in memory.
const JOINED_MAX: u64 = 64 * 1024 * 1024;
/// Cards that are listed, so that the answer stays within [`MAX_LINE`](super::MAX_LINE).
const LISTED_MAX: usize = 5_000;

/// Cards that are the same person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateGroup {
    /// What [`MergeChoice::Group`] calls it: another one once a card in it has changed.
    pub group: String,
    /// The cards; a merge keeps the first, which has the most properties.
    pub cards: Vec<NamedCard>,
    /// Why they are taken for one person, the surest first.
    pub because: Vec<SameBecause>,
}

/// Why cards are taken for the same person: they have this in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameBecause {
    /// The UID.
    Uid(String),
    /// An e-mail address.
    Email(String),
    /// A telephone number.
    Phone(String),
    /// The name.
    Name(String),
}

/// Which cards to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeChoice {
    /// A group that was listed.
    Group(String),
    /// These, into the first of them.
    Cards(Vec<CardChoice>),
}

/// What became of cards that were joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// When, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub at: i64,
    /// The card that was kept.
    pub name: String,
    /// The cards that were joined into it and deleted.
    pub deleted: Vec<String>,
    /// The cards that were joined into it and stay, because somebody changed them meanwhile.
    pub kept: Vec<String>,
    /// The joined card's exact bytes, in standard base64 with padding.
    pub bytes_base64: String,
}

pub(super) fn list(store: &Store, book: BookId, region: Option<&str>) -> Result<Reply, Failure> {
    let found = find(store, book, region)?;
    let count = found.len();
    let mut listed = 0;
    let groups = found.into_iter().take_while(|group| {
        listed += group.cards.len();
        listed <= LISTED_MAX
    });
    Ok(Reply::Duplicates {
        count,
        groups: groups.collect(),
    })
}

pub(super) fn merge(
    store: &Store,
    book: BookId,
    choice: &MergeChoice,
    region: Option<&str>,
    dry_run: bool,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let mut names: Vec<String> = match choice {
        MergeChoice::Group(id) => {
            let mut groups = find(store, book, region)?.into_iter();
            let group = groups.find(|group| group.group == *id);
            let group = group.ok_or_else(|| Failure::NoSuchGroup(id.clone()))?;
            group.cards.into_iter().map(|card| card.name).collect()
        }
        MergeChoice::Cards(cards) => {
            let names = cards
                .iter()
                .map(|card| lookup::card_name(store, book, card));
            names.collect::<Result<_, _>>()?
        }
    };
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let mut size = 0;
    for name in &names {
        size += store.card_row(book, name)?.map_or(0, |row| row.size);
    }
    if size > JOINED_MAX {
        return Err(Failure::MergeTooMuch);
    }
    let mut cards = Vec::new();
    for (name, card) in names.iter().zip(store.cards(book, &names)?) {
        cards.push(card.ok_or_else(|| Failure::CardDeleted(name.clone()))?);
    }
    let [keep, others @ ..] = &cards[..] else {
        return Err(Failure::FewCards);
    };
    if others.is_empty() {
        return Err(Failure::FewCards);
    }
    let bodies: Vec<&[u8]> = others.iter().map(|card| card.bytes.as_slice()).collect();
    let bytes = cloudless_vcard::merge(&keep.bytes, &bodies)
        .map_err(|error| Failure::Merge(error.to_string()))?;
    if bytes.len() > CARD_MAX {
        return Err(Failure::MergedTooLarge);
    }
    let mut merged = Merged {
        at: now.0,
        name: keep.row.name.clone(),
        deleted: others.iter().map(|card| card.row.name.clone()).collect(),
        kept: Vec::new(),
        bytes_base64: BASE64.encode(&bytes),
    };
    if !dry_run {
        store_merged(store, book, keep, bytes, others, &mut merged, now)?;
    }
    Ok(Reply::Merged(merged))
}

/// Stores the joined card first, so that nothing is lost if the rest cannot be done.
fn store_merged(
    store: &Store,
    book: BookId,
    keep: &Card,
    bytes: Vec<u8>,
    others: &[Card],
    merged: &mut Merged,
    now: Timestamp,
) -> Result<(), Failure> {
    let actor = Actor {
        device: None,
        at: now,
    };
    let same = |card: &Card| Precondition::Match(vec![card.row.etag.clone()]);
    let summary =
        cloudless_vcard::summarize(&bytes).map_err(|error| Failure::Merge(error.to_string()))?;
    let card = cloudless_carddav::new_card(book, keep.row.name.clone(), bytes, summary);
    match store.put_card(card, same(keep), actor)? {
        PutOutcome::Created(_) | PutOutcome::Updated(_) | PutOutcome::Unchanged(_) => {}
        PutOutcome::PreconditionFailed { .. } | PutOutcome::NoSuchBook => {
            return Err(Failure::Merge(format!(
                "{} changed meanwhile",
                keep.row.name
            )));
        }
        PutOutcome::UidConflict { name } => {
            return Err(Failure::Merge(format!("the card {name} has its UID")));
        }
    }
    merged.deleted.clear();
    for card in others {
        let name = card.row.name.clone();
        match store.delete_card(book, &name, same(card), actor)? {
            DeleteOutcome::PreconditionFailed { .. } => merged.kept.push(name),
            DeleteOutcome::Deleted | DeleteOutcome::NotFound => merged.deleted.push(name),
        }
    }
    Ok(())
}

/// What is remembered of each card while all are compared.
struct Sketch {
    name: String,
    etag: String,
    full_name: Option<String>,
    properties: usize,
}

fn find(store: &Store, book: BookId, region: Option<&str>) -> Result<Vec<DuplicateGroup>, Failure> {
    let region = region.map(|region| {
        region.parse::<Region>().map_err(|source| Failure::Region {
            region: region.to_owned(),
            source,
        })
    });
    let region = region.transpose()?;
    let mut people = Vec::new();
    let mut sketches = Vec::new();
    for name in candidates(store, book, region)? {
        if let Some(card) = store.card(book, &name)? {
            people.push(Person::read(&card.bytes, region));
            sketches.push(Sketch {
                full_name: full_name(&card.bytes),
                properties: cloudless_vcard::properties(&card.bytes).count(),
                name: card.row.name,
                etag: card.row.etag.to_string(),
            });
        }
    }
    let groups = cloudless_vcard::duplicates(&people).into_iter();
    Ok(groups
        .map(|group| {
            let mut members: Vec<&Sketch> = group.members.iter().map(|at| &sketches[*at]).collect();
            members.sort_by_key(|member| std::cmp::Reverse(member.properties));
            DuplicateGroup {
                group: group_id(&members),
                cards: members
                    .into_iter()
                    .map(|member| NamedCard {
                        name: member.name.clone(),
                        full_name: member.full_name.clone(),
                    })
                    .collect(),
                because: group.reasons.into_iter().map(because).collect(),
            }
        })
        .collect())
}

/// The names of cards that share a sign with another one, in order. What the others hold is not
/// kept, and they are most of a large book.
fn candidates(
    store: &Store,
    book: BookId,
    region: Option<Region>,
) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<String> = Vec::new();
    let mut signs: Vec<(u64, usize)> = Vec::new();
    loop {
        let after = names.last().map_or("", String::as_str);
        let page = store.card_rows_after(book, after, PAGE_CARDS)?;
        if page.is_empty() {
            break;
        }
        for row in page {
            if let Some(card) = store.card(book, &row.name)? {
                let person = Person::read(&card.bytes, region);
                signs.extend(person.sign_hashes().map(|hash| (hash, names.len())));
            }
            names.push(row.name);
        }
    }
    signs.sort_unstable();
    let shared = signs.chunk_by(|(a, _), (b, _)| a == b);
    let shared: BTreeSet<usize> = shared
        .filter(|cards| cards.len() > 1)
        .flat_map(|cards| cards.iter().map(|(_, at)| *at))
        .collect();
    let names = names.into_iter().enumerate();
    Ok(names
        .filter_map(|(at, name)| shared.contains(&at).then_some(name))
        .collect())
}

/// Short to type, and another one when any of the cards has changed.
fn group_id(members: &[&Sketch]) -> String {
    let mut hash = Sha256::new();
    for Sketch { name, etag, .. } in members {
        // Neither has a NUL.
        hash.update(format!("{name}\0{etag}\0"));
    }
    HEXLOWER.encode(&hash.finalize()[..4])
}

fn because(reason: Reason) -> SameBecause {
    match reason {
        Reason::Uid(uid) | Reason::GroupUid(uid) => SameBecause::Uid(cut(uid)),
        Reason::Email(email) => SameBecause::Email(cut(email)),
        Reason::Phone(phone) => SameBecause::Phone(cut(phone)),
        Reason::Name(name) => SameBecause::Name(cut(name)),
    }
}
