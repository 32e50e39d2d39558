use std::str::Utf8Error;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, Type, ValueRef};

/// The values of one property of a card as the database keeps them, at least one: in one row, because
/// going from row to row is most of what a query costs.
#[derive(Debug)]
pub(super) struct ValueList(Vec<u8>);

impl ValueList {
    pub(super) fn new(value: &str) -> Self {
        Self(value.as_bytes().to_vec())
    }

    pub(super) fn push(&mut self, value: &str) {
        self.0.push(SEPARATOR);
        self.0.extend_from_slice(value.as_bytes());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = rusqlite::Result<&str>> {
        values(&self.0)
    }
}

impl ToSql for ValueList {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for ValueList {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Vec::column_result(value).map(Self)
    }
}

/// The values in a list that the database holds. A damaged database may hold bytes that are no text.
pub(super) fn values(list: &[u8]) -> impl Iterator<Item = rusqlite::Result<&str>> {
    list.split(|byte| *byte == SEPARATOR)
        .map(|value| std::str::from_utf8(value).map_err(no_text))
}

fn no_text(error: Utf8Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(error))
}

/// In no UTF-8 text.
const SEPARATOR: u8 = 0xFF;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_values_come_back() {
        for given in [&[""] as &[_], &["", ""], &["a\0\n\u{1f}", "", "ÿ\u{fdfa}"]] {
            let mut list = ValueList::new(given[0]);
            for value in &given[1..] {
                list.push(value);
            }
            let values: Vec<_> = list.iter().map(Result::unwrap).collect();
            assert_eq!(values, given);
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert!(values(b"a\xFF\xC3").any(|value| value.is_err()));
    }
}
