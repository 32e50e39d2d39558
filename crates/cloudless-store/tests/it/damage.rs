use std::fs;

use cloudless_store::{OpenError, Precondition, PutOutcome, Store};

use crate::{OWNER, card, new_book};

const PAGE: usize = 4096;

#[test]
fn file_that_is_no_database_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let garbage = vec![0xa5; 3 * PAGE];
    fs::write(&path, &garbage).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    let advice = error.to_string();
    assert!(advice.contains("cloudless home backup"), "{advice}");
    assert_eq!(fs::read(&path).unwrap(), garbage);
}

#[test]
fn any_damaged_page_gives_errors_and_no_false_success() {
    let intact = tempfile::tempdir().unwrap();
    let store = Store::open(intact.path()).unwrap();
    let book = new_book(&store, "anna");
    let cards = (0..200)
        .map(|n| card(book, &format!("{n}.vcf"), &vec![b'x'; n * 10]))
        .collect();
    store.put_cards(cards, OWNER).unwrap();
    drop(store);
    let bytes = fs::read(intact.path().join("store.sqlite")).unwrap();

    let mut errors = 0;
    for page in 0..bytes.len() / PAGE {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = bytes.clone();
        bytes[page * PAGE..(page + 1) * PAGE].fill(0xa5);
        fs::write(directory.path().join("store.sqlite"), bytes).unwrap();
        let Ok(store) = Store::open(directory.path()) else {
            errors += 1;
            continue;
        };
        errors += usize::from(store.card_rows(book).is_err());
        errors += usize::from(store.changes_since(book, None, None).is_err());
        errors += usize::from(store.users().is_err());
        let put = store.put_card(card(book, "new.vcf", b"new"), Precondition::None, OWNER);
        match put {
            Ok(PutOutcome::Created(_)) => {
                let stored = store.card(book, "new.vcf").unwrap().unwrap();
                assert_eq!(stored.bytes, b"new", "page {page}");
            }
            Ok(outcome) => panic!("page {page}: {outcome:?}"),
            Err(_) => errors += 1,
        }
    }
    assert!(errors > 0, "no damage was ever noticed");
}
