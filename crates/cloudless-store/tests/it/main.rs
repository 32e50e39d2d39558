//! The store from outside: what callers see, what survives.

#![expect(
    clippy::unwrap_used,
    reason = "the lint knows only functions marked as tests"
)]

mod alarms;
mod backup;
mod books;
mod changes;
mod concurrency;
mod damage;
mod directory;
mod disk;
mod faults;
mod full_disk;
mod kill;
mod push;
mod refused;
mod resources;
mod restore;
mod story;

use cloudless_store::{Actor, BookId, NewCard, Store, Timestamp};

const OWNER: Actor = Actor {
    device: None,
    at: Timestamp(1_000),
};

/// A new user's address book.
fn new_book(store: &Store, user: &str) -> BookId {
    let user = store.create_user(user, Timestamp(0)).unwrap();
    store.address_books(user).unwrap()[0].id
}

fn card(book: BookId, name: &str, bytes: &[u8]) -> NewCard {
    NewCard {
        book,
        name: name.to_owned(),
        bytes: bytes.to_vec(),
        uid: None,
        full_name: None,
        index: Vec::new(),
        text: String::new(),
    }
}
