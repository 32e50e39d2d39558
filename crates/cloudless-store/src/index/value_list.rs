//! How the database keeps the values of a card: one row holds many, because going from row to row
//! is most of what a query costs.
//!
//! A list is values with [`VALUE_END`] between them, at least one. Lists stand behind the names of
//! their properties, with [`LIST_END`] between them.

use std::str::Utf8Error;

use rusqlite::types::Type;

use super::IndexEntry;

/// In no UTF-8 text.
const VALUE_END: u8 = 0xFF;
/// In no UTF-8 text either.
const LIST_END: u8 = 0xFE;

/// Writes the lists of all properties, in the order in which each comes first.
pub(super) fn join(entries: &[IndexEntry]) -> Vec<u8> {
    let mut joined = Vec::new();
    for (at, IndexEntry { property, .. }) in entries.iter().enumerate() {
        let is_of_list = |entry: &&IndexEntry| entry.property == *property;
        if entries[..at].iter().any(|entry| is_of_list(&entry)) {
            continue;
        }
        if !joined.is_empty() {
            joined.push(LIST_END);
        }
        joined.extend_from_slice(property.as_bytes());
        for entry in entries[at..].iter().filter(is_of_list) {
            joined.push(VALUE_END);
            joined.extend_from_slice(entry.value.as_bytes());
        }
    }
    joined
}

/// The properties and their lists.
pub(super) fn lists(joined: &[u8]) -> impl Iterator<Item = rusqlite::Result<(&str, &[u8])>> {
    joined
        .split(|byte| *byte == LIST_END)
        .filter(|list| !list.is_empty())
        .map(|list| {
            let name_end = list.iter().position(|byte| *byte == VALUE_END);
            let (name, values) = list.split_at(name_end.unwrap_or(list.len()));
            Ok((text(name)?, values.get(1..).unwrap_or_default()))
        })
}

/// The values in a list.
pub(super) fn values(list: &[u8]) -> impl Iterator<Item = rusqlite::Result<&str>> {
    list.split(|byte| *byte == VALUE_END).map(text)
}

/// A damaged database may hold bytes that are no text.
fn text(bytes: &[u8]) -> rusqlite::Result<&str> {
    std::str::from_utf8(bytes).map_err(no_text)
}

fn no_text(error: Utf8Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_values_come_back() {
        for given in [
            &[] as &[(&str, &str)],
            &[("A", "")],
            &[("*", ""), ("A", ""), ("A", "")],
            &[
                ("A", "a\0\n\u{1f}"),
                ("B", ""),
                ("B", "ÿ\u{fdfa}"),
                ("C", "c"),
            ],
        ] {
            let entries: Vec<_> = given.iter().map(entry).collect();
            assert_eq!(read(&join(&entries)), entries);
        }
    }

    #[test]
    fn values_of_a_property_come_together() {
        let mixed = [("A", "1"), ("B", "2"), ("A", "3")];
        let ordered = [("A", "1"), ("A", "3"), ("B", "2")];
        let joined = join(&mixed.each_ref().map(entry));
        assert_eq!(read(&joined), ordered.each_ref().map(entry));
    }

    #[test]
    fn damage_is_an_error() {
        assert!(values(b"a\xFF\xC3").any(|value| value.is_err()));
        assert!(lists(b"A\xFFa\xFE\xC3\xFFb").any(|list| list.is_err()));
        assert_eq!(read(b"A"), [entry(&("A", ""))], "no end of a name");
    }

    fn entry((property, value): &(&str, &str)) -> IndexEntry {
        IndexEntry {
            property: (*property).to_owned(),
            value: (*value).to_owned(),
        }
    }

    fn read(joined: &[u8]) -> Vec<IndexEntry> {
        lists(joined)
            .map(Result::unwrap)
            .flat_map(|(property, list)| {
                values(list).map(move |value| entry(&(property, value.unwrap())))
            })
            .collect()
    }
}
