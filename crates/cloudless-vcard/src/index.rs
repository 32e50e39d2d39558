//! What a store keeps beside a card, in order to find it.

use crate::card::properties;
use crate::content_line::ContentLine;

/// The properties that [`index`] has: those that clients and people search by. All but NOTE are
/// short; a long one makes the index of its card incomplete.
pub const INDEXED: [&str; 16] = [
    "ADR",
    "BDAY",
    "CATEGORIES",
    "EMAIL",
    "FN",
    "IMPP",
    "KIND",
    "N",
    "NICKNAME",
    "NOTE",
    "ORG",
    "ROLE",
    "TEL",
    "TITLE",
    "UID",
    "URL",
];

/// The longest value in an index, in bytes.
const VALUE_LEN_MAX: usize = 4 * 1024;

/// The most values in an index.
const ENTRIES_MAX: usize = 512;

/// The longest text that [`text`] gives, in bytes.
const TEXT_LEN_MAX: usize = 64 * 1024;

/// The values of a card that an index keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The values in the order of the card.
    pub entries: Vec<IndexEntry>,
    /// Whether every property among [`INDEXED`] is there. If not, a value is too long or there are
    /// too many, and only the card itself can tell whether it matches a filter.
    pub is_complete: bool,
}

/// One value in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The name of the property, one of [`INDEXED`].
    pub property: &'static str,
    /// The value as text, decoded and unescaped, as
    /// [`ContentLine::text`](crate::content_line::ContentLine::text) gives it.
    pub value: String,
}

/// The values of a card to search by. Groups and parameters are not among them.
pub fn index(card: &[u8]) -> Index {
    let mut index = Index {
        entries: Vec::new(),
        is_complete: true,
    };
    for line in properties(card) {
        let Some(property) = INDEXED.into_iter().find(|name| line.is(name)) else {
            continue;
        };
        if line.value().len() > VALUE_LEN_MAX || index.entries.len() == ENTRIES_MAX {
            index.is_complete = false;
            continue;
        }
        index.entries.push(IndexEntry {
            property,
            value: line.text(),
        });
    }
    index
}

/// All text of a card for a full-text search, one property a line, cut at 64 KiB.
///
/// Pictures, sounds, keys and what only programs read are left out. A telephone number is there a
/// second time without spaces and punctuation.
pub fn text(card: &[u8]) -> String {
    let mut text = String::new();
    for line in properties(card).filter(is_for_people) {
        let mut value = line.text();
        if line.is("TEL") {
            let compact: String = value
                .chars()
                .filter(|c| c.is_ascii_digit() || *c == '+')
                .collect();
            if compact != value {
                value.push(' ');
                value += &compact;
            }
        }
        let words = value.split([';', '\n']).map(str::trim);
        let before = text.len();
        for word in words.filter(|word| !word.is_empty()) {
            if text.len() > before {
                text.push(' ');
            }
            text += word;
        }
        if text.len() > before {
            text.push('\n');
        }
        if text.len() > TEXT_LEN_MAX {
            text.truncate(text.floor_char_boundary(TEXT_LEN_MAX));
            break;
        }
    }
    text
}

/// Properties that hold no text, or none that anybody would search for.
const FOR_PROGRAMS: [&str; 14] = [
    "CLIENTPIDMAP",
    "KEY",
    "KIND",
    "LOGO",
    "MEMBER",
    "PHOTO",
    "PRODID",
    "REV",
    "SOUND",
    "UID",
    "VERSION",
    "X-ADDRESSBOOKSERVER-KIND",
    "X-ADDRESSBOOKSERVER-MEMBER",
    "X-IMAGEHASH",
];

fn is_for_people(line: &ContentLine<'_>) -> bool {
    let is_binary = || {
        line.has_parameter("ENCODING", "B")
            || line.has_parameter("ENCODING", "BASE64")
            || line.value().trim_ascii_start().starts_with(b"data:")
    };
    !FOR_PROGRAMS.iter().any(|name| line.is(name))
        && line.value().len() <= TEXT_LEN_MAX
        && !is_binary()
}
