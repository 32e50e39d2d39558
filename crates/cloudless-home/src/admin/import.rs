//! Importing cards, so that doing it twice changes nothing and one bad card stops no other.

use std::collections::HashMap;

use cloudless_store::{Actor, BookId, NewCard, PutOutcome, Store, StoreError, Timestamp};
use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::command::ImportCard;
use super::reply::{CardOutcome, ImportOutcome};

/// The largest card, the same that clients may upload.
const CARD_MAX: usize = 10 * 1024 * 1024;
/// The longest UID, or wish, that is taken for a name as it is.
const NAME_MAX: usize = 200;

/// Stores the cards in one transaction. The outcomes are in the order of `cards`.
pub(super) fn import(
    store: &Store,
    book: BookId,
    cards: &[ImportCard],
    now: Timestamp,
) -> Result<Vec<CardOutcome>, StoreError> {
    let mut names = Names::of(store, book)?;
    let mut accepted = Vec::new();
    let prepared: Vec<_> = cards
        .iter()
        .map(|card| {
            let card = prepare(card, book, &mut names)?;
            let name = card.name.clone();
            accepted.push(card);
            Ok(name)
        })
        .collect();
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
fn prepare(card: &ImportCard, book: BookId, names: &mut Names) -> Result<NewCard, String> {
    let bytes = BASE64
        .decode(card.bytes_base64.as_bytes())
        .map_err(|error| format!("the card's base64 is wrong: {error}"))?;
    if bytes.len() > CARD_MAX {
        return Err(format!(
            "the card is larger than {} MiB",
            CARD_MAX / 1024 / 1024
        ));
    }
    let summary = cloudless_vcard::summarize(&bytes).map_err(|error| error.to_string())?;
    let name = names.choose(card.name.as_deref(), summary.uid.as_deref(), &bytes)?;
    Ok(cloudless_carddav::new_card(book, name, bytes, summary))
}

/// Which names are taken by which UID, the cards of the running import included.
struct Names {
    name_of_uid: HashMap<String, String>,
    uid_of_name: HashMap<String, Option<String>>,
}

impl Names {
    fn of(store: &Store, book: BookId) -> Result<Self, StoreError> {
        let mut names = Self {
            name_of_uid: HashMap::new(),
            uid_of_name: HashMap::new(),
        };
        for row in store.card_rows(book)? {
            names.take(row.name, row.uid);
        }
        Ok(names)
    }

    /// The name that a card of this UID has or gets. A card without one is named by its bytes, so
    /// that the same card gets the same name each time.
    fn choose(
        &mut self,
        wish: Option<&str>,
        uid: Option<&str>,
        bytes: &[u8],
    ) -> Result<String, String> {
        if let Some(name) = uid.and_then(|uid| self.name_of_uid.get(uid)) {
            return Ok(name.clone());
        }
        let wish = wish
            .filter(|wish| uid.is_some() && is_safe(wish))
            .map(str::to_owned);
        let from_uid = uid
            .filter(|uid| is_safe(uid))
            .map(|uid| format!("{uid}.vcf"));
        let hashed = hash_name(uid.map_or(bytes, str::as_bytes));
        let is_free = |name: &String| match (self.uid_of_name.get(name), uid) {
            (None, _) => true,
            // The same bytes: the name is their hash.
            (Some(None), None) => *name == hashed,
            (Some(_), _) => false,
        };
        let name = wish
            .into_iter()
            .chain(from_uid)
            .chain([hashed.clone()])
            .find(is_free)
            .ok_or_else(|| format!("the name {hashed} belongs to another card"))?;
        self.take(name.clone(), uid.map(str::to_owned));
        Ok(name)
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
