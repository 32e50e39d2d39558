//! CARDDAV:addressbook-multiget (RFC 6352 §8.7).

use http::Response;

use super::Cards;
use crate::Body;
use crate::multistatus::{self, Row};
use crate::refusal::Refusal;
use crate::resource::Resource;

/// Tells of the cards with these hrefs, one row for each href in the order of the request.
pub(super) fn respond(cards: Cards, hrefs: Vec<String>) -> Result<Response<Body>, Refusal> {
    let (reader, minimal) = (cards.request.reader(), cards.minimal);
    let rows = hrefs.into_iter().map(move |href| {
        let mut row = None;
        for name in [name(&cards, &href), literal_name(&cards, &href)] {
            if let (None, Some(name)) = (&row, name) {
                row = cards.named(&name)?;
            }
        }
        // A card is called by our spelling: Thunderbird takes the href of a new card from here and
        // compares it, as text, with those of sync-collection. What does not exist has no spelling
        // but the client's, and a client that misses its href in the answer asks for ever (iOS).
        Ok(row.unwrap_or(Row::NotFound { href }))
    });
    multistatus::respond(reader, Box::new(rows), minimal)
}

/// The name of the card in this address book that an href means, in whatever spelling.
fn name(cards: &Cards, href: &str) -> Option<String> {
    match Resource::parse(href)? {
        Resource::Card { user, book, card } if is_here(cards, &user, &book) => Some(card),
        _ => None,
    }
}

/// The same for an href that was not encoded, as KDE sends them: `100%.vcf`.
fn literal_name(cards: &Cards, href: &str) -> Option<String> {
    let (book, card) = href.rsplit_once('/')?;
    if !card.contains(['%', '?', '#']) {
        return None;
    }
    match Resource::parse(book)? {
        Resource::AddressBook { user, book } if is_here(cards, &user, &book) => {
            Some(card.to_owned())
        }
        _ => None,
    }
}

fn is_here(cards: &Cards, user: &str, book: &str) -> bool {
    user == cards.request.login.user_name && book == cards.book.slug
}
