//! One long story that any backend must tell the same way.

use cloudless_store::{
    AccountError, Actor, BookId, DeleteOutcome, ETag, NewCard, Precondition, PutOutcome, Store,
    StoreError, Timestamp, VersionKind,
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
    accounts(&store);
    let book = books(&store);
    cards(&store, book);
    preconditions(&store, book);
    uids(&store, book);
    refusals(&store, book);
    imports(&store, book);
    names(&store, book);
    no_book(&store, missing_book);
    let before = (
        store.users().unwrap(),
        store.devices(None).unwrap(),
        store.card_rows(book).unwrap(),
        store.versions(book, "anna.vcf").unwrap(),
        store.changes_since(book, 0, None).unwrap(),
    );
    drop(store);
    let store = open();
    let after = (
        store.users().unwrap(),
        store.devices(None).unwrap(),
        store.card_rows(book).unwrap(),
        store.versions(book, "anna.vcf").unwrap(),
        store.changes_since(book, 0, None).unwrap(),
    );
    assert_eq!(before, after, "reopening changed something");
}

fn accounts(store: &Store) {
    let anna = store.create_user("anna", at(1)).unwrap();
    store.create_user("bert-2.x_y", at(2)).unwrap();
    let twice = store.create_user("anna", at(3));
    assert!(
        matches!(twice, Err(AccountError::UserExists { .. })),
        "{twice:?}"
    );
    for name in [
        "",
        "Anna",
        "-anna",
        ".anna",
        "an na",
        "a/b",
        "ä",
        &"a".repeat(64),
    ] {
        let invalid = store.create_user(name, at(3));
        assert!(
            matches!(invalid, Err(AccountError::InvalidName { .. })),
            "{name}: {invalid:?}"
        );
    }
    let users: Vec<_> = store
        .users()
        .unwrap()
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(users, ["anna", "bert-2.x_y"]);

    let phone = store.add_device("anna", "phone", [1; 32], at(10)).unwrap();
    store.add_device("anna", "laptop", [2; 32], at(11)).unwrap();
    let twice = store.add_device("anna", "phone", [3; 32], at(12));
    assert!(
        matches!(twice, Err(AccountError::DeviceExists { .. })),
        "{twice:?}"
    );
    let nobody = store.add_device("carl", "phone", [3; 32], at(12));
    assert!(
        matches!(nobody, Err(AccountError::NoSuchUser { .. })),
        "{nobody:?}"
    );
    for name in ["", " phone", "pho\nne", &"p".repeat(65)] {
        let invalid = store.add_device("anna", name, [3; 32], at(12));
        assert!(
            matches!(invalid, Err(AccountError::InvalidName { .. })),
            "{name}: {invalid:?}"
        );
    }

    let login = store
        .authenticate("anna", &[1; 32], at(100))
        .unwrap()
        .unwrap();
    assert_eq!((login.user, login.device), (anna, phone));
    assert_eq!(
        (login.user_name.as_str(), login.device_name.as_str()),
        ("anna", "phone")
    );
    assert_eq!(store.authenticate("anna", &[9; 32], at(100)).unwrap(), None);
    assert_eq!(store.authenticate("carl", &[1; 32], at(100)).unwrap(), None);
    let other_users_secret = store.authenticate("bert-2.x_y", &[1; 32], at(100)).unwrap();
    assert_eq!(other_users_secret, None);

    // Any write is behind the note that the phone was seen, so that it is there after it.
    let last_seen = |expected, now| {
        store.authenticate("anna", &[1; 32], at(now)).unwrap();
        store
            .add_device("bert-2.x_y", &now.to_string(), [7; 32], at(0))
            .unwrap();
        let devices = store.devices(Some("anna")).unwrap();
        let phone = devices
            .iter()
            .find(|device| device.name == "phone")
            .unwrap();
        assert_eq!(phone.last_seen_at, Some(at(expected)));
    };
    last_seen(100, 100);
    last_seen(100, 100 + 299_999);
    last_seen(100 + 300_000, 100 + 300_000);

    store.revoke_device("anna", "phone", at(200)).unwrap();
    assert_eq!(store.authenticate("anna", &[1; 32], at(201)).unwrap(), None);
    assert!(
        store
            .authenticate("anna", &[2; 32], at(201))
            .unwrap()
            .is_some()
    );
    let twice = store.revoke_device("anna", "phone", at(202));
    assert!(
        matches!(twice, Err(AccountError::NoSuchDevice { .. })),
        "{twice:?}"
    );
    let again = store.add_device("anna", "phone", [4; 32], at(203)).unwrap();
    assert_ne!(again, phone);
    let login = store
        .authenticate("anna", &[4; 32], at(204))
        .unwrap()
        .unwrap();
    assert_eq!(login.device, again);
    let devices: Vec<_> = store
        .devices(Some("anna"))
        .unwrap()
        .into_iter()
        .map(|device| (device.user, device.name, device.revoked_at))
        .collect();
    let row = |name: &str, revoked_at| ("anna".to_owned(), name.to_owned(), revoked_at);
    assert_eq!(
        devices,
        [
            row("laptop", None),
            row("phone", Some(at(200))),
            row("phone", None)
        ]
    );
    assert_eq!(store.devices(Some("carl")).unwrap(), []);
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

    let revision = store.changes_since(book, 0, None).unwrap().revision;
    let same = store.put_card(card(book, "anna.vcf", first), Precondition::None, actor(2));
    assert_eq!(same.unwrap(), PutOutcome::Unchanged(etag));
    assert_eq!(
        store.changes_since(book, 0, None).unwrap().revision,
        revision
    );

    let second = ETag::of(b"second");
    let updated = store.put_card(
        card(book, "anna.vcf", b"second"),
        Precondition::None,
        actor(3),
    );
    assert_eq!(updated.unwrap(), PutOutcome::Updated(second.clone()));
    let changes = store.changes_since(book, revision, None).unwrap();
    assert_eq!(changes.changed.len(), 1);
    assert_eq!(changes.changed[0].etag, second);

    let deleted = store.delete_card(book, "anna.vcf", Precondition::None, actor(4));
    assert_eq!(deleted.unwrap(), DeleteOutcome::Deleted);
    let deleted = store.delete_card(book, "anna.vcf", Precondition::None, actor(5));
    assert_eq!(deleted.unwrap(), DeleteOutcome::NotFound);
    assert_eq!(store.card(book, "anna.vcf").unwrap(), None);
    assert_eq!(store.card_row(book, "anna.vcf").unwrap(), None);
    assert_eq!(store.card_rows(book).unwrap(), []);
    let changes = store.changes_since(book, changes.revision, None).unwrap();
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

fn preconditions(store: &Store, book: BookId) {
    let current = ETag::of(b"one");
    let other = ETag::from("something else");
    let table = |exists: bool| {
        [
            (Precondition::None, true),
            (Precondition::MustNotExist, !exists),
            (Precondition::MustExist, exists),
            (
                Precondition::Match(vec![other.clone(), current.clone()]),
                exists,
            ),
            (Precondition::Match(vec![other.clone()]), false),
            (Precondition::Match(vec![]), false),
            (
                Precondition::NoneMatch(vec![other.clone(), current.clone()]),
                !exists,
            ),
            (Precondition::NoneMatch(vec![other.clone()]), true),
        ]
    };
    for exists in [false, true] {
        for (precondition, holds) in table(exists) {
            let reset = || {
                store
                    .delete_card(book, "p.vcf", Precondition::None, owner())
                    .unwrap();
                if exists {
                    put(store, card(book, "p.vcf", b"one"));
                }
            };
            let failed = exists.then(|| current.clone());
            reset();
            let new = card(book, "p.vcf", b"two");
            let outcome = store.put_card(new, precondition.clone(), owner()).unwrap();
            let expected = match (holds, exists) {
                (true, false) => PutOutcome::Created(ETag::of(b"two")),
                (true, true) => PutOutcome::Updated(ETag::of(b"two")),
                (false, _) => PutOutcome::PreconditionFailed {
                    current: failed.clone(),
                },
            };
            assert_eq!(outcome, expected, "put, {precondition:?}, exists: {exists}");

            reset();
            let outcome = store
                .delete_card(book, "p.vcf", precondition.clone(), owner())
                .unwrap();
            let expected = match (holds, exists) {
                (true, false) => DeleteOutcome::NotFound,
                (true, true) => DeleteOutcome::Deleted,
                (false, _) => DeleteOutcome::PreconditionFailed { current: failed },
            };
            assert_eq!(
                outcome, expected,
                "delete, {precondition:?}, exists: {exists}"
            );
        }
    }
}

fn uids(store: &Store, book: BookId) {
    let with_uid = |name: &str, bytes: &[u8], uid: &str| NewCard {
        uid: Some(uid.to_owned()),
        ..card(book, name, bytes)
    };
    put(store, with_uid("u1.vcf", b"u1", "uid-1"));
    put(store, with_uid("u2.vcf", b"u2", "uid-2"));
    assert_eq!(
        store
            .card_row(book, "u1.vcf")
            .unwrap()
            .unwrap()
            .uid
            .as_deref(),
        Some("uid-1")
    );

    let conflict = PutOutcome::UidConflict {
        name: "u1.vcf".to_owned(),
    };
    for name in ["u3.vcf", "u2.vcf"] {
        let outcome = store.put_card(with_uid(name, b"u3", "uid-1"), Precondition::None, owner());
        assert_eq!(outcome.unwrap(), conflict);
        let refused = store.versions(book, name).unwrap().pop().unwrap();
        assert_eq!(refused.kind, VersionKind::Refused);
        assert_eq!(refused.bytes.as_deref(), Some(b"u3".as_slice()));
        assert!(refused.reason.unwrap().contains("UID"));
    }
    assert_eq!(store.card(book, "u2.vcf").unwrap().unwrap().bytes, b"u2");
    assert_eq!(store.card_row(book, "u3.vcf").unwrap(), None);

    // A card may keep its UID when it changes, and a UID is free once its card is gone or has
    // another one. Cards without a UID never collide, nor do address books.
    put(store, with_uid("u1.vcf", b"u1 changed", "uid-1"));
    store
        .delete_card(book, "u1.vcf", Precondition::None, owner())
        .unwrap();
    put(store, with_uid("u3.vcf", b"u3", "uid-1"));
    put(store, with_uid("u2.vcf", b"u2 changed", "uid-4"));
    put(store, with_uid("u5.vcf", b"u5", "uid-2"));
    put(store, with_uid("u6.vcf", b"u6", ""));
    put(store, with_uid("u7.vcf", b"u7", ""));
    let bert = store.users().unwrap()[1].id;
    let other_book = store.address_books(bert).unwrap()[0].id;
    put(
        store,
        NewCard {
            book: other_book,
            ..with_uid("u.vcf", b"u", "uid-1")
        },
    );
    assert_eq!(store.card(book, "u.vcf").unwrap(), None);
}

fn refusals(store: &Store, book: BookId) {
    put(store, card(book, "r.vcf", b"one"));
    let revision = store.changes_since(book, 0, None).unwrap().revision;
    let stale = || Precondition::Match(vec![ETag::of(b"zero")]);
    for _ in 0..3 {
        let outcome = store
            .put_card(card(book, "r.vcf", b"lost?"), stale(), owner())
            .unwrap();
        assert!(
            matches!(outcome, PutOutcome::PreconditionFailed { .. }),
            "{outcome:?}"
        );
        store
            .keep_refused(book, "r.vcf", b"no vCard".to_vec(), "not a vCard", owner())
            .unwrap();
    }
    let versions: Vec<_> = store
        .versions(book, "r.vcf")
        .unwrap()
        .into_iter()
        .map(|version| {
            (
                version.kind,
                version.bytes.unwrap(),
                version.reason.is_some(),
            )
        })
        .collect();
    let expected = [
        (VersionKind::Created, b"one".to_vec(), false),
        (VersionKind::Refused, b"lost?".to_vec(), true),
        (VersionKind::Refused, b"no vCard".to_vec(), true),
    ];
    assert_eq!(
        versions, expected,
        "each refused body is kept, and kept once"
    );
    assert_eq!(store.card(book, "r.vcf").unwrap().unwrap().bytes, b"one");
    assert_eq!(
        store.changes_since(book, 0, None).unwrap().revision,
        revision
    );

    store
        .keep_refused(book, "never-a-card.vcf", vec![0], "not a vCard", owner())
        .unwrap();
    assert_eq!(store.versions(book, "never-a-card.vcf").unwrap().len(), 1);
    assert_eq!(store.card_row(book, "never-a-card.vcf").unwrap(), None);
}

fn imports(store: &Store, book: BookId) {
    let uid = |name: &str, bytes: &[u8]| NewCard {
        uid: Some("imported".to_owned()),
        ..card(book, name, bytes)
    };
    let outcomes = store
        .put_cards(
            vec![
                uid("i1.vcf", b"1"),
                uid("i2.vcf", b"2"),
                card(book, "anna.vcf", b"imported"),
                uid("i1.vcf", b"1"),
            ],
            owner(),
        )
        .unwrap();
    let expected = [
        PutOutcome::Created(ETag::of(b"1")),
        PutOutcome::UidConflict {
            name: "i1.vcf".to_owned(),
        },
        PutOutcome::Updated(ETag::of(b"imported")),
        PutOutcome::Unchanged(ETag::of(b"1")),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(store.put_cards(vec![], owner()).unwrap(), []);
    let bad_name = store.put_cards(
        vec![card(book, "i3.vcf", b""), card(book, "", b"")],
        owner(),
    );
    assert!(
        matches!(bad_name, Err(StoreError::InvalidCardName)),
        "{bad_name:?}"
    );
    assert_eq!(store.card_row(book, "i3.vcf").unwrap(), None);
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
        let refused = store.keep_refused(book, name, vec![], "x", owner());
        assert!(
            matches!(refused, Err(StoreError::InvalidCardName)),
            "{name:?}: {refused:?}"
        );
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
    let changes = store.changes_since(missing, 0, None);
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
