use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cloudless_store::{BackupError, BookId, Precondition, Store};

use crate::{OWNER, card, new_book};

#[test]
fn restored_backup_takes_no_sync_token_of_before() {
    for restore in [overwrite, replace] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let store = Store::open(path).unwrap();
        let book = new_book(&store, "anna");
        put(&store, book, "a.vcf");
        drop(store);
        fs::copy(path.join("store.sqlite"), path.join("backup")).unwrap();
        let store = Store::open(path).unwrap();
        let before = incarnation(&store);
        put(&store, book, "b.vcf");
        drop(store);
        restore(path);
        let store = Store::open(path).unwrap();
        assert_eq!(store.card_rows(book).unwrap().len(), 1);
        assert_ne!(incarnation(&store), before);
    }
}

#[test]
fn backup_is_whole_while_others_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    for n in 0..20 {
        put(&store, book, &format!("{n}.vcf"));
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("store.sqlite");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 20..60 {
                put(&store, book, &format!("{n}.vcf"));
            }
        });
        store.back_up(&path).unwrap();
    });
    assert_eq!(store.card_rows(book).unwrap().len(), 60);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_dir(elsewhere.path()).unwrap().count(),
        1,
        "one file"
    );
    assert!(matches!(
        store.back_up(&path),
        Err(BackupError::Exists { .. })
    ));
    let nowhere = elsewhere.path().join("no/such");
    assert!(matches!(
        store.back_up(&nowhere),
        Err(BackupError::Write { .. })
    ));

    let copy = Store::open(elsewhere.path()).unwrap();
    let rows = copy.card_rows(book).unwrap();
    assert!((20..=60).contains(&rows.len()), "{}", rows.len());
    for row in rows {
        assert!(copy.card(book, &row.name).unwrap().is_some());
    }
    assert_ne!(incarnation(&copy), incarnation(&store));
}

#[test]
fn directory_copied_back_as_a_whole_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = Store::open(path).unwrap();
    let book = new_book(&store, "anna");
    put(&store, book, "a.vcf");
    let before = incarnation(&store);
    drop(store);
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["store.sqlite", "store.generation"] {
        fs::copy(path.join(name), elsewhere.path().join(name)).unwrap();
    }
    let copy = Store::open(elsewhere.path()).unwrap();
    assert_ne!(incarnation(&copy), before);
}

#[test]
fn restart_keeps_the_sync_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = Store::open(path).unwrap();
    let book = new_book(&store, "anna");
    let before = incarnation(&store);
    for n in 0..3 {
        put(&store, book, &format!("{n}.vcf"));
    }
    drop(store);
    let store = Store::open(path).unwrap();
    assert_eq!(incarnation(&store), before);
    drop(store);
    // A power cut may take the last changes of the file that is not synced.
    let generation = path.join("store.generation");
    let text = fs::read_to_string(&generation).unwrap();
    let older = text.replacen("0000000000000003", "0000000000000001", 1);
    assert_ne!(text, older);
    fs::write(&generation, older).unwrap();
    let store = Store::open(path).unwrap();
    assert_eq!(incarnation(&store), before);
}

#[test]
fn tokens_are_renewed_when_the_generation_is_lost_or_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = Store::open(path).unwrap();
    new_book(&store, "anna");
    let first = incarnation(&store);
    store.renew_incarnations().unwrap();
    let second = incarnation(&store);
    assert_ne!(first, second);
    drop(store);
    for content in [None, Some(""), Some("what"), Some("1 2 3 4")] {
        match content {
            None => fs::remove_file(path.join("store.generation")).unwrap(),
            Some(content) => fs::write(path.join("store.generation"), content).unwrap(),
        }
        let store = Store::open(path).unwrap();
        let before = incarnation(&store);
        assert_ne!(before, second, "{content:?}");
        drop(store);
        assert_eq!(incarnation(&Store::open(path).unwrap()), before);
    }
}

/// Writes the backup over the database: the same file with other content.
fn overwrite(path: &Path) {
    fs::copy(path.join("backup"), path.join("store.sqlite")).unwrap();
}

fn replace(path: &Path) {
    fs::rename(path.join("backup"), path.join("store.sqlite")).unwrap();
}

fn put(store: &Store, book: BookId, name: &str) {
    store
        .put_card(card(book, name, b"x"), Precondition::None, OWNER)
        .unwrap();
}

fn incarnation(store: &Store) -> String {
    let user = store.users().unwrap()[0].id;
    store.address_books(user).unwrap()[0].incarnation.clone()
}
