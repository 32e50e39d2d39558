use std::sync::Barrier;
use std::thread;

use cloudless_store::{Precondition, PutOutcome, Store};

use crate::{OWNER, card, new_book};

#[test]
fn of_two_writers_with_the_same_tag_exactly_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let mut current = match store.put_card(card(book, "a.vcf", b"0"), Precondition::None, OWNER) {
        Ok(PutOutcome::Created(etag)) => etag,
        other => panic!("{other:?}"),
    };
    for round in 0..50 {
        let outcomes = together(2, |writer| {
            let bytes = format!("{round} by {writer}");
            let precondition = Precondition::Match(vec![current.clone()]);
            store
                .put_card(card(book, "a.vcf", bytes.as_bytes()), precondition, OWNER)
                .unwrap()
        });
        let (winners, losers): (Vec<_>, Vec<_>) = outcomes
            .into_iter()
            .partition(|outcome| matches!(outcome, PutOutcome::Updated(_)));
        let [PutOutcome::Updated(etag)] = winners.as_slice() else {
            panic!("round {round}: {winners:?} won, {losers:?} lost");
        };
        current = etag.clone();
        let expected = PutOutcome::PreconditionFailed {
            current: Some(current.clone()),
        };
        assert_eq!(losers, [expected]);
    }
    // The card as created, and one stored and one refused body each round.
    assert_eq!(store.versions(book, "a.vcf").unwrap().len(), 1 + 50 * 2);
}

#[test]
fn of_many_creators_of_one_name_exactly_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let outcomes = together(8, |writer| {
        let card = card(book, "a.vcf", writer.to_string().as_bytes());
        store
            .put_card(card, Precondition::MustNotExist, OWNER)
            .unwrap()
    });
    let created = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, PutOutcome::Created(_)));
    assert_eq!(created.count(), 1, "{outcomes:?}");
}

#[test]
fn of_many_cards_with_one_uid_exactly_one_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let outcomes = together(8, |writer| {
        let mut card = card(book, &format!("{writer}.vcf"), b"x");
        card.uid = Some("the-same".to_owned());
        store.put_card(card, Precondition::None, OWNER).unwrap()
    });
    let rows = store.card_rows(book).unwrap();
    assert_eq!(rows.len(), 1);
    for outcome in outcomes {
        match outcome {
            PutOutcome::Created(etag) => assert_eq!(etag, rows[0].etag),
            PutOutcome::UidConflict { name } => assert_eq!(name, rows[0].name),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_64_threads_were_told_is_stored_is_there_after_reopening() {
    const CARDS_EACH: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let bytes = |writer, n| format!("card {n} of {writer}\r\n").repeat(1 + n * 50);
    together(64, |writer| {
        for n in 0..CARDS_EACH {
            let name = format!("{writer}-{n}.vcf");
            let card = card(book, &name, bytes(writer, n).as_bytes());
            let outcome = store.put_card(card, Precondition::MustNotExist, OWNER);
            assert!(matches!(outcome, Ok(PutOutcome::Created(_))), "{outcome:?}");
            // Readers work beside the writer, and see what was acknowledged.
            assert!(store.card_row(book, &name).unwrap().is_some());
        }
    });
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    for writer in 0..64 {
        for n in 0..CARDS_EACH {
            let card = store.card(book, &format!("{writer}-{n}.vcf")).unwrap();
            assert_eq!(card.unwrap().bytes, bytes(writer, n).as_bytes());
        }
    }
    let changes = store.changes_since(book, None, None).unwrap();
    assert_eq!(changes.changed.len(), 64 * CARDS_EACH);
    assert_eq!(changes.revision, (64 * CARDS_EACH) as u64);
}

/// Runs `work` in `threads` threads that start at the same moment.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(thread)
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .collect()
    })
}
