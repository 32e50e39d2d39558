//! The stores that operations begin with.

use std::fmt::Debug;
use std::path::Path;

use cloudless_store::{
    Access, AccountError, Actor, BackupError, BookError, BookId, DeadProperty, IndexEntry, NewCard,
    OpenError, Precondition, PropertyChanges, PropertyTarget, ResourceError, Store, StoreError,
    Timestamp, UserId,
};
use rusqlite::Connection;

use crate::OWNER;

/// The moment before the deletions and changes of [`stocked`].
pub(super) const BEFORE: i64 = 1_000;

/// Where the calls write.
pub(super) struct Place<'a> {
    pub(super) store: &'a Store,
    pub(super) directory: &'a Path,
}

impl Place<'_> {
    pub(super) fn anna(&self) -> Result<UserId, Failure> {
        Ok(self.store.users()?[0].id)
    }

    /// Anna's personal book.
    pub(super) fn book(&self) -> Result<BookId, Failure> {
        Ok(self.store.address_books(self.anna()?)?[0].id)
    }

    /// Another one of hers.
    pub(super) fn work(&self) -> Result<BookId, Failure> {
        let book = self.store.address_book(self.anna()?, "work")?;
        Ok(book.expect("she has it unless it is deleted").id)
    }

    pub(super) fn phone(&self) -> Result<Actor, Failure> {
        Ok(Actor {
            device: Some(self.store.devices(Some("anna"))?[0].id),
            at: Timestamp(2_000),
        })
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    /// Whether the store says that the disk is full; `None` for another failure.
    pub(super) is_full: Option<bool>,
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::new(&error, None)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(&error, Some(&error))
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Store(error) => error.into(),
            error => Self::new(&error, None),
        }
    }
}

impl From<BookError> for Failure {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Store(error) => error.into(),
            error => Self::new(&error, None),
        }
    }
}

impl From<ResourceError> for Failure {
    fn from(error: ResourceError) -> Self {
        match error {
            ResourceError::Store(error) => error.into(),
            error => Self::new(&error, None),
        }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => error.into(),
            error => Self::new(&error, None),
        }
    }
}

impl Failure {
    fn new(error: &dyn Debug, of_store: Option<&StoreError>) -> Self {
        Self {
            text: format!("{error:?}"),
            is_full: of_store.map(StoreError::is_full),
        }
    }
}

/// A store in which every table has rows.
pub(super) fn stocked(directory: &Path) {
    stocked_and(directory, |_| Ok(()));
}

/// The same after more was done.
pub(super) fn stocked_and(directory: &Path, more: impl FnOnce(&Place<'_>) -> Result<(), Failure>) {
    let store = &Store::open(directory).unwrap();
    let at = &Place { store, directory };
    let stocked = || {
        at.store.create_user("anna", Timestamp(0))?;
        at.store.create_user("bert", Timestamp(0))?;
        at.store
            .add_device("anna", "phone", [1; 32], Timestamp(0))?;
        at.store.set_index_rules(1)?;
        let work = at.store.create_book(at.anna()?, "work", "Work", "")?;
        at.store.share_book(work, "bert", Access::ReadWrite)?;
        let book = at.book()?;
        let cards = (0..30).map(|n| card(book, &format!("{n}.vcf"), &format!("Person Number{n}")));
        let early = Actor {
            device: None,
            at: Timestamp(BEFORE),
        };
        at.store.put_cards(cards.collect(), early)?;
        let cards =
            (0..5).map(|n| card(work, &format!("w{n}.vcf"), &format!("Colleague Number{n}")));
        at.store.put_cards(cards.collect(), early)?;
        set_properties(at, &["one"])?;
        put(at, "1.vcf", "Person Renamed", Precondition::None)?;
        put(at, "2.vcf", "Person Refused", Precondition::MustNotExist)?;
        // Enough for an alarm.
        for n in (10..25).chain([0]) {
            delete(at, &format!("{n}.vcf"))?;
        }
        more(at)
    };
    stocked().unwrap();
}

/// A database of the first schema.
pub(super) fn first_version(directory: &Path) {
    let database = Connection::open(directory.join("store.sqlite")).unwrap();
    database
        .execute_batch(include_str!("../../../src/schema/version_1.sql"))
        .unwrap();
    database
        .execute_batch(
            "PRAGMA user_version = 1;
             PRAGMA journal_mode = WAL;
             INSERT INTO users (name, created_at) VALUES ('anna', 1);
             INSERT INTO address_books (user_id, slug, display_name, incarnation, revision)
             VALUES (1, 'contacts', 'Contacts', '01', 60);
             WITH RECURSIVE numbers (n) AS (
                 SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 60
             )
             INSERT INTO versions
                 (id, book_id, name, number, kind, at, etag, uid, full_name, bytes)
             SELECT n, 1, n || '.vcf', 1, 'created', n, 'tag' || n, 'uid' || n, 'Person ' || n,
                 CAST('card ' || n AS BLOB)
             FROM numbers;
             INSERT INTO cards
             SELECT 1, name, id, id, at, id, etag, length(bytes), uid FROM versions;",
        )
        .unwrap();
}

pub(super) fn put(
    at: &Place<'_>,
    name: &str,
    full_name: &str,
    precondition: Precondition,
) -> Result<(), Failure> {
    let card = card(at.book()?, name, full_name);
    done(at.store.put_card(card, precondition, at.phone()?))
}

pub(super) fn delete(at: &Place<'_>, name: &str) -> Result<(), Failure> {
    done(
        at.store
            .delete_card(at.book()?, name, Precondition::None, at.phone()?),
    )
}

/// Gives a card dead properties of these names.
pub(super) fn set_properties(at: &Place<'_>, names: &[&str]) -> Result<(), Failure> {
    let target = PropertyTarget::Card(at.book()?, "4.vcf".to_owned());
    let dead = names.iter().map(|name| DeadProperty {
        namespace: "urn:example".to_owned(),
        local: (*name).to_owned(),
        value: Some("<value/>".to_owned()),
    });
    let changes = PropertyChanges {
        dead: dead.collect(),
        ..PropertyChanges::default()
    };
    done(
        at.store
            .change_properties(target, changes, Precondition::None, OWNER),
    )
}

/// A card that the index finds by its last word.
pub(super) fn card(book: BookId, name: &str, full_name: &str) -> NewCard {
    NewCard {
        uid: Some(format!("uid-{name}")),
        full_name: Some(full_name.to_owned()),
        index: vec![IndexEntry {
            property: "FN".to_owned(),
            value: full_name.to_owned(),
        }],
        text: full_name.to_owned(),
        ..crate::card(book, name, format!("{name} {full_name}").as_bytes())
    }
}

pub(super) fn done<T, E>(result: Result<T, E>) -> Result<(), Failure>
where
    Failure: From<E>,
{
    Ok(result.map(drop)?)
}
