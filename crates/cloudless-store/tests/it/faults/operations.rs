//! Everything that writes, one entry each.

use std::fmt::Debug;
use std::path::Path;

use cloudless_store::{
    Access, AccountError, Actor, BackupError, BookError, BookId, DeadProperty, IndexEntry, NewCard,
    NewIndex, OpenError, Precondition, PropertyChanges, PropertyTarget, Store, StoreError,
    Timestamp, Transfer, UserId,
};
use rusqlite::Connection;

use crate::OWNER;

/// Something that writes.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Makes what is there before; nothing fails meanwhile.
    pub(crate) prepare: fn(&Path),
    /// What is done after the store was opened. Each call is acknowledged on its own, and is whole
    /// or not at all.
    pub(crate) calls: &'static [Call],
}

type Call = fn(&Place<'_>) -> Result<(), Failure>;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "a new store",
        prepare: |_| {},
        calls: &[|at| done(at.store.create_user("anna", Timestamp(0)))],
    },
    Operation {
        name: "migration with its copy",
        prepare: first_version,
        calls: &[],
    },
    Operation {
        name: "PUT of a new card",
        prepare: stocked,
        calls: &[|at| put(at, "new.vcf", "Nadia New", Precondition::MustNotExist)],
    },
    Operation {
        name: "PUT of a changed card",
        prepare: stocked,
        calls: &[|at| put(at, "3.vcf", "Carla Changed", Precondition::MustExist)],
    },
    Operation {
        name: "PUT of a card with a photo",
        prepare: stocked,
        calls: &[|at| {
            let mut card = card(at.book()?, "photo.vcf", "Paula Photo");
            card.bytes.extend([b'x'; 100_000]);
            done(at.store.put_card(card, Precondition::None, at.phone()?))
        }],
    },
    Operation {
        name: REFUSED,
        prepare: stocked,
        calls: &[|at| put(at, "3.vcf", "Rita Refused", Precondition::MustNotExist)],
    },
    Operation {
        name: "PUT of what is no card",
        prepare: stocked,
        calls: &[|at| {
            let (bytes, reason) = (b"no card".to_vec(), "it is no vCard");
            done(
                at.store
                    .keep_refused(at.book()?, "no.vcf", bytes, reason, at.phone()?),
            )
        }],
    },
    Operation {
        name: "DELETE",
        prepare: stocked,
        calls: &[|at| delete(at, "3.vcf")],
    },
    Operation {
        name: "DELETE of a book",
        prepare: stocked,
        calls: &[|at| {
            done(
                at.store
                    .delete_book(at.work()?, Precondition::None, at.phone()?),
            )
        }],
    },
    Operation {
        name: "undelete of a book",
        prepare: |directory| {
            stocked_and(directory, |at| {
                done(
                    at.store
                        .delete_book(at.work()?, Precondition::None, at.phone()?),
                )
            })
        },
        calls: &[|at| {
            let book = at.store.deleted_books(at.anna()?)?[0].id;
            done(at.store.undelete_book(book, at.phone()?))
        }],
    },
    Operation {
        name: "COPY",
        prepare: stocked,
        calls: &[|at| done(at.store.copy_card(transfer(at)?, at.phone()?))],
    },
    Operation {
        name: "MOVE",
        prepare: stocked,
        calls: &[|at| done(at.store.move_card(transfer(at)?, at.phone()?))],
    },
    Operation {
        name: "PROPPATCH",
        prepare: stocked,
        calls: &[
            |at| set_properties(at, &["two", "three"]),
            |at| done(at.store.describe_book(at.book()?, Some("Everybody"), None)),
        ],
    },
    Operation {
        name: "MKCOL and sharing",
        prepare: stocked,
        calls: &[
            |at| done(at.store.create_book(at.anna()?, "new", "New", "")),
            |at| done(at.store.share_book(at.book()?, "bert", Access::ReadOnly)),
            |at| done(at.store.unshare_book(at.book()?, "bert")),
        ],
    },
    Operation {
        name: "import of a batch",
        prepare: stocked,
        calls: &[|at| {
            let book = at.book()?;
            let cards =
                (0..50).map(|n| card(book, &format!("import-{n}.vcf"), &format!("Ines Import{n}")));
            done(at.store.put_cards(cards.collect(), OWNER))
        }],
    },
    Operation {
        name: "restore of a card",
        prepare: stocked,
        calls: &[
            |at| done(at.store.restore_card(at.book()?, "1.vcf", 1, OWNER)),
            |at| done(at.store.undelete_card(at.book()?, "0.vcf", OWNER)),
        ],
    },
    Operation {
        name: "restore of a book",
        prepare: stocked,
        calls: &[|at| {
            done(
                at.store
                    .restore_book(at.book()?, Timestamp(BEFORE), false, OWNER),
            )
        }],
    },
    Operation {
        name: "undo of an alarm",
        prepare: stocked,
        calls: &[|at| {
            let alarm = at.store.alarms()?[0].id;
            done(at.store.undo_mass_deletion(alarm, OWNER))
        }],
    },
    Operation {
        name: "merge of duplicates",
        prepare: stocked,
        calls: &[
            |at| put(at, "5.vcf", "Joined", Precondition::MustExist),
            |at| delete(at, "6.vcf"),
            |at| delete(at, "7.vcf"),
        ],
    },
    Operation {
        name: "prune",
        prepare: stocked,
        calls: &[|at| done(at.store.prune(Timestamp(i64::MAX)))],
    },
    Operation {
        name: "backup",
        prepare: stocked,
        calls: &[|at| done(at.store.back_up(&at.directory.join(BACKUP)))],
    },
    Operation {
        name: "users and devices",
        prepare: stocked,
        calls: &[
            |at| done(at.store.create_user("carl", Timestamp(0))),
            |at| done(at.store.add_device("carl", "phone", [3; 32], Timestamp(0))),
            |at| done(at.store.revoke_device("anna", "phone", Timestamp(0))),
        ],
    },
    Operation {
        name: "indexes",
        prepare: |directory| {
            stocked_and(directory, |at| {
                done(at.store.restore_card(at.book()?, "1.vcf", 1, OWNER))
            })
        },
        calls: &[
            |at| done(at.store.put_index(unindexed(at.store)?)),
            |at| done(at.store.set_index_rules(2)),
            |at| done(at.store.put_index(unindexed(at.store)?)),
        ],
    },
    Operation {
        name: "settings and incarnations",
        prepare: stocked,
        calls: &[|at| done(at.store.set_alarm_share(40))],
    },
    Operation {
        name: "checkpoint while writing",
        prepare: stocked,
        calls: &[
            |at| {
                let mut card = card(at.book()?, "huge.vcf", "Hugo Huge");
                card.bytes.resize(20 << 20, b'x');
                done(at.store.put_card(card, Precondition::None, at.phone()?))
            },
            |at| put(at, "after.vcf", "Anton After", Precondition::None),
            |at| put(at, "later.vcf", "Lena Later", Precondition::None),
        ],
    },
];

/// An operation that is acknowledged also when there is no room for what it keeps.
pub(crate) const REFUSED: &str = "PUT that a precondition refuses";
/// What the backup is called.
pub(crate) const BACKUP: &str = "backup.sqlite";
/// The moment before the deletions and changes of [`stocked`].
const BEFORE: i64 = 1_000;

/// Where the calls write.
pub(crate) struct Place<'a> {
    pub(crate) store: &'a Store,
    pub(crate) directory: &'a Path,
}

impl Place<'_> {
    fn anna(&self) -> Result<UserId, Failure> {
        Ok(self.store.users()?[0].id)
    }

    /// Anna's personal book.
    fn book(&self) -> Result<BookId, Failure> {
        Ok(self.store.address_books(self.anna()?)?[0].id)
    }

    /// Another one of hers.
    fn work(&self) -> Result<BookId, Failure> {
        let book = self.store.address_book(self.anna()?, "work")?;
        Ok(book.expect("she has it unless it is deleted").id)
    }

    fn phone(&self) -> Result<Actor, Failure> {
        Ok(Actor {
            device: Some(self.store.devices(Some("anna"))?[0].id),
            at: Timestamp(2_000),
        })
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    /// Whether the store says that the disk is full; `None` for another failure.
    pub(crate) is_full: Option<bool>,
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

fn done<T, E>(result: Result<T, E>) -> Result<(), Failure>
where
    Failure: From<E>,
{
    Ok(result.map(drop)?)
}

fn put(
    at: &Place<'_>,
    name: &str,
    full_name: &str,
    precondition: Precondition,
) -> Result<(), Failure> {
    let card = card(at.book()?, name, full_name);
    done(at.store.put_card(card, precondition, at.phone()?))
}

fn delete(at: &Place<'_>, name: &str) -> Result<(), Failure> {
    done(
        at.store
            .delete_card(at.book()?, name, Precondition::None, at.phone()?),
    )
}

fn transfer(at: &Place<'_>) -> Result<Transfer, Failure> {
    Ok(Transfer {
        from_book: at.book()?,
        from_name: "4.vcf".to_owned(),
        to_book: at.work()?,
        to_name: "w1.vcf".to_owned(),
        overwrite: true,
        source: Precondition::MustExist,
        destination: Precondition::MustExist,
    })
}

/// Gives a card dead properties of these names.
fn set_properties(at: &Place<'_>, names: &[&str]) -> Result<(), Failure> {
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
fn card(book: BookId, name: &str, full_name: &str) -> NewCard {
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

fn unindexed(store: &Store) -> Result<Vec<NewIndex>, StoreError> {
    let cards = store.cards_without_index(100)?.into_iter();
    Ok(cards
        .map(|card| NewIndex {
            entries: Vec::new(),
            text: String::from_utf8_lossy(&card.bytes).into_owned(),
            card,
        })
        .collect())
}

/// A store in which every table has rows.
fn stocked(directory: &Path) {
    stocked_and(directory, |_| Ok(()));
}

/// The same after more was done.
fn stocked_and(directory: &Path, more: impl FnOnce(&Place<'_>) -> Result<(), Failure>) {
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
fn first_version(directory: &Path) {
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
