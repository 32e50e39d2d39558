use tempfile::TempDir;

use crate::{Actor, BookId, NewCard, Precondition, PutOutcome, Store, StoreError, Timestamp};

const OWNER: Actor = Actor {
    device: None,
    at: Timestamp(1_000),
};

#[test]
fn each_commit_is_synced_to_disk() {
    let (_directory, store, _) = open();
    let (journal_mode, synchronous, foreign_keys): (String, i64, i64) = store
        .write(|connection| {
            let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
            Ok((
                connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?,
                number("synchronous")?,
                number("foreign_keys")?,
            ))
        })
        .unwrap();
    assert_eq!(
        (journal_mode.as_str(), synchronous, foreign_keys),
        ("wal", 2, 1)
    );
}

#[test]
fn readers_cannot_write() {
    let (_directory, store, _) = open();
    let written = store.read(|snapshot| snapshot.execute("DELETE FROM users", []));
    assert!(matches!(written, Err(StoreError::Read(_))), "{written:?}");
}

#[test]
fn full_disk_is_an_error_and_loses_nothing() {
    let (directory, store, book) = open();
    let pages: i64 = store
        .write(|connection| connection.pragma_query_value(None, "page_count", |row| row.get(0)))
        .unwrap();
    limit_pages(&store, pages + 50);
    let mut stored = Vec::new();
    let mut refused = Vec::new();
    for n in 0..100 {
        let card = card(book, n);
        match store.put_card(card.clone(), Precondition::None, OWNER) {
            Ok(PutOutcome::Created(_)) => stored.push(card),
            Ok(outcome) => panic!("{outcome:?}"),
            Err(error) => {
                assert!(error.is_full(), "{error:?}");
                refused.push(card);
            }
        }
    }
    assert!(!stored.is_empty() && !refused.is_empty());
    let import = store.put_cards(refused.clone(), OWNER).unwrap_err();
    assert!(import.is_full(), "{import:?}");
    assert_cards(&store, book, &stored);

    limit_pages(&store, i64::from(u32::MAX) - 1);
    for outcome in store.put_cards(refused.clone(), OWNER).unwrap() {
        assert!(matches!(outcome, PutOutcome::Created(_)), "{outcome:?}");
    }
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    stored.extend(refused);
    assert_cards(&store, book, &stored);
}

pub(super) fn open() -> (TempDir, Store, BookId) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let user = store.create_user("anna", Timestamp(0)).unwrap();
    let book = store.address_books(user).unwrap()[0].id;
    (directory, store, book)
}

fn card(book: BookId, n: usize) -> NewCard {
    NewCard {
        book,
        name: format!("{n}.vcf"),
        bytes: vec![b'x'; 100 + 97 * n],
        uid: Some(n.to_string()),
        full_name: None,
        index: Vec::new(),
        text: String::new(),
    }
}

fn limit_pages(store: &Store, pages: i64) {
    store
        .write(move |connection| {
            connection
                .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
        })
        .unwrap();
}

fn assert_cards(store: &Store, book: BookId, expected: &[NewCard]) {
    assert_eq!(store.card_rows(book).unwrap().len(), expected.len());
    for card in expected {
        let stored = store.card(book, &card.name).unwrap().unwrap();
        assert_eq!(stored.bytes, card.bytes, "{}", card.name);
    }
}
