use cloudless_store::{
    Access, Actor, BookError, BookId, DeadProperty, PROPERTIES_MAX, PROPERTY_BYTES_MAX,
    Precondition, PropertiesOutcome, PropertyChanges, PropertyTarget, PutOutcome, Store,
    StoreError, Timestamp, Transfer, TransferOutcome, VersionKind,
};

use crate::{OWNER, card, new_book};

#[test]
fn personal_book_sorts_first_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let personal = new_book(&store, "anna");
    let anna = store.users().unwrap()[0].id;
    let work = store.create_book(anna, "work", "Work", "for work").unwrap();
    let again = store.create_book(anna, "work", "", "");
    assert!(
        matches!(again, Err(BookError::SlugTaken { .. })),
        "{again:?}"
    );
    for slug in ["", ".", "..", "a/b", "a\0b", &"x".repeat(256)] {
        let refused = store.create_book(anna, slug, "", "");
        assert!(matches!(refused, Err(BookError::InvalidSlug)), "{slug:?}");
    }
    let refused = store.delete_book(personal, Precondition::None, OWNER);
    assert!(matches!(refused, Err(BookError::Personal)), "{refused:?}");
    store.describe_book(work, Some("Büro"), None).unwrap();
    let books = store.address_books(anna).unwrap();
    let ids: Vec<_> = books.iter().map(|book| book.id).collect();
    assert_eq!(ids, [personal, work]);
    assert_eq!(
        (
            books[1].display_name.as_str(),
            books[1].description.as_str()
        ),
        ("Büro", "for work")
    );
    assert_eq!((books[0].personal, books[1].personal), (true, false));
}

#[test]
fn number_of_books_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    new_book(&store, "anna");
    let anna = store.users().unwrap()[0].id;
    for n in 1..256 {
        store.create_book(anna, &n.to_string(), "", "").unwrap();
    }
    let refused = store.create_book(anna, "one more", "", "");
    assert!(matches!(refused, Err(BookError::TooMany)), "{refused:?}");
}

#[test]
fn deleted_book_frees_its_slug_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    new_book(&store, "anna");
    let anna = store.users().unwrap()[0].id;
    let old = store.create_book(anna, "work", "Work", "").unwrap();
    put(&store, old, "gone.vcf", "0");
    delete(&store, old, "gone.vcf");
    put(&store, old, "a.vcf", "1");
    put(&store, old, "b.vcf", "2");
    let before = store.address_book(anna, "work").unwrap().unwrap();
    store.delete_book(old, Precondition::None, OWNER).unwrap();
    assert_eq!(store.address_book(anna, "work").unwrap(), None);
    assert_eq!(store.card_rows(old).unwrap(), []);
    let put_outcome = store.put_card(card(old, "c.vcf", b"3"), Precondition::None, OWNER);
    assert_eq!(put_outcome.unwrap(), PutOutcome::NoSuchBook);
    let changes = store.changes_since(old, None, None);
    assert!(matches!(changes, Err(StoreError::NoSuchBook)));
    let again = store.delete_book(old, Precondition::None, OWNER);
    assert!(matches!(again, Err(BookError::NoSuchBook)), "{again:?}");

    let new = store.create_book(anna, "work", "", "").unwrap();
    let after = store.address_book(anna, "work").unwrap().unwrap();
    assert_ne!(before.incarnation, after.incarnation);
    let refused = store.undelete_book(old, OWNER);
    assert!(
        matches!(refused, Err(BookError::SlugTaken { .. })),
        "{refused:?}"
    );
    store.delete_book(new, Precondition::None, OWNER).unwrap();
    let deleted = store.deleted_books(anna).unwrap();
    assert_eq!(deleted.len(), 2);
    let difference = store.undelete_book(old, OWNER).unwrap();
    assert_eq!(difference.created, ["a.vcf", "b.vcf"]);
    let restored = store.address_book(anna, "work").unwrap().unwrap();
    assert_eq!(
        (restored.id, restored.card_count, restored.display_name),
        (old, 2, "Work".to_owned())
    );
    // Whoever knew the book learns of the cards again.
    let changes = store
        .changes_since(old, Some(before.revision), None)
        .unwrap();
    assert_eq!((changes.changed.len(), changes.removed.len()), (2, 0));
    let again = store.undelete_book(old, OWNER);
    assert!(matches!(again, Err(BookError::NoSuchBook)), "{again:?}");
}

#[test]
fn shared_books_come_last_with_a_slug_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let own = new_book(&store, "bert");
    let bert = store.users().unwrap()[1].id;
    store.share_book(book, "bert", Access::ReadOnly).unwrap();
    let shared = &store.address_books(bert).unwrap()[1];
    assert_eq!((shared.id, shared.access), (book, Access::ReadOnly));
    assert_eq!(
        (shared.slug.as_str(), shared.personal),
        ("contacts-anna", false)
    );
    assert_eq!(shared.owner, "anna");
    let taken = store.create_book(bert, "contacts-anna", "", "");
    assert!(
        matches!(taken, Err(BookError::SlugTaken { .. })),
        "{taken:?}"
    );
    store.share_book(book, "bert", Access::ReadWrite).unwrap();
    let found = store.address_book(bert, "contacts-anna").unwrap().unwrap();
    assert_eq!((found.id, found.access), (book, Access::ReadWrite));
    assert_eq!(store.shares(book).unwrap().len(), 1);

    for (with, access) in [("anna", Access::ReadOnly), ("bert", Access::Owner)] {
        let refused = store.share_book(book, with, access);
        assert!(
            matches!(refused, Err(BookError::NotShareable)),
            "{refused:?}"
        );
    }
    let refused = store.share_book(book, "cleo", Access::ReadOnly);
    assert!(matches!(refused, Err(BookError::NoSuchUser)), "{refused:?}");
    assert!(store.unshare_book(book, "bert").unwrap());
    assert!(!store.unshare_book(book, "bert").unwrap());
    let books = store.address_books(bert).unwrap();
    assert_eq!(books.iter().map(|book| book.id).collect::<Vec<_>>(), [own]);
}

#[test]
fn dead_properties_are_all_set_or_none_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    let target = PropertyTarget::Book(book);
    let set_all = |dead| set(&store, &target, dead);
    assert_eq!(
        set_all(vec![property("a", Some("1")), property("b", Some("2"))]),
        PropertiesOutcome::Updated
    );
    let large = "x".repeat(PROPERTY_BYTES_MAX);
    assert_eq!(
        set_all(vec![property("a", None), property("c", Some(&large))]),
        PropertiesOutcome::TooLarge
    );
    let many = (0..PROPERTIES_MAX).map(|n| property(&n.to_string(), Some("")));
    assert_eq!(set_all(many.collect()), PropertiesOutcome::TooLarge);
    assert_eq!(
        store.properties(&target).unwrap(),
        [property("a", Some("1")), property("b", Some("2"))]
    );
    assert_eq!(
        set_all(vec![property("a", None), property("b", Some("3"))]),
        PropertiesOutcome::Updated
    );
    assert_eq!(
        store.properties(&target).unwrap(),
        [property("b", Some("3"))]
    );
    let missing = PropertyTarget::Card(book, "a.vcf".to_owned());
    let outcome = set(&store, &missing, vec![property("a", Some(""))]);
    assert_eq!(outcome, PropertiesOutcome::NoSuchResource);
}

#[test]
fn copy_and_move_take_everything_along() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let here = new_book(&store, "anna");
    let anna = store.users().unwrap()[0].id;
    let there = store.create_book(anna, "work", "", "").unwrap();
    let mut new = card(here, "a.vcf", b"a");
    new.uid = Some("u1".to_owned());
    new.text = "Anna".to_owned();
    store.put_card(new, Precondition::None, OWNER).unwrap();
    let properties = vec![property("color", Some("red"))];
    let at = |book, name: &str| PropertyTarget::Card(book, name.to_owned());
    set(&store, &at(here, "a.vcf"), properties.clone());

    let copy = |to_book, to_name: &str, overwrite| {
        let transfer = transfer((here, "a.vcf"), (to_book, to_name), overwrite);
        store.copy_card(transfer, OWNER).unwrap()
    };
    assert!(matches!(
        copy(there, "b.vcf", false),
        TransferOutcome::Created(_)
    ));
    assert_eq!(
        copy(there, "b.vcf", false),
        TransferOutcome::DestinationExists
    );
    assert!(matches!(
        copy(there, "b.vcf", true),
        TransferOutcome::Replaced(_)
    ));
    assert_eq!(copy(here, "a.vcf", true), TransferOutcome::SameCard);
    let conflict = |name: &str| TransferOutcome::UidConflict {
        name: name.to_owned(),
    };
    assert_eq!(copy(here, "c.vcf", true), conflict("a.vcf"));
    assert_eq!(store.search(anna, "anna", 9).unwrap().len(), 2);
    assert_eq!(store.properties(&at(there, "b.vcf")).unwrap(), properties);
    assert_eq!(store.card(there, "b.vcf").unwrap().unwrap().bytes, b"a");

    let moved = |from, to, overwrite| {
        let transfer = transfer(from, to, overwrite);
        store.move_card(transfer, OWNER).unwrap()
    };
    assert_eq!(
        moved((here, "x.vcf"), (there, "y.vcf"), true),
        TransferOutcome::NoSuchCard
    );
    assert_eq!(
        moved((here, "a.vcf"), (there, "c.vcf"), true),
        conflict("b.vcf")
    );
    // A card may be renamed although it is the one that has its UID.
    assert!(matches!(
        moved((here, "a.vcf"), (here, "c.vcf"), false),
        TransferOutcome::Created(_)
    ));
    assert_eq!(store.card(here, "a.vcf").unwrap(), None);
    assert_eq!(store.properties(&at(here, "a.vcf")).unwrap(), []);
    assert_eq!(store.properties(&at(here, "c.vcf")).unwrap(), properties);
    let versions = store.versions(here, "a.vcf").unwrap();
    assert_eq!(versions[1].kind, VersionKind::Deleted);
    assert_eq!(
        versions[1].reason.as_deref(),
        Some("moved to contacts/c.vcf")
    );
    let mut stale = transfer((here, "c.vcf"), (here, "d.vcf"), true);
    stale.source = Precondition::Match(Vec::new());
    assert_eq!(
        store.move_card(stale, OWNER).unwrap(),
        TransferOutcome::PreconditionFailed
    );
    let counts: Vec<_> = store
        .address_books(anna)
        .unwrap()
        .into_iter()
        .map(|book| book.card_count)
        .collect();
    assert_eq!(counts, [1, 1]);
}

fn set(store: &Store, target: &PropertyTarget, dead: Vec<DeadProperty>) -> PropertiesOutcome {
    let changes = PropertyChanges {
        dead,
        ..PropertyChanges::default()
    };
    store
        .change_properties(target.clone(), changes, Precondition::None, OWNER)
        .unwrap()
}

fn property(local: &str, value: Option<&str>) -> DeadProperty {
    DeadProperty {
        namespace: "urn:x".to_owned(),
        local: local.to_owned(),
        value: value.map(str::to_owned),
    }
}

fn transfer(from: (BookId, &str), to: (BookId, &str), overwrite: bool) -> Transfer {
    Transfer {
        from_book: from.0,
        from_name: from.1.to_owned(),
        to_book: to.0,
        to_name: to.1.to_owned(),
        overwrite,
        source: Precondition::None,
        destination: Precondition::None,
    }
}

fn put(store: &Store, book: BookId, name: &str, bytes: &str) {
    let card = card(book, name, bytes.as_bytes());
    store.put_card(card, Precondition::None, OWNER).unwrap();
}

fn delete(store: &Store, book: BookId, name: &str) {
    let actor = Actor {
        device: None,
        at: Timestamp(1_000),
    };
    store
        .delete_card(book, name, Precondition::None, actor)
        .unwrap();
}

#[test]
fn a_book_is_copied_only_for_who_may_read_it_and_not_when_it_is_huge() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let book = new_book(&store, "anna");
    new_book(&store, "bob");
    let users = store.users().unwrap();
    let (anna, bob) = (users[0].id, users[1].id);
    let copy = |user, slug, is_alone| {
        store.copy_book(user, book, slug, is_alone, Precondition::None, OWNER)
    };
    assert!(matches!(copy(bob, "a", false), Err(BookError::NoSuchBook)));
    store.share_book(book, "bob", Access::ReadOnly).unwrap();
    copy(bob, "a", false).unwrap();
    store.unshare_book(book, "bob").unwrap();
    assert!(matches!(copy(bob, "b", true), Err(BookError::NoSuchBook)));

    let big = card(book, "a.vcf", b"one");
    store.put_card(big, Precondition::None, OWNER).unwrap();
    let grow = |bytes: u64| {
        let database = rusqlite::Connection::open(directory.path().join("store.sqlite")).unwrap();
        let grown = database.execute("UPDATE cards SET size = ?1", [bytes]);
        assert_eq!(grown.unwrap(), 1);
    };
    grow((256 << 20) + 1);
    assert!(matches!(copy(anna, "c", false), Err(BookError::TooMuch)));
    assert!(store.address_book(anna, "c").unwrap().is_none());
    copy(anna, "c", true).unwrap();
    grow(256 << 20);
    copy(anna, "d", false).unwrap();
}

#[test]
fn dead_properties_go_with_their_book() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    new_book(&store, "anna");
    let anna = store.users().unwrap()[0].id;
    let color = DeadProperty {
        namespace: "x:".to_owned(),
        local: "color".to_owned(),
        value: Some("red".to_owned()),
    };
    let changes = PropertyChanges {
        dead: vec![color],
        ..PropertyChanges::default()
    };
    let made = store.make_book(anna, "work", changes, Precondition::None, OWNER);
    let book = made.unwrap();
    let target = PropertyTarget::Book(book);
    assert_eq!(store.properties(&target).unwrap().len(), 1);
    store.delete_book(book, Precondition::None, OWNER).unwrap();
    assert_eq!(store.properties(&target).unwrap(), []);
}
