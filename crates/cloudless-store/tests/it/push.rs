use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cloudless_store::{
    Access, BookId, DeviceId, NewPushRegistration, PUSH_REGISTRATIONS_MAX,
    PUSH_REGISTRATIONS_OF_BOOK_MAX, PendingPush, Precondition, PushOutcome, Store, StoreError,
    Timestamp, Untold, UserId,
};
use tempfile::TempDir;

use crate::{OWNER, card, new_book};

const NOW: Timestamp = Timestamp(1_000);
const LATER: Timestamp = Timestamp(2_000);

/// A store in which anna has a phone that wants to know of all changes of her address book.
struct Home {
    store: Store,
    book: BookId,
    anna: UserId,
    phone: DeviceId,
    directory: TempDir,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let book = new_book(&store, "anna");
        let anna = store.users().unwrap()[0].id;
        let phone = store.add_device("anna", "phone", [1; 32], NOW).unwrap();
        Self {
            store,
            book,
            anna,
            phone,
            directory,
        }
    }

    fn wish(&self, push_resource: &str) -> NewPushRegistration {
        NewPushRegistration {
            book: self.book,
            user: self.anna,
            push_resource: push_resource.to_owned(),
            public_key: vec![4; 65],
            auth_secret: vec![7; 16],
            on_content: true,
            on_properties: true,
            expires_at: LATER,
        }
    }

    fn register(&self, push_resource: &str) -> String {
        name(&self.store, self.wish(push_resource), self.phone)
    }

    fn pending(&self) -> Vec<PendingPush> {
        self.store.pending_pushes(NOW).unwrap()
    }

    fn tell_all(&self) {
        for push in self.pending() {
            self.store.push_told(&push).unwrap();
        }
        assert!(self.pending().is_empty());
    }
}

fn name(store: &Store, wish: NewPushRegistration, device: DeviceId) -> String {
    match store.register_push(wish, device, NOW).unwrap() {
        PushOutcome::Registered { name } => name,
        refused => panic!("{refused:?}"),
    }
}

fn put(store: &Store, book: BookId, name: &str) {
    let card = card(book, name, b"BEGIN:VCARD\r\nEND:VCARD\r\n");
    store.put_card(card, Precondition::None, OWNER).unwrap();
}

#[test]
fn changes_are_pending_until_they_are_told() {
    let home = Home::new();
    home.register("https://push.example/1");
    assert!(home.pending().is_empty(), "nothing changed since");
    put(&home.store, home.book, "a.vcf");
    let [first] = home.pending().try_into().ok().unwrap();
    assert!(first.content && !first.properties);
    // What comes while the first is on its way is told later.
    put(&home.store, home.book, "b.vcf");
    home.store.push_told(&first).unwrap();
    let [second] = home.pending().try_into().ok().unwrap();
    assert_eq!(second.revision, first.revision + 1);

    // It is on disk: the program may end in between.
    let Home {
        store, directory, ..
    } = home;
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let [again] = store.pending_pushes(NOW).unwrap().try_into().ok().unwrap();
    assert_eq!(again.revision, second.revision);
}

#[test]
fn properties_of_the_book_are_told_and_those_of_cards_are_not() {
    let home = Home::new();
    home.register("https://push.example/1");
    let describe = |text| home.store.describe_book(home.book, Some(text), None);
    describe("Friends").unwrap();
    let [push] = home.pending().try_into().ok().unwrap();
    assert!(push.properties && !push.content);
    home.tell_all();
    describe("Friends").unwrap();
    assert!(home.pending().is_empty(), "it is the same name");

    let content_only = NewPushRegistration {
        on_properties: false,
        ..home.wish("https://push.example/2")
    };
    name(&home.store, content_only, home.phone);
    describe("Family").unwrap();
    let [push] = home.pending().try_into().ok().unwrap();
    assert_eq!(push.push_resource, "https://push.example/1");
}

#[test]
fn a_request_may_leave_registrations_untold() {
    let home = Home::new();
    let content_only = NewPushRegistration {
        on_properties: false,
        ..home.wish("https://push.example/1")
    };
    let own = name(&home.store, content_only, home.phone);
    home.register("https://push.example/2");
    // Nothing that the first one wants to know.
    home.store
        .describe_book(home.book, Some("Friends"), None)
        .unwrap();
    home.tell_all();

    let quiet = home
        .store
        .without_telling(Untold::Named(vec![own, "unknown".to_owned()]));
    put(&quiet, home.book, "a.vcf");
    let [other] = home.pending().try_into().ok().unwrap();
    assert_eq!(other.push_resource, "https://push.example/2");
    home.tell_all();

    put(&home.store.without_telling(Untold::All), home.book, "b.vcf");
    assert!(home.pending().is_empty());

    // Somebody else's change is not kept from a device by its own next one.
    put(&home.store, home.book, "c.vcf");
    put(&home.store.without_telling(Untold::All), home.book, "d.vcf");
    assert_eq!(home.pending().len(), 2);
}

#[test]
fn the_same_push_resource_is_registered_once() {
    let home = Home::new();
    let before = home.register("https://push.example/1");
    put(&home.store, home.book, "a.vcf");
    let again = NewPushRegistration {
        public_key: vec![5; 65],
        expires_at: Timestamp(9_000),
        ..home.wish("https://push.example/1")
    };
    assert_eq!(name(&home.store, again, home.phone), before);
    let [push] = home.pending().try_into().ok().unwrap();
    assert_eq!(push.public_key, [5; 65]);
    assert_eq!(home.store.push_registrations(LATER).unwrap(), 1);
}

#[test]
fn another_user_cannot_take_a_registration_over() {
    let home = Home::new();
    let annas = home.register("https://push.example/1");
    let bert = home.store.create_user("bert", NOW).unwrap();
    let laptop = home.store.add_device("bert", "x", [2; 32], NOW).unwrap();
    let wish = || NewPushRegistration {
        user: bert,
        ..home.wish("https://push.example/1")
    };
    let refused = home.store.register_push(wish(), laptop, NOW).unwrap();
    assert_eq!(refused, PushOutcome::NoSuchBook, "it is not shared");
    home.store
        .share_book(home.book, "bert", Access::ReadOnly)
        .unwrap();
    assert_ne!(name(&home.store, wish(), laptop), annas);
    assert!(!home.store.unregister_push(bert, &annas, NOW).unwrap());
    assert_eq!(home.store.push_registrations(NOW).unwrap(), 2);

    // Another access is another property of the book, to whom it is given.
    home.store
        .share_book(home.book, "bert", Access::ReadWrite)
        .unwrap();
    let [push] = home.pending().try_into().ok().unwrap();
    assert!(push.properties && push.name != annas);
    home.store.unshare_book(home.book, "bert").unwrap();
    assert_eq!(home.store.push_registrations(NOW).unwrap(), 1);
}

#[test]
fn a_registration_ends_with_its_time_its_device_and_its_book() {
    let home = Home::new();
    let name = home.register("https://push.example/1");
    put(&home.store, home.book, "a.vcf");
    assert!(home.store.pending_pushes(LATER).unwrap().is_empty());
    assert_eq!(home.store.push_registrations(LATER).unwrap(), 0);
    let ended = home.store.unregister_push(home.anna, &name, LATER);
    assert!(!ended.unwrap(), "it had expired");

    let name = home.register("https://push.example/1");
    let ended = |name| home.store.unregister_push(home.anna, name, NOW).unwrap();
    assert!(ended(&name));
    assert!(!ended(&name));

    let work = home.store.create_book(home.anna, "work", "", "").unwrap();
    let of_work = NewPushRegistration {
        book: work,
        ..home.wish("https://push.example/1")
    };
    home.register("https://push.example/1");
    self::name(&home.store, of_work, home.phone);
    assert_eq!(home.store.push_registrations(NOW).unwrap(), 2);
    home.store
        .delete_book(work, Precondition::None, OWNER)
        .unwrap();
    assert_eq!(home.store.push_registrations(NOW).unwrap(), 1);
    home.store.revoke_device("anna", "phone", NOW).unwrap();
    assert_eq!(home.store.push_registrations(NOW).unwrap(), 0);
    let wish = home.wish("https://push.example/1");
    let refused = home.store.register_push(wish, home.phone, NOW);
    assert!(matches!(refused, Err(StoreError::DeviceRevoked)));
}

#[test]
fn registrations_are_bounded_and_expired_ones_do_not_count() {
    let home = Home::new();
    for number in 0..PUSH_REGISTRATIONS_OF_BOOK_MAX {
        home.register(&format!("https://push.example/{number}"));
    }
    let one_more = || home.wish("https://push.example/one-more");
    let refused = home.store.register_push(one_more(), home.phone, NOW);
    assert_eq!(refused.unwrap(), PushOutcome::TooMany);
    home.register("https://push.example/0");
    let taken = home.store.register_push(one_more(), home.phone, LATER);
    assert!(matches!(taken, Ok(PushOutcome::Registered { .. })));
}

#[test]
fn every_commit_is_told_and_a_failed_write_is_none() {
    let home = Home::new();
    let commits = Arc::new(AtomicU64::new(0));
    let counted = commits.clone();
    home.store.on_commit(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    put(&home.store, home.book, "a.vcf");
    let one = commits.load(Ordering::SeqCst);
    assert!(one >= 1);
    home.store.pending_pushes(NOW).unwrap();
    assert_eq!(commits.load(Ordering::SeqCst), one);
    put(&home.store, home.book, "b.vcf");
    assert!(commits.load(Ordering::SeqCst) > one);
}

#[test]
fn a_device_that_has_all_its_registrations_leaves_the_others_of_its_user_theirs() {
    let home = Home::new();
    let books = PUSH_REGISTRATIONS_MAX / PUSH_REGISTRATIONS_OF_BOOK_MAX;
    for book in 0..books {
        let slug = format!("book-{book}");
        let book = home.store.create_book(home.anna, &slug, &slug, "");
        let book = book.unwrap();
        for number in 0..PUSH_REGISTRATIONS_OF_BOOK_MAX {
            let wish = home.wish(&format!("https://push.example/{number}"));
            name(
                &home.store,
                NewPushRegistration { book, ..wish },
                home.phone,
            );
        }
    }
    let wish = || home.wish("https://push.example/one-more");
    let refused = home.store.register_push(wish(), home.phone, NOW).unwrap();
    assert_eq!(refused, PushOutcome::TooMany);
    let tablet = home.store.add_device("anna", "tablet", [2; 32], NOW);
    name(&home.store, wish(), tablet.unwrap());
}
