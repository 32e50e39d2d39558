use std::collections::BTreeMap;

use cloudless_store::{
    Access, Actor, BookError, BookId, DeviceId, Precondition, Store, Timestamp, Transfer,
    VersionKind,
};
use tempfile::TempDir;

use crate::{card, new_book};

const MINUTE: i64 = 60_000;

#[test]
fn device_that_empties_a_book_is_flagged_and_undone() {
    let (_directory, store, book, phone) = open(60);
    let delete = |n: usize, at| delete(&store, book, n, Some(phone), at);
    for n in 0..12 {
        delete(n, 5 * MINUTE);
        assert_eq!(store.alarms().unwrap(), [], "after {}", n + 1);
    }
    delete(12, 6 * MINUTE);
    for n in 13..30 {
        delete(n, 7 * MINUTE);
    }
    let [alarm] = store.alarms().unwrap().try_into().unwrap();
    assert_eq!((alarm.book, alarm.device, alarm.count), (book, phone, 30));
    assert_eq!(
        (alarm.owner.as_str(), alarm.slug.as_str()),
        ("anna", "contacts")
    );
    assert_eq!(
        (alarm.first_at, alarm.last_at),
        (Timestamp(5 * MINUTE), Timestamp(7 * MINUTE))
    );
    // The owner deletes one more, the phone has stored one again, and another has the UID of one.
    crate::alarms::delete(&store, book, 30, None, 7 * MINUTE);
    put(&store, book, "0.vcf", "new", "new");
    put(&store, book, "thief.vcf", "thief", "1");

    let difference = store.undo_mass_deletion(alarm.id, owner(8)).unwrap();
    assert_eq!(difference.created.len(), 28);
    assert_eq!(difference.conflicts.len(), 1);
    assert_eq!(difference.conflicts[0].name, "1.vcf");
    assert_eq!(difference.conflicts[0].other, "thief.vcf");
    assert_eq!(store.card(book, "0.vcf").unwrap().unwrap().bytes, b"new");
    assert_eq!(store.card(book, "2.vcf").unwrap().unwrap().bytes, b"2");
    assert_eq!(store.card(book, "30.vcf").unwrap(), None);
    let versions = store.versions(book, "2.vcf").unwrap();
    assert_eq!(versions.last().unwrap().kind, VersionKind::Restored);
    let again = store.undo_mass_deletion(alarm.id, owner(8));
    assert!(matches!(again, Err(BookError::NoSuchAlarm)), "{again:?}");
    assert!(store.alarms().unwrap()[0].undone_at.is_some());

    // After that the counting begins anew.
    for n in 2..12 {
        delete(n, 8 * MINUTE);
    }
    assert_eq!(store.alarms().unwrap().len(), 1);
    for n in 12..20 {
        delete(n, 8 * MINUTE);
    }
    assert_eq!(store.alarms().unwrap().len(), 2);
}

#[test]
fn slow_few_and_the_owners_deletions_are_no_alarm() {
    let (_directory, store, book, phone) = open(60);
    // Never more than five within ten minutes.
    for n in 0..40 {
        let at = i64::try_from(n).unwrap() * 2 * MINUTE;
        delete(&store, book, n, Some(phone), at);
    }
    for n in 40..60 {
        delete(&store, book, n, None, 80 * MINUTE);
    }
    assert_eq!(store.alarms().unwrap(), []);
    // Few cards are no alarm even if they are all.
    let (_directory, store, book, phone) = open(9);
    for n in 0..9 {
        delete(&store, book, n, Some(phone), 1);
    }
    assert_eq!(store.alarms().unwrap(), []);
}

#[test]
fn share_is_a_setting() {
    let (_directory, store, book, phone) = open(20);
    store.set_alarm_share(100).unwrap();
    for n in 0..20 {
        delete(&store, book, n, Some(phone), 1);
    }
    assert_eq!(store.alarms().unwrap(), []);
}

#[test]
fn deleted_book_is_an_alarm_too() {
    let (_directory, store, _, phone) = open(1);
    let anna = store.users().unwrap()[0].id;
    let book = store.create_book(anna, "work", "", "").unwrap();
    for n in 0..10 {
        put(
            &store,
            book,
            &format!("{n}.vcf"),
            &n.to_string(),
            &n.to_string(),
        );
    }
    let actor = Actor {
        device: Some(phone),
        at: Timestamp(1),
    };
    store.delete_book(book, Precondition::None, actor).unwrap();
    let alarm = store.alarms().unwrap()[0].id;
    let difference = store.undo_mass_deletion(alarm, owner(2)).unwrap();
    assert_eq!(difference.created.len(), 10);
    let restored = store.address_book(anna, "work").unwrap().unwrap();
    assert_eq!((restored.id, restored.card_count), (book, 10));
}

#[test]
fn cards_moved_to_another_users_book_are_lost_to_the_owner() {
    let (_directory, store, book, phone) = open(20);
    let other = new_book(&store, "bob");
    store.share_book(other, "anna", Access::ReadWrite).unwrap();
    let move_to = |to_book, from_name: String| {
        let transfer = Transfer {
            from_book: book,
            to_book,
            to_name: format!("moved-{from_name}"),
            from_name,
            overwrite: false,
            source: Precondition::None,
            destination: Precondition::None,
        };
        let actor = Actor {
            device: Some(phone),
            at: Timestamp(MINUTE),
        };
        store.move_card(transfer, actor).unwrap()
    };
    for n in 0..20 {
        move_to(book, format!("{n}.vcf"));
    }
    assert_eq!(store.alarms().unwrap(), [], "renamed in one book");
    for n in 0..20 {
        move_to(other, format!("moved-{n}.vcf"));
    }
    let [alarm] = store.alarms().unwrap().try_into().unwrap();
    assert_eq!((alarm.book, alarm.count), (book, 20));
    let difference = store.undo_mass_deletion(alarm.id, owner(2)).unwrap();
    assert_eq!(difference.created.len(), 20);
    assert_eq!(store.card_rows(other).unwrap().len(), 20);
}

#[test]
fn cards_that_another_one_was_moved_over_are_deleted_and_undone() {
    for chain in [true, false] {
        let (_directory, store, book, phone) = open(30);
        let before = contents(&store, book);
        let actor = Actor {
            device: Some(phone),
            at: Timestamp(MINUTE),
        };
        let over = |from: usize, to: usize| {
            let transfer = Transfer {
                from_book: book,
                from_name: format!("{from}.vcf"),
                to_book: book,
                to_name: format!("{to}.vcf"),
                overwrite: true,
                source: Precondition::None,
                destination: Precondition::None,
            };
            store.move_card(transfer, actor).unwrap();
        };
        // One card goes over all others, or every second one over its neighbor.
        for n in 0..15 {
            match chain {
                true => over(n, n + 1),
                false => over(2 * n, 2 * n + 1),
            }
        }
        assert_eq!(store.card_rows(book).unwrap().len(), 15);
        let [alarm] = store.alarms().unwrap().try_into().unwrap();
        assert_eq!(alarm.count, 15);
        let difference = store.undo_mass_deletion(alarm.id, owner(2)).unwrap();
        assert_eq!(difference.conflicts, []);
        assert_eq!(contents(&store, book), before);
    }
}

#[test]
fn a_card_moved_over_its_earlier_self_is_no_deletion() {
    let (_directory, store, book, phone) = open(20);
    let other = store.create_book(store.users().unwrap()[0].id, "drafts", "", "");
    let drafts = other.unwrap();
    let actor = Actor {
        device: Some(phone),
        at: Timestamp(MINUTE),
    };
    for n in 0..20 {
        let name = format!("{n}.vcf");
        put(&store, drafts, &name, "edited", &n.to_string());
        let transfer = Transfer {
            from_book: drafts,
            from_name: name.clone(),
            to_book: book,
            to_name: name,
            overwrite: true,
            source: Precondition::None,
            destination: Precondition::None,
        };
        store.move_card(transfer, actor).unwrap();
    }
    assert_eq!(store.alarms().unwrap(), []);
}

/// The bytes of all cards by their names.
fn contents(store: &Store, book: BookId) -> BTreeMap<String, Vec<u8>> {
    let rows = store.card_rows(book).unwrap().into_iter();
    rows.map(|row| {
        let card = store.card(book, &row.name).unwrap().unwrap();
        (row.name, card.bytes)
    })
    .collect()
}

fn open(cards: usize) -> (TempDir, Store, BookId, DeviceId) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let phone = store
        .add_device("anna", "phone", [1; 32], Timestamp(0))
        .unwrap();
    for n in 0..cards {
        put(
            &store,
            book,
            &format!("{n}.vcf"),
            &n.to_string(),
            &n.to_string(),
        );
    }
    (directory, store, book, phone)
}

fn put(store: &Store, book: BookId, name: &str, bytes: &str, uid: &str) {
    let mut card = card(book, name, bytes.as_bytes());
    card.uid = Some(uid.to_owned());
    store.put_card(card, Precondition::None, owner(0)).unwrap();
}

fn delete(store: &Store, book: BookId, n: usize, device: Option<DeviceId>, at: i64) {
    let actor = Actor {
        device,
        at: Timestamp(at),
    };
    store
        .delete_card(book, &format!("{n}.vcf"), Precondition::MustExist, actor)
        .unwrap();
}

fn owner(at: i64) -> Actor {
    Actor {
        device: None,
        at: Timestamp(at),
    }
}
