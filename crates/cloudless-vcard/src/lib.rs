//! A tolerant reader of vCards: enough to index a card and to cut an export into cards.
//!
//! - [`summarize`] reads the UID, the formatted name and the version of one card.
//! - [`split`] cuts a file of many cards into the bytes of each.
//! - [`convert`] gives a card in the other version, 3.0 or 4.0, for a client that asks for it.
//! - [`select`] keeps some properties of a card, for a client that asks for a part.
//! - [`index`] and [`text`] are what a store keeps beside a card in order to find it.
//! - [`duplicates`] finds cards that are the same person and [`merge`] joins them.
//! - [`content_line`] has the lexer below both.
//!
//! Cards are bytes and stay bytes: nothing here is meant to be stored in place of one. What real programs write is read:
//! folded lines, the soft line breaks of vCard 2.1's quoted-printable, any line ending, a byte
//! order mark, lower case names, property groups, nested AGENT cards and bytes that are no UTF-8
//! (RFC 6350, RFC 2426, vCard 2.1). Work and memory are linear in the input, whatever it holds.

mod card;
pub mod content_line;
mod convert;
mod duplicate;
mod fold;
mod index;
mod line;
mod merge;
mod select;
mod split;
mod summary;
mod text;

pub use card::properties;
pub use convert::{Version, convert};
pub use duplicate::{Duplicates, Person, Reason, Region, UnknownRegion, duplicates, same_person};
pub use index::{INDEXED, Index, IndexEntry, index, text};
pub use merge::merge;
pub use select::{Chosen, select};
pub use split::{split, split_indices};
pub use summary::{Invalid, Summary, summarize};
