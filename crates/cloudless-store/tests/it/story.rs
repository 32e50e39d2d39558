//! One long story that any backend must tell the same way.

mod accounts;
mod refusals;

use cloudless_store::{
    Actor, BookId, DeleteOutcome, ETag, NewCard, Precondition, PutOutcome, Store, StoreError,
    Timestamp, VersionKind,
};

#[test]
fn sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let larger = Store::open(elsewhere.path()).unwrap();
    let missing_book = ["a", "b", "c"].map(|user| crate::new_book(&larger, user))[2];
    tell(|| Store::open(directory.path()).unwrap(), missing_book);
}

/// `open` opens the same store each time, in which `missing_book` will not exist.
fn tell(open: impl Fn() -> Store, missing_book: BookId) {
    let store = open();
    accounts::accounts(&store);
    let book = books(&store);
    cards(&store, book);
    refusals::preconditions(&store, book);
    refusals::uids(&store, book);
    refusals::refusals(&store, book);
    refusals::imports(&store, book);
    names(&store, book);
    no_book(&store, missing_book);
    let before = (
        store.users().unwrap(),
        store.devices(None).unwrap(),
        store.card_rows(book).unwrap(),
        store.versions(book, "anna.vcf").unwrap(),
        store.changes_since(book, None, None).unwrap(),
    );
    drop(store);
    let store = open();
    let after = (
        store.users().unwrap(),
        store.devices(None).unwrap(),
        store.card_rows(book).unwrap(),
        store.versions(book, "anna.vcf").unwrap(),
        store.changes_since(book, None, None).unwrap(),
    );
    assert_eq!(before, after, "reopening changed something");
}

fn books(store: &Store) -> BookId {
    let users = store.users().unwrap();
    let [anna] = store
        .address_books(users[0].id)
        .unwrap()
        .try_into()
        .unwrap();
    let [bert] = store
        .address_books(users[1].id)
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(
        (anna.slug.as_str(), anna.display_name.as_str()),
        ("contacts", "Contacts")
    );
    assert_eq!(anna.revision, 0);
    assert_ne!(anna.id, bert.id);
    assert_ne!(anna.incarnation, bert.incarnation);
    assert!(anna.incarnation.len() == 32, "{}", anna.incarnation);
    let found = store.address_book(users[0].id, "contacts").unwrap();
    assert_eq!(found.as_ref(), Some(&anna));
    assert_eq!(store.address_book(users[0].id, "missing").unwrap(), None);
    anna.id
}

fn cards(store: &Store, book: BookId) {
    let device = store.devices(Some("anna")).unwrap()[0].id;
    let actor = |millis| Actor {
        device: Some(device),
        at: at(millis),
    };
    // Bytes that no text column would keep.
    let first = b"BEGIN:VCARD\r\n\0\xff\x0bFN:Anna\nEND:VCARD".as_slice();
    let created = store.put_card(card(book, "anna.vcf", first), Precondition::None, actor(1));
    let etag = ETag::of(first);
    assert_eq!(created.unwrap(), PutOutcome::Created(etag.clone()));
    let stored = store.card(book, "anna.vcf").unwrap().unwrap();
    assert_eq!(stored.bytes, first);
    assert_eq!(stored.row.etag, etag);
    assert_eq!(stored.row.size, first.len() as u64);
    assert_eq!(stored.row.modified_at, at(1));
    assert_eq!(store.card_row(book, "anna.vcf").unwrap(), Some(stored.row));

    let revision = store.changes_since(book, None, None).unwrap().revision;
    let same = store.put_card(card(book, "anna.vcf", first), Precondition::None, actor(2));
    assert_eq!(same.unwrap(), PutOutcome::Unchanged(etag));
    assert_eq!(
        store.changes_since(book, None, None).unwrap().revision,
        revision
    );

    let second = ETag::of(b"second");
    let updated = store.put_card(
        card(book, "anna.vcf", b"second"),
        Precondition::None,
        actor(3),
    );
    assert_eq!(updated.unwrap(), PutOutcome::Updated(second.clone()));
    let changes = store.changes_since(book, Some(revision), None).unwrap();
    assert_eq!(changes.changed.len(), 1);
    assert_eq!(changes.changed[0].etag, second);

    let deleted = store.delete_card(book, "anna.vcf", Precondition::None, actor(4));
    assert_eq!(deleted.unwrap(), DeleteOutcome::Deleted);
    let deleted = store.delete_card(book, "anna.vcf", Precondition::None, actor(5));
    assert_eq!(deleted.unwrap(), DeleteOutcome::NotFound);
    assert_eq!(store.card(book, "anna.vcf").unwrap(), None);
    assert_eq!(store.card_row(book, "anna.vcf").unwrap(), None);
    assert_eq!(store.card_rows(book).unwrap(), []);
    let changes = store
        .changes_since(book, Some(changes.revision), None)
        .unwrap();
    assert_eq!(
        (changes.changed.len(), changes.removed),
        (0, vec!["anna.vcf".to_owned()])
    );

    let again = store.put_card(
        card(book, "anna.vcf", first),
        Precondition::MustNotExist,
        actor(6),
    );
    assert_eq!(again.unwrap(), PutOutcome::Created(ETag::of(first)));
    let versions: Vec<_> = store
        .versions(book, "anna.vcf")
        .unwrap()
        .into_iter()
        .map(|version| {
            assert_eq!(version.device, Some(device));
            (version.number, version.kind, version.bytes, version.at)
        })
        .collect();
    let expected = [
        (1, VersionKind::Created, Some(first.to_vec()), at(1)),
        (2, VersionKind::Changed, Some(b"second".to_vec()), at(3)),
        (3, VersionKind::Deleted, None, at(4)),
        (4, VersionKind::Created, Some(first.to_vec()), at(6)),
    ];
    assert_eq!(versions, expected);

    put(store, card(book, "Zoë.vcf", b"z"));
    put(store, card(book, "berta.vcf", b""));
    let rows = store.card_rows(book).unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["Zoë.vcf", "anna.vcf", "berta.vcf"]);
    let wanted = ["berta.vcf", "missing.vcf", "Zoë.vcf", "berta.vcf"].map(str::to_owned);
    let found: Vec<_> = store
        .cards(book, &wanted)
        .unwrap()
        .into_iter()
        .map(|card| card.map(|card| card.bytes))
        .collect();
    assert_eq!(
        found,
        [
            Some(b"".to_vec()),
            None,
            Some(b"z".to_vec()),
            Some(b"".to_vec())
        ]
    );
}

fn names(store: &Store, book: BookId) {
    for name in [
        "",
        "a/b.vcf",
        "a\0b",
        ".",
        "..",
        &"n".repeat(256),
        &"ä".repeat(128),
    ] {
        let refused = store.put_card(card(book, name, b"x"), Precondition::None, owner());
        assert!(
            matches!(refused, Err(StoreError::InvalidCardName)),
            "{name:?}: {refused:?}"
        );
        store
            .keep_refused(book, name, vec![], "x", owner())
            .unwrap();
        assert_eq!(store.card(book, name).unwrap(), None);
        let deleted = store
            .delete_card(book, name, Precondition::None, owner())
            .unwrap();
        assert_eq!(deleted, DeleteOutcome::NotFound);
    }
    for name in [
        "n",
        "%2F.vcf",
        "a\\b\r\n' \"<>&.vcf",
        "...",
        &"n".repeat(255),
    ] {
        put(store, card(book, name, name.as_bytes()));
        assert_eq!(
            store.card(book, name).unwrap().unwrap().bytes,
            name.as_bytes()
        );
    }
}

/// `missing` is the address book of another store.
fn no_book(store: &Store, missing: BookId) {
    let outcome = store.put_card(
        card(missing, "a.vcf", b"a"),
        Precondition::MustExist,
        owner(),
    );
    assert_eq!(outcome.unwrap(), PutOutcome::NoSuchBook);
    let outcome = store.delete_card(missing, "a.vcf", Precondition::None, owner());
    assert_eq!(outcome.unwrap(), DeleteOutcome::NotFound);
    let refused = store.keep_refused(missing, "a.vcf", vec![1], "x", owner());
    assert!(
        matches!(refused, Err(StoreError::NoSuchBook)),
        "{refused:?}"
    );
    let changes = store.changes_since(missing, None, None);
    assert!(
        matches!(changes, Err(StoreError::NoSuchBook)),
        "{changes:?}"
    );
    assert_eq!(store.card_rows(missing).unwrap(), []);
    assert_eq!(store.versions(missing, "a.vcf").unwrap(), []);
}

/// Stores a card that must be new or different.
fn put(store: &Store, card: NewCard) {
    let outcome = store.put_card(card, Precondition::None, owner()).unwrap();
    let written = matches!(outcome, PutOutcome::Created(_) | PutOutcome::Updated(_));
    assert!(written, "{outcome:?}");
}

fn card(book: BookId, name: &str, bytes: &[u8]) -> NewCard {
    crate::card(book, name, bytes)
}

fn owner() -> Actor {
    crate::OWNER
}

fn at(millis: i64) -> Timestamp {
    Timestamp(millis)
}
