//! Everything that writes, one entry each.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cloudless_store::{
    Access, NewContent, NewIndex, NewPushRegistration, Precondition, ResourceTransfer,
    ResourceTransferKind, Store, StoreError, Timestamp, Transfer,
};
use rusqlite::Connection;

use super::place::{
    BEFORE, Failure, Place, card, delete, done, first_version, put, set_properties, stocked,
    stocked_and,
};
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
            |at| done(at.store.restore_card(at.book()?, "1.vcf", 1, false, OWNER)),
            |at| done(at.store.undelete_card(at.book()?, "0.vcf", false, OWNER)),
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
                done(at.store.restore_card(at.book()?, "1.vcf", 1, false, OWNER))
            })
        },
        calls: &[
            |at| done(at.store.put_index(unindexed(at.store)?)),
            |at| done(at.store.set_index_rules(2)),
            |at| done(at.store.put_index(unindexed(at.store)?)),
        ],
    },
    Operation {
        name: "COPY and MOVE of a book",
        prepare: stocked,
        calls: &[
            |at| {
                let (none, phone) = (Precondition::None, at.phone()?);
                done(
                    at.store
                        .copy_book(at.anna()?, at.work()?, "copy", false, none, phone),
                )
            },
            |at| {
                let (none, phone) = (Precondition::None, at.phone()?);
                done(
                    at.store
                        .rename_book(at.anna()?, at.work()?, "moved", none, phone),
                )
            },
        ],
    },
    Operation {
        name: "plain collections and resources",
        prepare: stocked,
        calls: &[
            |at| {
                let (path, none) = (vec!["notes".to_owned()], Precondition::None);
                done(
                    at.store
                        .make_collection(at.anna()?, path, Vec::new(), none, OWNER),
                )
            },
            |at| {
                let path = vec!["notes".to_owned(), "one".to_owned()];
                let content = NewContent {
                    bytes: vec![b'x'; 20_000],
                    content_type: None,
                };
                done(
                    at.store
                        .put_resource(at.anna()?, path, content, Precondition::None, OWNER),
                )
            },
            |at| {
                let transfer = ResourceTransfer {
                    user: at.anna()?,
                    from: vec!["notes".to_owned()],
                    to: vec!["copy".to_owned()],
                    kind: ResourceTransferKind::Copy,
                    overwrite: false,
                    precondition: Precondition::None,
                };
                done(at.store.transfer_resource(transfer, OWNER))
            },
            |at| {
                let path = vec!["notes".to_owned()];
                done(
                    at.store
                        .delete_resource(at.anna()?, path, Precondition::None, OWNER),
                )
            },
        ],
    },
    Operation {
        name: "registration for pushes, and what is to be told",
        prepare: stocked,
        calls: &[
            |at| {
                let device = at.phone()?.device.expect("it is one");
                let registration = NewPushRegistration {
                    book: at.book()?,
                    user: at.anna()?,
                    push_resource: "https://push.example/1".to_owned(),
                    public_key: vec![4; 65],
                    auth_secret: vec![5; 16],
                    on_content: true,
                    on_properties: true,
                    expires_at: Timestamp(9_000),
                };
                done(
                    at.store
                        .register_push(registration, device, Timestamp(2_000)),
                )
            },
            |at| put(at, "new.vcf", "Nadia New", Precondition::MustNotExist),
        ],
    },
    Operation {
        name: "search index, when idle",
        prepare: stocked,
        calls: &[wait_for_search_index],
    },
    Operation {
        name: "settings",
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

/// Waits until the writer was idle and has taken all texts into the index; a write wakes it up.
fn wait_for_search_index(at: &Place<'_>) -> Result<(), Failure> {
    const WAITING: &str = "SELECT 1 FROM card_index
        WHERE id > coalesce((SELECT value FROM settings WHERE name = 'trigrams_to'), 0)";
    at.store.set_alarm_share(40)?;
    let database = at.directory.join("store.sqlite");
    // Its own reads may meet the fault too.
    let is_waiting = || Connection::open(&database)?.prepare(WAITING)?.exists([]);
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        if is_waiting() == Ok(false) {
            return Ok(());
        }
        thread::yield_now();
    }
    Err(Failure {
        text: "the texts are not in the index".to_owned(),
        is_full: None,
    })
}
