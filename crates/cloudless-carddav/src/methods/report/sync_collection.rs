//! DAV:sync-collection (RFC 6578 §3).

mod changes;

use cloudless_dav_proto::error::Condition;
use cloudless_store::{CardRow, StoreError};
use http::header::USER_AGENT;
use http::{HeaderMap, Response, StatusCode};

use super::Cards;
use crate::Body;
use crate::card_rows::CardRows;
use crate::multistatus::{self, Row, Rows};
use crate::refusal::Refusal;
use crate::resource::card_href;
use crate::sync_token;
use changes::Changes;

/// The most cards in one answer; 507 and the token lead to the others (RFC 6578 §3.6). A client that
/// knows nothing of 507, such as Thunderbird, gets them at its next sync.
const CARDS_MAX: usize = 10_000;

/// What macOS calls the program that syncs contacts: `AddressBook/1808.6`, `AddressBookCore/2673`.
const MACOS: &[u8] = b"AddressBook";

/// What an answer tells, in this order.
enum Told {
    Changed(CardRow),
    Removed(String),
    /// There is more.
    Truncated,
    /// The revision that the client has then.
    Revision(u64),
}

/// Tells what changed since a token, or of all cards when there is none.
///
/// The rows are read page by page. A card that changes meanwhile gets a revision after the token, so
/// that the next sync tells of it, whether or not this answer did.
pub(super) fn respond(
    cards: Cards,
    token: Option<String>,
    limit: Option<u32>,
) -> Result<Response<Body>, Refusal> {
    let since = match token {
        None => None,
        // macOS begins with a token that it made up, and never syncs again after a refusal.
        Some(token) if sync_token::is_made_up(&token) => None,
        Some(token) => match sync_token::revision(&cards.book, &token) {
            None if never_starts_over(&cards.request.headers) => Some(0),
            revision => Some(revision.ok_or_else(unknown_token)?),
        },
    };
    let store = cards.request.store.clone();
    let book = &cards.book;
    let told: Box<dyn Iterator<Item = Result<Told, StoreError>> + Send> = match (since, limit) {
        // By name no card is left out because it changes meanwhile: a client takes what the first
        // sync does not tell for deleted.
        (None, None) if book.card_count <= CARDS_MAX as u64 => {
            let rows = CardRows::new(store, book.id).map(|row| row.map(Told::Changed));
            Box::new(rows.chain([Ok(Told::Revision(book.revision))]))
        }
        _ => {
            let limit = limit.map_or(CARDS_MAX, |limit| {
                usize::try_from(limit).map_or(CARDS_MAX, |limit| limit.min(CARDS_MAX))
            });
            Box::new(Changes::new(store, book, since, limit))
        }
    };
    let (reader, minimal) = (cards.request.reader(), cards.minimal);
    let rows: Rows = Box::new(told.map(move |told| row(&cards, told?)));
    multistatus::respond(reader, rows, minimal)
}

fn row(cards: &Cards, told: Told) -> Result<Row, StoreError> {
    let gone = |name: &str| Row::NotFound {
        href: card_href(&cards.book_href(), name),
    };
    Ok(match told {
        Told::Changed(row) if !cards.gives_cards() => cards.row(row, None)?,
        // It may have changed or gone since its row was read: the newer state is told.
        Told::Changed(row) => cards.named(&row.name)?.unwrap_or_else(|| gone(&row.name)),
        Told::Removed(name) => gone(&name),
        Told::Truncated => Row::Truncated {
            href: cards.book_href(),
        },
        Told::Revision(revision) => Row::SyncToken {
            token: sync_token::token(&cards.book, revision),
        },
    })
}

/// Tells whether the client is Contacts on macOS. After a backup was restored it comes with a token
/// like any other, but it keeps that for ever if it is refused. So it is told of every card that is
/// there and of every one that ever was.
fn never_starts_over(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).map(|agent| agent.as_bytes());
    agent.is_some_and(|agent| agent.windows(MACOS.len()).any(|part| part == MACOS))
}

/// The status is 400 and not 403, the usual one: on 400 Thunderbird lists everything again, after
/// 403 it never syncs any more. DAVx5 looks at the element at any status.
fn unknown_token() -> Refusal {
    let reason = "This sync token is not of this address book. Sync again without a token.";
    Refusal::condition(StatusCode::BAD_REQUEST, Condition::ValidSyncToken, reason)
}
