//! Finding cards by their text.

use std::collections::HashMap;

use cloudless_store::{SearchScope, Store};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::history::cut;
use super::lookup;
use super::reply::Reply;

/// Cards of one answer, whatever the command asks for.
const FOUND_MAX: usize = 1_000;
/// Values of one property that are told.
const VALUES_MAX: usize = 3;
/// How often cards that are not indexed yet are, before a search: home does the rest meanwhile.
const INDEX_ROUNDS: usize = 64;

/// A card that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The address book's slug for the user.
    pub book: String,
    /// The card's name.
    pub name: String,
    /// The full name in it.
    pub full_name: Option<String>,
    /// The first e-mail addresses in it.
    pub emails: Vec<String>,
    /// The first telephone numbers in it.
    pub phones: Vec<String>,
    /// When it was stored, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub modified_at: i64,
}

pub(super) fn search(
    store: &Store,
    user: Option<&str>,
    book: Option<&str>,
    text: &str,
    limit: usize,
) -> Result<Reply, Failure> {
    let user = lookup::user(store, user)?;
    let scope = match book {
        Some(slug) => SearchScope::Book(lookup::book(store, Some(&user.name), slug)?.id),
        None => SearchScope::User(user.id),
    };
    for _ in 0..INDEX_ROUNDS {
        if !cloudless_carddav::index_cards(store)? {
            break;
        }
    }
    let books = store.address_books(user.id)?.into_iter();
    let slugs: HashMap<_, _> = books.map(|book| (book.id, book.slug)).collect();
    let mut cards = Vec::new();
    for hit in store.search(scope, text, limit.clamp(1, FOUND_MAX))? {
        // It may be gone by then.
        let Some(card) = store.card(hit.book, &hit.row.name)? else {
            continue;
        };
        let values = |name: &str| {
            let lines = cloudless_vcard::properties(&card.bytes).filter(|line| line.is(name));
            lines
                .take(VALUES_MAX)
                .map(|line| cut(address(&line.text()).to_owned()))
                .collect()
        };
        cards.push(Found {
            book: slugs.get(&hit.book).cloned().unwrap_or_default(),
            full_name: full_name(&card.bytes),
            emails: values("EMAIL"),
            phones: values("TEL"),
            name: card.row.name,
            modified_at: card.row.modified_at.0,
        });
    }
    Ok(Reply::Found { cards })
}

/// A number or an e-mail address as people write it: vCard 4.0 may have a URI of it, such as
/// `tel:+49-30-1234567;ext=5` (RFC 3966).
fn address(value: &str) -> &str {
    let Some((scheme, rest)) = value.split_once(':') else {
        return value;
    };
    let is_uri = ["tel", "sms", "mailto"]
        .iter()
        .any(|known| scheme.trim().eq_ignore_ascii_case(known));
    match rest.split([';', '?']).next() {
        Some(address) if is_uri && !address.is_empty() => address,
        _ => value,
    }
}

/// What people call the card.
pub(super) fn full_name(bytes: &[u8]) -> Option<String> {
    cloudless_vcard::summarize(bytes).ok()?.full_name.map(cut)
}
