//! What happened to cards, and their earlier bytes.

use cloudless_store::{HistoryQuery, Store, Timestamp, Version, VersionKind};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::lookup::{self, CardChoice};
use super::reply::Reply;

/// Rows of one page, whatever the command asks for.
const PAGE_ROWS_MAX: usize = 1000;
/// Longer texts are cut in a listing, so that a page stays within [`MAX_LINE`](super::MAX_LINE).
const TEXT_MAX: usize = 500;

/// One thing that happened to a card. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the history: larger ones happened later.
    pub id: u64,
    /// The address book's slug.
    pub book: String,
    /// The card's name.
    pub name: String,
    /// The card's version, from 1.
    pub version: u64,
    /// What happened.
    pub change: ChangeKind,
    /// When.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub at: i64,
    /// The device that did it; absent for a command on the machine itself.
    pub device: Option<String>,
    /// The number of bytes; absent for a deletion.
    pub size: Option<u64>,
    /// The UID in the card.
    pub uid: Option<String>,
    /// The full name in the card.
    pub full_name: Option<String>,
    /// Why it was refused, or where it was moved or copied.
    pub reason: Option<String>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The card appeared.
    Created,
    /// It got other bytes.
    Changed,
    /// It went.
    Deleted,
    /// Somebody tried to store these bytes and was refused.
    Refused,
    /// It got the bytes of an earlier version back.
    Restored,
}

/// The bytes of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastVersion {
    /// The card's name.
    pub name: String,
    /// The version, from 1.
    pub version: u64,
    /// What happened.
    pub change: ChangeKind,
    /// When, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub at: i64,
    /// Its exact bytes, in standard base64 with padding.
    pub bytes_base64: String,
}

/// Which part of the history to list.
pub(super) struct Listing<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) book: Option<&'a str>,
    pub(super) card: Option<&'a CardChoice>,
    pub(super) since: Option<i64>,
    pub(super) before: Option<u64>,
    pub(super) limit: usize,
}

pub(super) fn list(store: &Store, listing: &Listing<'_>) -> Result<Reply, Failure> {
    let scope = lookup::scope(store, listing.user, listing.book)?;
    let card = match listing.card {
        Some(card) => lookup::card(store, scope, card)?,
        None => HistoryQuery::default(),
    };
    let limit = listing.limit.clamp(1, PAGE_ROWS_MAX);
    let query = HistoryQuery {
        since: listing.since.map(Timestamp),
        before: listing.before,
        limit: limit + 1,
        ..card
    };
    let mut rows = store.history(scope, &query)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let change = |row: cloudless_store::HistoryRow| Change {
        id: row.id,
        book: row.slug,
        name: row.name,
        version: row.number,
        change: row.kind.into(),
        at: row.at.0,
        device: row.device_name,
        size: row.size,
        uid: row.uid.map(cut),
        full_name: row.full_name.map(cut),
        reason: row.reason.map(cut),
    };
    Ok(Reply::History {
        changes: rows.into_iter().map(change).collect(),
        more,
    })
}

/// The bytes of a version, or without a number those of the last one that has any.
pub(super) fn version(
    store: &Store,
    user: Option<&str>,
    book: &str,
    card: &CardChoice,
    number: Option<u64>,
) -> Result<Reply, Failure> {
    let scope = lookup::scope(store, user, Some(book))?;
    let query = lookup::card(store, scope, card)?;
    let name = query.name.clone().unwrap_or_default();
    let rows = store.history(scope, &HistoryQuery { limit: 2, ..query })?;
    let (book, newest) = match rows.first() {
        Some(row) => (row.book, row.number),
        None => return Err(Failure::NoSuchCard(name)),
    };
    let mut wanted = number.unwrap_or(newest);
    let found = loop {
        let version = store.version(book, &name, wanted)?;
        match version {
            Some(Version {
                bytes: Some(bytes),
                kind,
                at,
                ..
            }) => break Some((kind, at, bytes)),
            // A deletion has no bytes; those before it are meant.
            Some(_) if number.is_none() && wanted > 1 => wanted -= 1,
            _ => break None,
        }
    };
    let Some((kind, at, bytes)) = found else {
        return Err(Failure::NoSuchVersion {
            name,
            number: wanted,
        });
    };
    Ok(Reply::Version(PastVersion {
        name,
        version: wanted,
        change: kind.into(),
        at: at.0,
        bytes_base64: BASE64.encode(&bytes),
    }))
}

/// A text short enough for a listing.
pub(super) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl From<VersionKind> for ChangeKind {
    fn from(kind: VersionKind) -> Self {
        match kind {
            VersionKind::Created => Self::Created,
            VersionKind::Changed => Self::Changed,
            VersionKind::Deleted => Self::Deleted,
            VersionKind::Refused => Self::Refused,
            VersionKind::Restored => Self::Restored,
        }
    }
}
