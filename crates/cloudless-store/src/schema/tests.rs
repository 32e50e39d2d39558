use std::path::Path;

use rusqlite::Connection;

use super::{MIGRATIONS, migrate, version};
use crate::{OpenError, Store};

#[test]
fn steps_run_in_order_and_once() {
    let connection = Connection::open_in_memory().unwrap();
    let steps = [
        "CREATE TABLE log (step INTEGER); INSERT INTO log VALUES (1)",
        "INSERT INTO log VALUES (2)",
    ];
    upgrade(&connection, &steps[..1]).unwrap();
    upgrade(&connection, &steps).unwrap();
    upgrade(&connection, &steps).unwrap();
    let log: String = connection
        .query_row("SELECT group_concat(step) FROM log", [], |row| row.get(0))
        .unwrap();
    assert_eq!(log, "1,2");
}

#[test]
fn failing_step_leaves_the_version_before_it() {
    let connection = Connection::open_in_memory().unwrap();
    let steps = [
        "CREATE TABLE first (id INTEGER)",
        "CREATE TABLE second (id INTEGER); INSERT INTO missing VALUES (1)",
    ];
    let error = upgrade(&connection, &steps).unwrap_err();
    assert!(
        matches!(error, OpenError::Migrate { version: 2, .. }),
        "{error:?}"
    );
    assert_eq!(tables(&connection), "first");
    assert_eq!(version(&connection, Path::new("x"), &steps).unwrap(), 1);
}

#[test]
fn step_that_breaks_a_foreign_key_is_not_committed() {
    let connection = Connection::open_in_memory().unwrap();
    let steps = ["CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (parent_id INTEGER REFERENCES parent (id));
         INSERT INTO child VALUES (7)"];
    assert!(upgrade(&connection, &steps).is_err());
    assert_eq!(tables(&connection), "");
}

#[test]
fn newer_database_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let path = directory.path().join("store.sqlite");
    let newer = i64::try_from(MIGRATIONS.len()).unwrap() + 1;
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", newer)
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::TooNew { found, .. } if found == newer),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("use the newer program"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

fn upgrade(connection: &Connection, steps: &[&str]) -> Result<(), OpenError> {
    let path = Path::new("store.sqlite");
    let found = version(connection, path, steps)?;
    migrate(connection, path, found, steps)
}

fn tables(connection: &Connection) -> String {
    connection
        .query_row(
            "SELECT coalesce(group_concat(name), '') FROM sqlite_schema WHERE type = 'table'",
            [],
            |row| row.get(0),
        )
        .unwrap()
}
