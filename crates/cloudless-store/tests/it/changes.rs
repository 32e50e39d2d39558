use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use cloudless_store::{BookId, CardRow, DeleteOutcome, Precondition, PutOutcome, Store};
use proptest::prelude::*;

use crate::{OWNER, card, new_book};

/// What a client knows: the tag of each card.
type State = BTreeMap<String, String>;

#[derive(Clone, Debug)]
enum Step {
    Put { name: u8, content: u8 },
    Delete { name: u8 },
}

/// Few names and contents, so that cards are often changed, removed, and brought back.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6u8, 0..3u8).prop_map(|(name, content)| Step::Put { name, content }),
        2 => (0..6u8).prop_map(|name| Step::Delete { name }),
    ];
    prop::collection::vec(step, 0..40)
}

#[test]
fn any_earlier_revision_leads_to_the_present_state() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let users = AtomicU32::new(0);
    proptest!(ProptestConfig::with_cases(48), |(steps in steps())| {
        let user = users.fetch_add(1, Ordering::Relaxed).to_string();
        let book = new_book(&store, &user);
        let mut model = State::new();
        let mut past = vec![(0, State::new())];
        for step in &steps {
            apply(&store, book, &mut model, step);
            let now = store.changes_since(book, Some(u64::MAX), None).unwrap().revision;
            past.push((now, model.clone()));
        }
        for (since, known) in &past {
            for limit in [None, Some(1), Some(2), Some(3), Some(100)] {
                let mut client = Client { revision: *since, cards: known.clone() };
                while client.sync(&store, book, limit) {}
                prop_assert_eq!(&client.cards, &model, "since {} by {:?}", since, limit);
                prop_assert_eq!(client.revision, past.last().unwrap().0);
            }
        }
    });
}

#[test]
fn client_that_syncs_page_by_page_during_changes_ends_up_right() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let users = AtomicU32::new(0);
    proptest!(ProptestConfig::with_cases(32), |(
        steps in prop::collection::vec((steps(), 1..4usize), 0..6)
    )| {
        let user = users.fetch_add(1, Ordering::Relaxed).to_string();
        let book = new_book(&store, &user);
        let mut model = State::new();
        let mut client = Client { revision: 0, cards: State::new() };
        for (steps, limit) in &steps {
            for step in steps {
                apply(&store, book, &mut model, step);
            }
            client.sync(&store, book, Some(*limit));
        }
        while client.sync(&store, book, Some(2)) {}
        prop_assert_eq!(client.cards, model);
    });
}

#[test]
fn only_a_first_sync_mentions_no_removed_card() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let mut model = State::new();
    apply(
        &store,
        book,
        &mut model,
        &Step::Put {
            name: 1,
            content: 0,
        },
    );
    let before = store.changes_since(book, None, None).unwrap().revision;
    apply(
        &store,
        book,
        &mut model,
        &Step::Put {
            name: 2,
            content: 0,
        },
    );
    apply(&store, book, &mut model, &Step::Delete { name: 2 });
    // The card may be that of the very client that syncs from before it, which another one deleted.
    for (since, removed) in [
        (None, None),
        (Some(0), Some("2.vcf")),
        (Some(before), Some("2.vcf")),
    ] {
        let changes = store.changes_since(book, since, None).unwrap();
        assert_eq!(changes.removed, Vec::from_iter(removed), "{since:?}");
        assert_eq!(changes.revision, before + 2);
    }
}

#[test]
fn limit_zero_gets_nothing_and_stays_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    apply(
        &store,
        book,
        &mut State::new(),
        &Step::Put {
            name: 1,
            content: 0,
        },
    );
    let changes = store.changes_since(book, None, Some(0)).unwrap();
    assert_eq!(
        (changes.revision, changes.truncated, changes.changed.len()),
        (0, true, 0)
    );
    let changes = store.changes_since(book, Some(1), Some(0)).unwrap();
    assert_eq!((changes.revision, changes.truncated), (1, false));
}

/// A long answer is read page by page, up to the revision that it began with.
#[test]
fn pages_tell_each_card_once_and_leave_later_changes_to_the_next_sync() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let mut model = State::new();
    for name in 1..=5 {
        apply(&store, book, &mut model, &Step::Put { name, content: 0 });
    }
    let first = store.changes_between(book, 1..=5, true, 2).unwrap();
    assert_eq!(names(&first.changed), ["1.vcf", "2.vcf"]);
    assert_eq!((first.revision, first.truncated), (2, true));

    // One that was told changes, one that was not, and one goes.
    for name in [1, 4] {
        apply(&store, book, &mut model, &Step::Put { name, content: 1 });
    }
    apply(&store, book, &mut model, &Step::Delete { name: 5 });
    let rest = store.changes_between(book, 3..=5, true, 9).unwrap();
    assert_eq!(names(&rest.changed), ["3.vcf"]);
    assert_eq!((rest.revision, rest.truncated), (5, false));

    let next = store.changes_since(book, Some(5), None).unwrap();
    assert_eq!(names(&next.changed), ["1.vcf", "4.vcf"]);
    assert_eq!(next.removed, ["5.vcf"]);
}

#[test]
fn pages_by_name_have_each_card_that_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let mut model = State::new();
    for name in 1..=5 {
        apply(&store, book, &mut model, &Step::Put { name, content: 0 });
    }
    let first = store.card_rows_after(book, "", 2).unwrap();
    assert_eq!(names(&first), ["1.vcf", "2.vcf"]);
    apply(
        &store,
        book,
        &mut model,
        &Step::Put {
            name: 3,
            content: 1,
        },
    );
    apply(&store, book, &mut model, &Step::Delete { name: 2 });
    apply(&store, book, &mut model, &Step::Delete { name: 4 });
    let rest = store.card_rows_after(book, "2.vcf", 9).unwrap();
    assert_eq!(names(&rest), ["3.vcf", "5.vcf"]);
    assert_eq!(store.card_rows_after(book, "5.vcf", 9).unwrap(), []);
}

fn names(rows: &[CardRow]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

struct Client {
    revision: u64,
    cards: State,
}

impl Client {
    /// One request. Returns whether there is more.
    fn sync(&mut self, store: &Store, book: BookId, limit: Option<usize>) -> bool {
        let changes = store
            .changes_since(book, Some(self.revision), limit)
            .unwrap();
        let count = changes.changed.len() + changes.removed.len();
        assert!(limit.is_none_or(|limit| count <= limit));
        assert!(!changes.truncated || changes.revision > self.revision);
        for row in changes.changed {
            self.cards.insert(row.name, row.etag.to_string());
        }
        for name in changes.removed {
            self.cards.remove(&name);
        }
        self.revision = changes.revision;
        changes.truncated
    }
}

fn apply(store: &Store, book: BookId, model: &mut State, step: &Step) {
    match step {
        Step::Put { name, content } => {
            let name = format!("{name}.vcf");
            let card = card(book, &name, content.to_string().as_bytes());
            let outcome = store.put_card(card, Precondition::None, OWNER).unwrap();
            let (PutOutcome::Created(etag)
            | PutOutcome::Updated(etag)
            | PutOutcome::Unchanged(etag)) = outcome
            else {
                panic!("{outcome:?}");
            };
            model.insert(name, etag.to_string());
        }
        Step::Delete { name } => {
            let name = format!("{name}.vcf");
            let outcome = store
                .delete_card(book, &name, Precondition::None, OWNER)
                .unwrap();
            let expected = match model.remove(&name) {
                Some(_) => DeleteOutcome::Deleted,
                None => DeleteOutcome::NotFound,
            };
            assert_eq!(outcome, expected);
        }
    }
}
