//! Sync tokens (RFC 6578 §3): a state of an address book, as text.

use cloudless_store::AddressBook;

/// Tokens must be URIs. This one leads nowhere (RFC 6761), and some clients want a `/` or `:`.
const PREFIX: &str = "https://cloudless.invalid/sync/";

/// Spells the token of a book at a revision. Tokens never expire.
pub(crate) fn token(book: &AddressBook, revision: u64) -> String {
    spell(&book.incarnation, revision)
}

/// The same of the book with this incarnation.
pub(crate) fn spell(incarnation: &str, revision: u64) -> String {
    format!("{PREFIX}{incarnation}/{revision}")
}

/// Reads the revision out of a token of this book. None for a token that was not made for it: of
/// another server, of a book that was deleted since, or of a later state than the present one (the
/// store was brought back from a copy).
pub(crate) fn revision(book: &AddressBook, text: &str) -> Option<u64> {
    let (_, revision) = text.rsplit_once('/')?;
    let revision = revision.parse().ok()?;
    (revision <= book.revision && text == token(book, revision)).then_some(revision)
}

/// Tells whether a token is a bare UUID. No server gives such a token, as it is no URI; macOS makes one
/// up where it has none.
pub(crate) fn is_made_up(text: &str) -> bool {
    let groups = text.trim().split('-');
    let lengths: Vec<usize> = groups.clone().map(str::len).collect();
    let is_hex = |group: &str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    lengths == [8, 4, 4, 4, 12] && groups.clone().all(is_hex)
}
