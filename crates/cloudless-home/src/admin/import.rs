//! Importing cards, so that doing it twice changes nothing and one bad card stops no other.

use std::collections::HashMap;

use cloudless_store::{Actor, BookId, NewCard, PutOutcome, Store, StoreError, Timestamp};
use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::command::ImportCard;
use super::reply::{CardOutcome, ImportOutcome};

/// The largest card, the same that clients may upload.
pub(super) const CARD_MAX: usize = 10 * 1024 * 1024;
/// The longest UID, or wish, that is taken for a name as it is.
const NAME_MAX: usize = 200;

/// Stores the cards in one transaction. The outcomes are in the order of `cards`.
pub(super) fn import(
    store: &Store,
    book: BookId,
    cards: Vec<ImportCard>,
    now: Timestamp,
) -> Result<Vec<CardOutcome>, StoreError> {
    let mut names = Names::new(store, book);
    let mut accepted = Vec::new();
    let mut prepared = Vec::new();
    for card in cards {
        prepared.push(prepare(card, &mut names)?.map(|card| {
            let name = card.name.clone();
            accepted.push(card);
            name
        }));
    }
    let mut outcomes = store
        .put_cards(
            accepted,
            Actor {
                device: None,
                at: now,
            },
        )?
        .into_iter();
    Ok(prepared
        .into_iter()
        .map(|prepared| match prepared {
            Ok(name) => outcome(name, outcomes.next()),
            Err(reason) => refused(reason),
        })
        .collect())
}

fn outcome(name: String, outcome: Option<PutOutcome>) -> CardOutcome {
    let outcome = match outcome {
        Some(PutOutcome::Created(_)) => ImportOutcome::Created,
        Some(PutOutcome::Updated(_)) => ImportOutcome::Updated,
        Some(PutOutcome::Unchanged(_)) => ImportOutcome::Unchanged,
        Some(PutOutcome::UidConflict { name }) => {
            return refused(format!("the card {name} has the same UID; try again"));
        }
        Some(PutOutcome::PreconditionFailed { .. } | PutOutcome::NoSuchBook) | None => {
            return refused("the address book changed meanwhile; try again".to_owned());
        }
    };
    CardOutcome {
        name: Some(name),
        outcome,
    }
}

fn refused(reason: String) -> CardOutcome {
    CardOutcome {
        name: None,
        outcome: ImportOutcome::Refused { reason },
    }
}

/// Reads a card and finds its name, or says why it cannot be stored.
fn prepare(card: ImportCard, names: &mut Names<'_>) -> Result<Result<NewCard, String>, StoreError> {
    let decoded = decode(card.bytes_base64).and_then(|bytes| {
        let summary = cloudless_vcard::summarize(&bytes).map_err(|error| error.to_string())?;
        Ok((bytes, summary))
    });
    let (bytes, summary) = match decoded {
        Ok(decoded) => decoded,
        Err(reason) => return Ok(Err(reason)),
    };
    let name = names.choose(card.name.as_deref(), summary.uid.as_deref(), &bytes)?;
    Ok(name.map(|name| cloudless_carddav::new_card(names.book, name, bytes, summary)))
}

/// The text is freed before the next card is decoded.
fn decode(base64: String) -> Result<Vec<u8>, String> {
    let bytes = BASE64
        .decode(base64.as_bytes())
        .map_err(|error| format!("the card's base64 is wrong: {error}"))?;
    if bytes.len() > CARD_MAX {
        return Err(format!(
            "the card is larger than {} MiB",
            CARD_MAX / 1024 / 1024
        ));
    }
    Ok(bytes)
}

/// Which names are taken by which UID, in the book and by the cards of the running import.
struct Names<'a> {
    store: &'a Store,
    book: BookId,
    name_of_uid: HashMap<String, String>,
    uid_of_name: HashMap<String, Option<String>>,
}

impl<'a> Names<'a> {
    fn new(store: &'a Store, book: BookId) -> Self {
        Self {
            store,
            book,
            name_of_uid: HashMap::new(),
            uid_of_name: HashMap::new(),
        }
    }

    /// The name that a card of this UID has or gets. A card without one is named by its bytes, so
    /// that the same card gets the same name each time.
    fn choose(
        &mut self,
        wish: Option<&str>,
        uid: Option<&str>,
        bytes: &[u8],
    ) -> Result<Result<String, String>, StoreError> {
        if let Some(uid) = uid
            && let Some(name) = self.name_of_uid(uid)?
        {
            return Ok(Ok(name));
        }
        let wish = wish
            .filter(|wish| uid.is_some() && is_safe(wish))
            .map(str::to_owned);
        let from_uid = uid
            .filter(|uid| is_safe(uid))
            .map(|uid| format!("{uid}.vcf"));
        let hashed = hash_name(uid.map_or(bytes, str::as_bytes));
        for name in wish.into_iter().chain(from_uid).chain([hashed.clone()]) {
            let is_free = match (self.uid_of_name(&name)?, uid) {
                (None, _) => true,
                // The same bytes: the name is their hash.
                (Some(None), None) => name == hashed,
                (Some(_), _) => false,
            };
            if is_free {
                self.take(name.clone(), uid.map(str::to_owned));
                return Ok(Ok(name));
            }
        }
        Ok(Err(format!("the name {hashed} belongs to another card")))
    }

    fn name_of_uid(&self, uid: &str) -> Result<Option<String>, StoreError> {
        match self.name_of_uid.get(uid) {
            Some(name) => Ok(Some(name.clone())),
            None => self.store.name_of_uid(self.book, uid),
        }
    }

    /// `None` when the name is free, else the UID of the card that has it.
    fn uid_of_name(&self, name: &str) -> Result<Option<Option<String>>, StoreError> {
        match self.uid_of_name.get(name) {
            Some(uid) => Ok(Some(uid.clone())),
            None => Ok(self.store.card_row(self.book, name)?.map(|row| row.uid)),
        }
    }

    fn take(&mut self, name: String, uid: Option<String>) {
        if let Some(uid) = &uid {
            self.name_of_uid.insert(uid.clone(), name.clone());
        }
        self.uid_of_name.insert(name, uid);
    }
}

/// Whether the text can be a file name and a URL segment everywhere, as it is.
fn is_safe(name: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b'+');
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
}

fn hash_name(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("{}.vcf", HEXLOWER.encode(&digest[..16]))
}
