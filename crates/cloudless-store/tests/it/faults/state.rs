//! What a store holds, to be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use cloudless_store::{ETag, Store, VersionKind};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// Columns that are another number each time.
const RANDOM: &[(&str, &str)] = &[
    ("address_books", "incarnation"),
    ("push_registrations", "name"),
];

/// All rows of all tables, without opening the store, which would migrate it. Left out: what an index
/// has that is made when the writer is idle, and random numbers.
pub(crate) fn dump(database: &Path) -> String {
    let mut dump = String::new();
    if !database.exists() {
        return dump;
    }
    let connection = Connection::open(database).unwrap();
    check_integrity(&connection);
    let tables = texts(
        &connection,
        "SELECT name FROM sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'trigrams%' AND name NOT LIKE 'sqlite_stat%'
             AND name NOT IN ('index_entries', 'index_stale')
         ORDER BY name",
    );
    for table in tables {
        let mut rows = Vec::new();
        let mut statement = connection
            .prepare(&format!("SELECT * FROM {table}"))
            .unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut cursor = statement.query([]).unwrap();
        while let Some(row) = cursor.next().unwrap() {
            let mut text = String::new();
            for (at, column) in columns.iter().enumerate() {
                let value = match row.get_ref(at).unwrap() {
                    _ if RANDOM.contains(&(&*table, &**column)) => continue,
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    ValueRef::Blob(bytes) if bytes.len() > 100 => {
                        ETag::of(bytes).as_str().to_owned()
                    }
                    ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    other => format!("{other:?}"),
                };
                write!(text, " {column}={value}").unwrap();
            }
            rows.push(text);
        }
        let is_made_idly = |row: &str| row.contains("trigrams_to") || row.contains("entries_to");
        rows.retain(|row| !(table == "settings" && is_made_idly(row)));
        rows.sort_unstable();
        write!(dump, "{table}:\n{}\n", rows.join("\n")).unwrap();
    }
    dump
}

/// The incarnations of all address books: no sync token of before is right after one has changed.
pub(crate) fn incarnations(database: &Path) -> BTreeSet<String> {
    let Ok(connection) = Connection::open(database) else {
        return BTreeSet::new();
    };
    let known = "SELECT name FROM sqlite_schema WHERE name = 'address_books'";
    if texts(&connection, known).is_empty() {
        return BTreeSet::new();
    }
    texts(&connection, "SELECT incarnation FROM address_books")
        .into_iter()
        .collect()
}

/// Checks that cards, history, change log, counts, indexes and search tell the same.
pub(crate) fn check_agreement(store: &Store) {
    for user in store.users().unwrap() {
        for book in store.address_books(user.id).unwrap() {
            let rows = store.card_rows(book.id).unwrap();
            assert_eq!(book.card_count, rows.len() as u64, "{}", book.slug);
            let mut changed = store.changes_since(book.id, None, None).unwrap().changed;
            changed.sort_by(|one, other| one.name.cmp(&other.name));
            assert_eq!(changed, rows, "the change log");
            let all = store.changes_since(book.id, Some(0), None).unwrap();
            assert_eq!(all.revision, book.revision);
            let indexed: BTreeMap<_, _> = store
                .index_entries(book.id)
                .unwrap()
                .into_iter()
                .map(|card| (card.row.name.clone(), card))
                .collect();
            for row in &rows {
                let card = store.card(book.id, &row.name).unwrap().unwrap();
                assert!(
                    card.row.etag == ETag::of(&card.bytes) || row.etag.as_str().starts_with("tag")
                );
                let versions = store.versions(book.id, &row.name).unwrap();
                let last = versions
                    .iter()
                    .rfind(|version| version.kind != VersionKind::Refused);
                let last = last.and_then(|version| version.bytes.as_ref());
                assert!(last == Some(&card.bytes), "the history of {}", row.name);
                assert_eq!(&indexed[&row.name].row, row);
                let entries = indexed[&row.name].entries.iter().flatten();
                for entry in entries {
                    let hits = store.search(book.id, &entry.value, 100).unwrap();
                    assert!(
                        hits.iter().any(|hit| hit.row == *row),
                        "{} is not found",
                        row.name
                    );
                }
            }
            for name in all.removed {
                let versions = store.versions(book.id, &name).unwrap();
                assert!(store.card(book.id, &name).unwrap().is_none());
                let last = versions
                    .iter()
                    .rfind(|version| version.kind != VersionKind::Refused);
                // Pruning may have taken all of it.
                assert!(last.is_none_or(|version| version.kind == VersionKind::Deleted));
            }
        }
    }
}

fn check_integrity(connection: &Connection) {
    assert_eq!(texts(connection, "PRAGMA integrity_check"), ["ok"]);
    let broken = texts(connection, "SELECT \"table\" FROM pragma_foreign_key_check");
    assert!(broken.is_empty(), "{broken:?}");
    let index = "SELECT name FROM sqlite_schema WHERE name = 'trigrams'";
    if !texts(connection, index).is_empty() {
        connection
            .execute(
                "INSERT INTO trigrams (trigrams) VALUES ('integrity-check')",
                [],
            )
            .unwrap();
    }
}

fn texts(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}
