//! DAV:sync-collection (RFC 6578 §3).

use cloudless_dav_proto::error::Condition;
use http::{Response, StatusCode};

use super::Cards;
use crate::multistatus::{self, Row, Rows};
use crate::refusal::Refusal;
use crate::resource::card_href;
use crate::{Body, blocking, sync_token};

/// The most cards in one answer; 507 and the token lead to the others (RFC 6578 §3.6). A client that
/// knows nothing of 507, such as Thunderbird, gets them at its next sync. The rows of one answer are
/// in memory at once, some 300 bytes each.
const CARDS_MAX: usize = 10_000;

/// Tells what changed since a token, or of all cards when there is none.
pub(super) async fn respond(
    cards: Cards,
    token: Option<String>,
    limit: Option<u32>,
) -> Result<Response<Body>, Refusal> {
    let since = match token {
        None => None,
        // macOS begins with a token that it made up, and never syncs again after a refusal.
        Some(token) if sync_token::is_made_up(&token) => None,
        Some(token) => Some(sync_token::revision(&cards.book, &token).ok_or_else(unknown_token)?),
    };
    let limit = limit.map_or(CARDS_MAX, |limit| {
        usize::try_from(limit).map_or(CARDS_MAX, |limit| limit.min(CARDS_MAX))
    });
    let (cards, changes) = blocking::run(move || {
        let changes = cards
            .request
            .store
            .changes_since(cards.book.id, since, Some(limit))?;
        Ok((cards, changes))
    })
    .await?;
    let token = sync_token::token(&cards.book, changes.revision);
    let minimal = cards.minimal;
    let book_href = cards.book_href();
    let truncated = changes.truncated.then(|| {
        Ok(Row::Truncated {
            href: book_href.clone(),
        })
    });
    let removed = changes.removed.into_iter().map(move |name| {
        Ok(Row::NotFound {
            href: card_href(&book_href, &name),
        })
    });
    let with_bytes = cards.gives_cards();
    let changed = changes.changed.into_iter().map(move |row| {
        if !with_bytes {
            return cards.row(row, None);
        }
        // A card may change or go again before its page is written. Its row then tells of the newer
        // state, and the next sync, from a token of before that, tells of it again.
        let gone = || Row::NotFound {
            href: card_href(&cards.book_href(), &row.name),
        };
        Ok(cards.named(&row.name)?.unwrap_or_else(gone))
    });
    let rows: Rows = Box::new(changed.chain(removed).chain(truncated));
    multistatus::respond(rows, Some(token), minimal).await
}

/// The status is 400 and not 403, the usual one: on 400 Thunderbird lists everything again, after
/// 403 it never syncs any more. DAVx5 looks at the element at any status.
fn unknown_token() -> Refusal {
    let reason = "This sync token is not of this address book. Sync again without a token.";
    Refusal::condition(StatusCode::BAD_REQUEST, Condition::ValidSyncToken, reason)
}
