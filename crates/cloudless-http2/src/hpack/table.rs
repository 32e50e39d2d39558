//! The static and the dynamic table of fields (RFC 7541 sections 2.3 and 4).

use std::collections::VecDeque;

/// The default of SETTINGS_HEADER_TABLE_SIZE (RFC 9113 section 6.5.2).
const SIZE_LIMIT: usize = 4_096;

/// What an entry counts for beside its bytes (section 4.1). Ours costs about as much.
const ENTRY_OVERHEAD: usize = 32;

/// The fields that an index can stand for, at one end of a connection.
#[derive(Debug)]
pub(super) struct Table {
    /// The dynamic table, from the newest entry to the oldest.
    entries: VecDeque<Field>,
    /// The sum of the sizes of `entries`. Invariant: at most `size_max`.
    size: usize,
    /// Invariant: at most [`SIZE_LIMIT`].
    size_max: usize,
}

impl Table {
    /// The static table and an empty dynamic table.
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            size_max: SIZE_LIMIT,
        }
    }

    /// Adds a field as the newest. One that is larger than the whole table empties it and is not
    /// added, which is no error (section 4.4).
    pub(super) fn insert(&mut self, entry: Field) {
        match self.size_max.checked_sub(entry.size()) {
            Some(remaining) => {
                self.evict(remaining);
                self.size += entry.size();
                self.entries.push_front(entry);
            }
            None => self.evict(0),
        }
    }

    /// Changes the maximum size of the dynamic table, or returns false if it is above the limit
    /// (section 6.3).
    #[must_use]
    pub(super) fn resize(&mut self, size_max: u32) -> bool {
        match usize::try_from(size_max) {
            Ok(size_max @ ..=SIZE_LIMIT) => {
                self.size_max = size_max;
                self.evict(size_max);
                true
            }
            _ => false,
        }
    }

    /// Removes the oldest entries until what remains takes at most `size` bytes.
    fn evict(&mut self, size: usize) {
        while self.size > size
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size();
        }
    }

    /// The name and the value with this index, of which the static table has the first 61 and zero
    /// is none (section 2.3.3).
    pub(super) fn get(&self, index: u32) -> Option<(&[u8], &[u8])> {
        let position = usize::try_from(index).ok()?.checked_sub(1)?;
        match STATIC_TABLE.get(position) {
            Some((name, value)) => Some((name.as_bytes(), value.as_bytes())),
            None => {
                let entry = self.entries.get(position - STATIC_TABLE.len())?;
                Some(entry.field.split_at(entry.name_len))
            }
        }
    }
}

/// A field of the dynamic table.
#[derive(Debug)]
pub(super) struct Field {
    /// The name and behind it the value, in one allocation.
    field: Box<[u8]>,
    name_len: usize,
}

impl Field {
    pub(super) fn new(name: &[u8], value: &[u8]) -> Self {
        Self {
            field: [name, value].concat().into_boxed_slice(),
            name_len: name.len(),
        }
    }

    fn size(&self) -> usize {
        self.field.len() + ENTRY_OVERHEAD
    }
}

/// What the static table has of a field, with the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaticMatch {
    /// The name and the value.
    Field(usize),
    /// The name, with other values.
    Name(usize),
}

/// Looks a field up in the static table.
pub(super) fn find_static(name: &[u8], value: &[u8]) -> Option<StaticMatch> {
    let mut with_name = (1..)
        .zip(&STATIC_TABLE)
        .filter(|(_, (static_name, _))| static_name.as_bytes() == name)
        .peekable();
    let &(first, _) = with_name.peek()?;
    let equal = with_name.find(|(_, (_, static_value))| static_value.as_bytes() == value);
    Some(equal.map_or(StaticMatch::Name(first), |(index, _)| {
        StaticMatch::Field(index)
    }))
}

/// Appendix A. The first entry has the index 1.
const STATIC_TABLE: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_table_finds_itself() {
        let table = Table::new();
        for (index, (name, value)) in (1..).zip(STATIC_TABLE) {
            let field = (name.as_bytes(), value.as_bytes());
            assert_eq!(table.get(index), Some(field));
            let found = StaticMatch::Field(index as usize);
            assert_eq!(find_static(field.0, field.1), Some(found));
        }
        assert_eq!(find_static(b":status", b"207"), Some(StaticMatch::Name(8)));
        assert_eq!(find_static(b":Status", b"200"), None);
        assert_eq!(find_static(b"", b""), None);
    }

    #[test]
    fn indexes_start_at_one_and_end_with_the_oldest_entry() {
        let mut table = Table::new();
        assert_eq!(table.get(0), None);
        assert_eq!(table.get(62), None);
        table.insert(Field::new(b"old", b"1"));
        table.insert(Field::new(b"new", b""));
        assert_eq!(table.get(62), Some((&b"new"[..], &b""[..])));
        assert_eq!(table.get(63), Some((&b"old"[..], &b"1"[..])));
        assert_eq!(table.get(64), None);
        assert_eq!(table.get(u32::MAX), None);
    }

    #[test]
    fn an_entry_counts_32_bytes_more_than_it_holds() {
        let mut table = Table::new();
        for _ in 0..200 {
            table.insert(Field::new(b"", b""));
        }
        assert_eq!((table.entries.len(), table.size), (128, 4_096));
        table.insert(Field::new(b"a", b""));
        assert_eq!((table.entries.len(), table.size), (127, 126 * 32 + 33));
    }

    #[test]
    fn an_entry_may_fill_the_table_but_not_exceed_it() {
        let mut table = Table::new();
        table.insert(Field::new(b"a", b"b"));
        table.insert(Field::new(b"a", &[0; SIZE_LIMIT - 33]));
        assert_eq!((table.entries.len(), table.size), (1, SIZE_LIMIT));
        table.insert(Field::new(b"a", &[0; SIZE_LIMIT - 32]));
        assert_eq!((table.entries.len(), table.size), (0, 0));
    }

    #[test]
    fn a_smaller_size_evicts_the_oldest() {
        let mut table = Table::new();
        for value in [b"1", b"2", b"3"] {
            table.insert(Field::new(b"n", value));
        }
        assert!(table.resize(2 * 34 + 33));
        assert_eq!(table.get(63), Some((&b"n"[..], &b"2"[..])));
        assert_eq!(table.get(64), None);
        assert!(table.resize(0));
        assert_eq!((table.entries.len(), table.size), (0, 0));
        assert!(table.resize(4_096));
        assert!(!table.resize(4_097));
        assert!(!table.resize(u32::MAX));
    }
}
