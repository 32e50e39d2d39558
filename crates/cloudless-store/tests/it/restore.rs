use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use cloudless_store::{
    Actor, BookId, DeleteOutcome, ETag, HistoryQuery, Precondition, PutOutcome, RestoreOutcome,
    Store, StoreError, Timestamp, VersionKind,
};
use proptest::prelude::*;

use crate::{OWNER, card, new_book};

/// The tag and UID of each card.
type State = BTreeMap<String, (String, Option<String>)>;

#[derive(Clone, Debug)]
enum Step {
    Put {
        name: u8,
        content: u8,
        uid: Option<u8>,
    },
    Delete {
        name: u8,
    },
    RestoreCard {
        name: u8,
        number: u64,
    },
    RestoreBook {
        back: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..5u8, 0..4u8, prop::option::of(0..4u8))
            .prop_map(|(name, content, uid)| Step::Put { name, content, uid }),
        3 => (0..5u8).prop_map(|name| Step::Delete { name }),
        2 => (0..5u8, 1..5u64).prop_map(|(name, number)| Step::RestoreCard { name, number }),
        1 => (0..30usize).prop_map(|back| Step::RestoreBook { back }),
    ];
    prop::collection::vec(step, 0..40)
}

#[test]
fn book_at_every_past_moment_is_what_it_was_then() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let users = AtomicU32::new(0);
    proptest!(ProptestConfig::with_cases(64), |(steps in steps())| {
        let user = users.fetch_add(1, Ordering::Relaxed).to_string();
        let book = new_book(&store, &user);
        let mut past = vec![State::new()];
        for (at, step) in (1..).zip(&steps) {
            let next = apply(&store, book, &past, step, actor(at));
            prop_assert_eq!(&present(&store, book), &next, "after {:?}", step);
            past.push(next);
        }
        let users = store.users().unwrap();
        let owner = users.into_iter().find(|found| found.name == user).unwrap().id;
        let counted = store.address_books(owner).unwrap()[0].card_count;
        prop_assert_eq!(counted, past.last().unwrap().len() as u64);
        for (at, state) in (0..).zip(&past) {
            let was = store.book_at(book, Timestamp(at)).unwrap();
            let was: State = was
                .into_iter()
                .map(|card| (card.name, (card.etag.to_string(), card.uid)))
                .collect();
            prop_assert_eq!(&was, state, "at {}", at);
        }
    });
}

#[test]
fn history_by_any_filter_and_page_is_the_same_history() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let anna = store.users().unwrap()[0].id;
    let phone = store
        .add_device("anna", "phone", [1; 32], Timestamp(0))
        .unwrap();
    let at = |device, at| Actor {
        device,
        at: Timestamp(at),
    };
    let mut a = card(book, "a.vcf", b"one");
    a.uid = Some("u1".to_owned());
    a.full_name = Some("Anna".to_owned());
    let put = |card, actor| store.put_card(card, Precondition::None, actor).unwrap();
    put(a, at(Some(phone), 1));
    put(card(book, "b.vcf", b"two"), at(None, 2));
    store
        .keep_refused(book, "b.vcf", b"bad".to_vec(), "no vCard", at(None, 3))
        .unwrap();
    store
        .delete_card(book, "a.vcf", Precondition::None, at(Some(phone), 4))
        .unwrap();
    let all = |query| store.history(anna, &query).unwrap();
    let rows = all(HistoryQuery::default());
    let kinds: Vec<_> = rows.iter().map(|row| row.kind).collect();
    assert_eq!(
        kinds,
        [
            VersionKind::Deleted,
            VersionKind::Refused,
            VersionKind::Created,
            VersionKind::Created
        ]
    );
    // A deletion says who went, and who did it.
    assert_eq!(rows[0].device_name.as_deref(), Some("phone"));
    assert_eq!(rows[0].full_name.as_deref(), Some("Anna"));
    assert_eq!((rows[0].uid.as_deref(), rows[0].size), (Some("u1"), None));
    assert_eq!(
        (rows[1].reason.as_deref(), rows[1].size),
        (Some("no vCard"), Some(3))
    );
    assert_eq!(rows[0].slug, "contacts");

    let ids = |rows: &[cloudless_store::HistoryRow]| -> Vec<u64> {
        rows.iter().map(|row| row.id).collect()
    };
    let pick = |wanted: &[usize]| -> Vec<u64> { wanted.iter().map(|n| rows[*n].id).collect() };
    let query = HistoryQuery::default;
    for (query, wanted) in [
        (
            HistoryQuery {
                name: Some("a.vcf".to_owned()),
                ..query()
            },
            &[0, 3][..],
        ),
        (
            HistoryQuery {
                uid: Some("u1".to_owned()),
                ..query()
            },
            &[0, 3],
        ),
        (
            HistoryQuery {
                device: Some(phone),
                ..query()
            },
            &[0, 3],
        ),
        (
            HistoryQuery {
                since: Some(Timestamp(3)),
                ..query()
            },
            &[0, 1],
        ),
        (
            HistoryQuery {
                before: Some(rows[1].id),
                limit: 1,
                ..query()
            },
            &[2],
        ),
    ] {
        assert_eq!(ids(&all(query.clone())), pick(wanted), "{query:?}");
        assert_eq!(ids(&store.history(book, &query).unwrap()), pick(wanted));
    }
    let version = store.version(book, "b.vcf", 2).unwrap().unwrap();
    assert_eq!(version.bytes.as_deref(), Some(&b"bad"[..]));
    assert_eq!(store.version(book, "b.vcf", 3).unwrap(), None);
}

#[test]
fn restore_is_a_change_that_syncs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    for bytes in ["one", "two"] {
        let card = card(book, "a.vcf", bytes.as_bytes());
        store.put_card(card, Precondition::None, OWNER).unwrap();
    }
    let revision = store.changes_since(book, None, None).unwrap().revision;
    let restored = |replaced| RestoreOutcome::Restored {
        etag: ETag::of(b"one"),
        full_name: None,
        replaced,
    };
    let said = store.restore_card(book, "a.vcf", 1, true, OWNER).unwrap();
    assert_eq!(said, restored(true));
    let outcome = store.restore_card(book, "a.vcf", 1, false, OWNER).unwrap();
    assert_eq!(outcome, said);
    let changes = store.changes_since(book, Some(revision), None).unwrap();
    assert_eq!(changes.changed[0].etag, ETag::of(b"one"));
    let again = store.restore_card(book, "a.vcf", 1, false, OWNER).unwrap();
    assert_eq!(again, RestoreOutcome::Unchanged(ETag::of(b"one")));
    store
        .delete_card(book, "a.vcf", Precondition::None, OWNER)
        .unwrap();
    // The fourth version is the deletion.
    for number in [0, 4, 5] {
        let outcome = store
            .restore_card(book, "a.vcf", number, false, OWNER)
            .unwrap();
        assert_eq!(outcome, RestoreOutcome::NoSuchVersion, "{number}");
    }
    let said = store.undelete_card(book, "a.vcf", true, OWNER).unwrap();
    assert_eq!(said, restored(false));
    let outcome = store.undelete_card(book, "a.vcf", false, OWNER).unwrap();
    assert_eq!(outcome, said);
    let outcome = store.undelete_card(book, "a.vcf", false, OWNER).unwrap();
    assert_eq!(outcome, RestoreOutcome::Unchanged(ETag::of(b"one")));
    let outcome = store
        .undelete_card(book, "never.vcf", false, OWNER)
        .unwrap();
    assert_eq!(outcome, RestoreOutcome::NoSuchVersion);
    let kinds: Vec<_> = store
        .versions(book, "a.vcf")
        .unwrap()
        .into_iter()
        .map(|version| version.kind)
        .collect();
    assert_eq!(kinds.last(), Some(&VersionKind::Restored));
    assert_eq!(store.cards_without_index(9).unwrap().len(), 1);
}

#[test]
fn pruning_keeps_what_is_there_and_what_was_there_since() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let put = |name: &str, bytes: &str, at| {
        let card = card(book, name, bytes.as_bytes());
        store.put_card(card, Precondition::None, actor(at)).unwrap();
    };
    put("old.vcf", "never changed", 1);
    put("a.vcf", "1", 2);
    put("a.vcf", "2", 3);
    put("gone.vcf", "x", 4);
    let delete = |name: &str, at| {
        store
            .delete_card(book, name, Precondition::None, actor(at))
            .unwrap();
    };
    delete("gone.vcf", 5);
    store
        .keep_refused(book, "bad.vcf", b"bad".to_vec(), "no vCard", actor(6))
        .unwrap();
    put("a.vcf", "3", 20);
    let at_10 = store.book_at(book, Timestamp(10)).unwrap();

    let pruned = store.prune(Timestamp(10)).unwrap();
    assert_eq!((pruned.versions, pruned.bytes), (3, 1 + 1 + 3));
    assert_eq!(store.prune(Timestamp(10)).unwrap().versions, 0);
    assert_eq!(store.book_at(book, Timestamp(10)).unwrap(), at_10);
    let error = store.book_at(book, Timestamp(9)).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::HistoryPruned {
                since: Timestamp(10)
            }
        ),
        "{error:?}"
    );
    let error = store.restore_book(book, Timestamp(9), true, OWNER);
    assert!(matches!(error, Err(StoreError::HistoryPruned { .. })));
    assert_eq!(store.card_rows(book).unwrap().len(), 2);
    let outcome = store.undelete_card(book, "gone.vcf", false, OWNER).unwrap();
    assert_eq!(outcome, RestoreOutcome::NoSuchVersion);
    let card = store.card(book, "old.vcf").unwrap().unwrap();
    assert_eq!(card.bytes, b"never changed");
}

/// What the step makes of the last state; fails if the outcome says otherwise.
fn apply(store: &Store, book: BookId, past: &[State], step: &Step, actor: Actor) -> State {
    let mut state = past.last().unwrap().clone();
    let other_has = |state: &State, name: &str, uid: &Option<String>| {
        uid.is_some()
            && state
                .iter()
                .any(|(other, (_, found))| other != name && found == uid)
    };
    match step {
        Step::Put { name, content, uid } => {
            let name = format!("{name}.vcf");
            // The UID is part of the bytes, as in a real card.
            let uid = uid.map(|uid| uid.to_string());
            let mut card = card(book, &name, format!("{content} {uid:?}").as_bytes());
            card.uid.clone_from(&uid);
            let etag = ETag::of(&card.bytes).to_string();
            let refused = other_has(&state, &name, &uid);
            let outcome = store.put_card(card, Precondition::None, actor).unwrap();
            assert_eq!(matches!(outcome, PutOutcome::UidConflict { .. }), refused);
            if !refused {
                state.insert(name, (etag, uid));
            }
        }
        Step::Delete { name } => {
            let name = format!("{name}.vcf");
            let outcome = store.delete_card(book, &name, Precondition::None, actor);
            let existed = state.remove(&name).is_some();
            assert_eq!(outcome.unwrap() == DeleteOutcome::Deleted, existed);
        }
        Step::RestoreCard { name, number } => {
            let name = format!("{name}.vcf");
            let rows = HistoryQuery {
                name: Some(name.clone()),
                ..HistoryQuery::default()
            };
            let rows = store.history(book, &rows).unwrap();
            let version = rows
                .into_iter()
                .find(|row| row.number == *number && row.size.is_some());
            let said = store.restore_card(book, &name, *number, true, actor);
            assert_eq!(present(store, book), state, "a dry run changed something");
            let outcome = store.restore_card(book, &name, *number, false, actor);
            let outcome = outcome.unwrap();
            assert_eq!(said.unwrap(), outcome);
            match outcome {
                RestoreOutcome::Restored { etag, .. } | RestoreOutcome::Unchanged(etag) => {
                    let uid = version.unwrap().uid;
                    assert!(!other_has(&state, &name, &uid));
                    state.insert(name, (etag.to_string(), uid));
                }
                RestoreOutcome::NoSuchVersion => assert_eq!(version, None),
                RestoreOutcome::UidConflict { .. } => {
                    assert!(other_has(&state, &name, &version.unwrap().uid));
                }
                RestoreOutcome::NoSuchBook => panic!("{outcome:?}"),
            }
        }
        Step::RestoreBook { back } => {
            let moment = past.len().saturating_sub(1 + back);
            let at = Timestamp(i64::try_from(moment).unwrap());
            let said = store.restore_book(book, at, true, actor).unwrap();
            assert_eq!(present(store, book), state, "a dry run changed something");
            let done = store.restore_book(book, at, false, actor).unwrap();
            assert_eq!(said, done);
            let target = &past[moment];
            let only = |left: &State, right: &State| -> Vec<String> {
                let names = left.keys().filter(|name| !right.contains_key(*name));
                names.cloned().collect()
            };
            assert_eq!(done.created, only(target, &state));
            assert_eq!(done.deleted, only(&state, target));
            assert_eq!(done.conflicts, []);
            state.clone_from(target);
        }
    }
    state
}

fn present(store: &Store, book: BookId) -> State {
    let rows = store.card_rows(book).unwrap().into_iter();
    rows.map(|row| (row.name, (row.etag.to_string(), row.uid)))
        .collect()
}

fn actor(at: i64) -> Actor {
    Actor {
        device: None,
        at: Timestamp(at),
    }
}

#[test]
fn a_card_is_named_as_it_was_and_a_deleted_one_as_it_last_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let put = |full_name: &str, at| {
        let card = cloudless_store::NewCard {
            full_name: Some(full_name.to_owned()),
            ..card(book, "a.vcf", full_name.as_bytes())
        };
        let outcome = store.put_card(card, Precondition::None, actor(at));
        assert!(matches!(
            outcome.unwrap(),
            PutOutcome::Created(_) | PutOutcome::Updated(_)
        ));
    };
    put("Ann", 1);
    put("Anna", 3);
    store
        .delete_card(book, "a.vcf", Precondition::None, actor(5))
        .unwrap();
    put("Annabel", 7);
    for (at, number, full_name) in [
        (0, None, None),
        (1, Some(1), Some("Ann")),
        (2, Some(1), Some("Ann")),
        (3, Some(2), Some("Anna")),
        (5, None, Some("Anna")),
        (7, Some(4), Some("Annabel")),
        (i64::MAX, Some(4), Some("Annabel")),
    ] {
        let at = Timestamp(at);
        let found = store.number_at(book, "a.vcf", at).unwrap();
        assert_eq!(found, number, "{at:?}");
        let found = store.full_name_at(book, "a.vcf", at).unwrap();
        assert_eq!(found.as_deref(), full_name, "{at:?}");
    }
    let found = store.full_name_at(book, "b.vcf", Timestamp(7)).unwrap();
    assert_eq!(found, None);
}
