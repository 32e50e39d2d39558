//! Several address books, shared ones, and ones that were removed.

use cloudless_home::admin::{Access, Book, BookChange, Command, Reply};

use crate::offline::{Offline, card};

fn change(offline: &Offline, user: &str, book: &str, change: BookChange) -> Reply {
    offline.run(Command::Book {
        user: Some(user.into()),
        book: book.into(),
        change,
    })
}

fn changed(reply: Reply) -> Book {
    match reply {
        Reply::BookChanged { book: Some(book) } => book,
        other => panic!("{other:?}"),
    }
}

fn refused(reply: Reply) -> String {
    match reply {
        Reply::Error { message } => message,
        other => panic!("{other:?}"),
    }
}

fn books(offline: &Offline, user: &str) -> (Vec<Book>, usize) {
    let user = Some(user.to_owned());
    match offline.run(Command::Books { user }) {
        Reply::Books { books, removed } => (books, removed.len()),
        other => panic!("{other:?}"),
    }
}

fn add(name: &str) -> BookChange {
    BookChange::Add {
        display_name: name.into(),
    }
}

fn share(access: Access) -> BookChange {
    BookChange::Share {
        with: "bob".into(),
        access,
    }
}

#[test]
fn a_book_is_added_renamed_removed_and_brought_back() {
    let offline = Offline::new();
    let book = changed(change(&offline, "me", "club", add("Club")));
    assert_eq!(
        (book.display_name.as_str(), book.access),
        ("Club", Access::Owner)
    );
    assert!(refused(change(&offline, "me", "club", add("Club"))).contains("club"));
    let rename = BookChange::Rename {
        display_name: "Sailing".into(),
    };
    assert_eq!(
        changed(change(&offline, "me", "club", rename)).display_name,
        "Sailing"
    );

    let cards = vec![cloudless_home::admin::ImportCard {
        name: None,
        bytes_base64: data_encoding::BASE64.encode(card("ann", "Ann").as_bytes()),
    }];
    let (user, book) = (Some("me".into()), "club".into());
    offline.run(Command::CardsPut { user, book, cards });
    assert_eq!(
        change(&offline, "me", "club", BookChange::Remove),
        Reply::BookChanged { book: None }
    );
    let (left, removed) = books(&offline, "me");
    assert_eq!((left.len(), removed), (1, 1));
    // What happened in it is still told.
    let history = offline.run(Command::History {
        user: None,
        book: Some("club".into()),
        card: None,
        since: None,
        before: None,
        limit: 9,
    });
    assert!(matches!(history, Reply::History { changes, .. } if changes.len() == 2));
    let back = changed(change(&offline, "me", "club", BookChange::Restore));
    assert_eq!((back.display_name.as_str(), back.cards), ("Sailing", 1));
    assert!(refused(change(&offline, "me", "club", BookChange::Restore)).contains("club"));
    assert!(refused(change(&offline, "me", "contacts", BookChange::Remove)).contains("personal"));
}

#[test]
fn only_the_owner_changes_a_shared_book() {
    let offline = Offline::new();
    changed(change(&offline, "me", "club", add("Club")));
    let unknown = refused(change(&offline, "me", "club", share(Access::ReadOnly)));
    assert!(unknown.contains("cloudless user add bob"), "{unknown}");
    offline.run(Command::UserAdd { name: "bob".into() });
    let shared = changed(change(&offline, "me", "club", share(Access::ReadOnly)));
    assert_eq!(
        (shared.shares[0].user.as_str(), shared.shares[0].access),
        ("bob", Access::ReadOnly)
    );
    let shared = changed(change(&offline, "me", "club", share(Access::ReadWrite)));
    assert_eq!(shared.shares.len(), 1);
    assert_eq!(shared.shares[0].access, Access::ReadWrite);

    let (his, _) = books(&offline, "bob");
    let [_, his] = &his[..] else {
        panic!("{his:?}")
    };
    assert_eq!((his.owner.as_str(), his.access), ("me", Access::ReadWrite));
    for wrong in [BookChange::Remove, share(Access::ReadOnly)] {
        assert!(refused(change(&offline, "bob", &his.slug, wrong)).contains("belongs to me"));
    }
    assert!(refused(change(&offline, "me", "club", share(Access::Owner))).contains("read"));
    let unshare = || BookChange::Unshare { with: "bob".into() };
    assert_eq!(
        changed(change(&offline, "me", "club", unshare())).shares,
        []
    );
    assert_eq!(books(&offline, "bob").0.len(), 1);
    assert!(refused(change(&offline, "me", "club", unshare())).contains("not shared with bob"));
}
