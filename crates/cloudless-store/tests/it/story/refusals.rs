use cloudless_store::{
    BookId, DeleteOutcome, ETag, NewCard, Precondition, PutOutcome, Store, StoreError, VersionKind,
};

use super::{card, owner, put};

pub(super) fn preconditions(store: &Store, book: BookId) {
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

pub(super) fn uids(store: &Store, book: BookId) {
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

pub(super) fn refusals(store: &Store, book: BookId) {
    put(store, card(book, "r.vcf", b"one"));
    let revision = store.changes_since(book, None, None).unwrap().revision;
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
        store.changes_since(book, None, None).unwrap().revision,
        revision
    );

    store
        .keep_refused(book, "never-a-card.vcf", vec![0], "not a vCard", owner())
        .unwrap();
    assert_eq!(store.versions(book, "never-a-card.vcf").unwrap().len(), 1);
    assert_eq!(store.card_row(book, "never-a-card.vcf").unwrap(), None);
}

pub(super) fn imports(store: &Store, book: BookId) {
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
