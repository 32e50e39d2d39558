//! What must not slow down as a book grows, told by the plan that SQLite chose and not by time.

use super::tests::open;
use crate::{Store, address_book, card, changes, index, refused, restore, search, sharing};

#[test]
fn polls_and_queries_read_only_what_they_return() {
    let (_directory, store, _) = open();
    for statement in [
        card::AFTER,
        card::BY_UID,
        changes::BETWEEN,
        address_book::OF_USER,
        address_book::BY_SLUG,
        index::derived::DELETE_ENTRIES,
        index::scan::SCAN,
        index::scan::NEWEST,
        index::scan::BY_INDEX,
        index::scan::UNINDEXED,
        search::BY_TRIGRAMS,
        refused::FORGET_OLDER,
        sharing::WITHHELD,
        restore::PAST,
        "SELECT max(id) FROM versions",
        "DELETE FROM versions WHERE id = ?1",
    ] {
        let plan = plan(&store, statement);
        assert!(!plan.is_empty(), "{statement}");
        for step in plan {
            // What a part of the statement found is read to its end.
            let scans = step.starts_with("SCAN")
                && !step.contains("VIRTUAL TABLE")
                && !step.contains("(subquery");
            // A user has few address books.
            let sorts = step.contains("TEMP B-TREE") && statement != address_book::OF_USER;
            assert!(!scans && !sorts, "{step}: {statement}");
        }
    }
}

#[test]
fn check_itself_notices_a_scan() {
    let (_directory, store, _) = open();
    let plan = plan(&store, "SELECT name FROM cards WHERE etag = ?1");
    assert!(plan[0].starts_with("SCAN"), "{plan:?}");
}

fn plan(store: &Store, statement: &str) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {statement}");
    // The writer alone checks foreign keys, which is a part of its plans.
    store
        .write(move |connection| {
            let mut statement = connection.prepare(&explain)?;
            statement.raw_query().mapped(|row| row.get(3)).collect()
        })
        .unwrap()
}
