use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::{MIGRATIONS, migrate, version};
use crate::{Access, HistoryQuery, OpenError, Store, Timestamp, VersionKind};

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
fn failing_step_leaves_everything_as_it_was() {
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
    assert_eq!(tables(&connection), "");
    assert_eq!(version(&connection, Path::new("x"), &steps).unwrap(), 0);
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

#[test]
fn database_of_the_first_version_is_copied_and_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(MIGRATIONS[0]).unwrap();
    old.execute_batch(
        "PRAGMA user_version = 1;
         PRAGMA journal_mode = WAL;
         INSERT INTO users (name, created_at) VALUES ('anna', 1), ('bert', 2);
         INSERT INTO devices (user_id, name, secret_hash, created_at)
         VALUES (1, 'phone', zeroblob(32), 3);
         INSERT INTO address_books (user_id, slug, display_name, incarnation, revision) VALUES
             (1, 'contacts', 'Contacts', '01', 3), (2, 'contacts', 'Contacts', '02', 0);
         INSERT INTO versions
             (book_id, name, number, kind, at, device_id, etag, uid, full_name, bytes)
         VALUES
             (1, 'a.vcf', 1, 'created', 10, 1, 'a', 'u1', 'Anna A', X'6161'),
             (1, 'b.vcf', 1, 'created', 11, 1, 'b', 'u2', 'Bert B', X'626262'),
             (1, 'b.vcf', 2, 'refused', 12, 1, 'c', NULL, NULL, X'63'),
             (1, 'b.vcf', 3, 'deleted', 13, 1, NULL, NULL, NULL, NULL);
         INSERT INTO cards VALUES
             (1, 'a.vcf', 1, 1, 10, 1, 'a', 2, 'u1'),
             (1, 'b.vcf', 2, 3, 13, NULL, NULL, NULL, NULL);",
    )
    .unwrap();
    drop(old);

    let store = Store::open(directory.path()).unwrap();
    let users = store.users().unwrap();
    let [anna] = store
        .address_books(users[0].id)
        .unwrap()
        .try_into()
        .unwrap();
    assert!(anna.personal && anna.access == Access::Owner && anna.owner == "anna");
    assert_eq!((anna.revision, anna.card_count), (3, 1));
    assert_eq!(anna.incarnation, "01");
    let login = store.authenticate("anna", &[0; 32], Timestamp(20));
    assert_eq!(login.unwrap().unwrap().device_name, "phone");
    let card = store.card(anna.id, "a.vcf").unwrap().unwrap();
    assert_eq!(card.bytes, b"aa");
    let changes = store.changes_since(anna.id, Some(2), None).unwrap();
    assert_eq!(
        (changes.revision, changes.removed),
        (3, vec!["b.vcf".to_owned()])
    );
    assert_eq!(store.versions(anna.id, "b.vcf").unwrap().len(), 3);
    let history = store.history(anna.id, &HistoryQuery::default()).unwrap();
    assert_eq!(history[0].kind, VersionKind::Deleted);
    assert_eq!(history[0].full_name.as_deref(), Some("Bert B"));
    let unindexed = store.cards_without_index(10).unwrap();
    assert_eq!((unindexed.len(), &*unindexed[0].bytes), (1, &b"aa"[..]));

    let root = store.resource(users[0].id, &[]).unwrap().unwrap();
    assert_eq!((root.modified_at, root.content), (Timestamp(1), None));

    let name = format!("store.sqlite.before-version-{}", MIGRATIONS.len());
    let copy = directory.path().join(name);
    assert_eq!(store.migration_copy(), Some(&*copy));
    drop(store);
    std::fs::write(copy.with_added_extension("partial"), "").unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.migration_copy(), None, "it was migrated before");
    assert_eq!(store.migration_copies(), [&*copy]);
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let copy = Connection::open(&copy).unwrap();
    assert_eq!(version(&copy, Path::new("x"), MIGRATIONS).unwrap(), 1);
    let count = |connection: &Connection| -> i64 {
        let rows = connection.query_row("SELECT count(*) FROM versions", [], |row| row.get(0));
        rows.unwrap()
    };
    assert_eq!(count(&copy), 4);
}

#[test]
fn new_and_current_databases_are_not_copied() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        drop(Store::open(directory.path()).unwrap());
    }
    let copies = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("before"));
    assert_eq!(copies.count(), 0);
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
