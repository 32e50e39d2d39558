//! What happened, and the way back.

use cloudless_home::admin::{
    CardChoice, CardRestore, Cards, Change, ChangeKind, Command, Difference, Reply, RestoreTo,
    RestoredCard,
};
use cloudless_store::Actor;
use data_encoding::BASE64;

use crate::fixture::now;
use crate::offline::{Offline, card, named};

fn history(offline: &Offline, card: Option<CardChoice>, limit: usize) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    loop {
        let command = Command::History {
            user: None,
            book: None,
            card: card.clone(),
            since: None,
            before: changes.last().map(|change| change.id),
            limit,
        };
        let Reply::History {
            changes: page,
            more,
        } = offline.run(command)
        else {
            panic!()
        };
        assert!(page.len() <= limit);
        changes.extend(page);
        if !more {
            return changes;
        }
    }
}

/// Restores cards, after a dry run that has to say the same and change nothing.
fn restore(offline: &Offline, names: &[&str], to: RestoreTo) -> Vec<RestoredCard> {
    let command = |dry_run| Command::CardsRestore {
        user: None,
        book: "contacts".into(),
        cards: names.iter().map(|name| named(name)).collect(),
        to,
        dry_run,
    };
    let before = history(offline, None, 100);
    let dry = offline.run_at(command(true), 9_000);
    assert_eq!(history(offline, None, 100), before);
    let reply = offline.run_at(command(false), 9_000);
    assert_eq!(dry, reply);
    match reply {
        Reply::CardsRestored {
            cards, at: 9_000, ..
        } => cards,
        other => panic!("{other:?}"),
    }
}

fn restore_book(offline: &Offline, to: i64, dry_run: bool, at: i64) -> Difference {
    let command = Command::BookRestore {
        user: Some("me".into()),
        book: "contacts".into(),
        at: to,
        dry_run,
    };
    match offline.run_at(command, at) {
        Reply::BookRestored { difference, .. } => difference,
        other => panic!("{other:?}"),
    }
}

/// Ann came, changed and went, by the phone; Bob came.
fn story() -> Offline {
    let offline = Offline::new();
    let phone = offline.device("phone");
    offline.import_at(&[(None, &card("ann", "Ann"))], 1_000);
    offline.import_at(&[(None, &card("bob", "Bob"))], 2_000);
    offline.import_at(&[(None, &card("ann", "Ann Lee"))], 3_000);
    offline.delete("ann.vcf", Some(phone), 4_000);
    offline
}

#[test]
fn the_history_tells_who_did_what_and_when_page_by_page() {
    let offline = story();
    for limit in [1, 2, 100] {
        let told: Vec<_> = history(&offline, None, limit)
            .into_iter()
            .map(|change| (change.at, change.change, change.name, change.version))
            .collect();
        let row = |at, change, name: &str, version| (at, change, name.to_owned(), version);
        assert_eq!(
            told,
            [
                row(4_000, ChangeKind::Deleted, "ann.vcf", 3),
                row(3_000, ChangeKind::Changed, "ann.vcf", 2),
                row(2_000, ChangeKind::Created, "bob.vcf", 1),
                row(1_000, ChangeKind::Created, "ann.vcf", 1),
            ]
        );
    }
    let ann = history(&offline, Some(named("ann")), 100);
    assert_eq!(ann.len(), 3);
    assert_eq!(ann[0].device.as_deref(), Some("phone"));
    assert_eq!((ann[0].size, ann[1].device.clone()), (None, None));
    assert_eq!(ann[1].full_name.as_deref(), Some("Ann Lee"));
    assert_eq!(
        ann,
        history(&offline, Some(CardChoice::Uid("ann".into())), 100)
    );
    let error = offline.error(Command::History {
        user: None,
        book: Some("contacts".into()),
        card: Some(named("carl")),
        since: None,
        before: None,
        limit: 1,
    });
    assert!(error.contains("carl"), "{error}");
}

#[test]
fn with_several_users_one_is_named() {
    let offline = story();
    offline.run(Command::UserAdd { name: "you".into() });
    let version = |user: Option<&str>| Command::Version {
        user: user.map(str::to_owned),
        book: "contacts".into(),
        card: named("bob"),
        version: None,
    };
    let error = offline.error(version(None));
    assert!(error.contains("--user: me, "), "{error}");
    assert!(matches!(
        offline.run(version(Some("me"))),
        Reply::Version(_)
    ));
}

#[test]
fn earlier_bytes_are_given() {
    let offline = story();
    let show = |version| {
        let command = Command::Version {
            user: None,
            book: "contacts".into(),
            card: named("ann"),
            version,
        };
        match offline.run(command) {
            Reply::Version(past) => (
                past.version,
                String::from_utf8(BASE64.decode(past.bytes_base64.as_bytes()).unwrap()).unwrap(),
            ),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(show(Some(1)), (1, card("ann", "Ann")));
    // Of a deleted card what it last was.
    assert_eq!(show(None), (2, card("ann", "Ann Lee")));
}

#[test]
fn a_deleted_card_comes_back_and_a_version_too() {
    let offline = story();
    let [ann] = &restore(&offline, &["ann"], RestoreTo::BeforeDeletion)[..] else {
        panic!()
    };
    assert_eq!(
        (ann.name.as_str(), &ann.outcome),
        ("ann.vcf", &CardRestore::Restored)
    );
    assert_eq!(offline.text("ann.vcf"), card("ann", "Ann Lee"));
    // A card that is there is not overwritten by a slip of the hand.
    let again = restore(&offline, &["ann"], RestoreTo::BeforeDeletion);
    assert!(
        matches!(&again[0].outcome, CardRestore::Refused { reason } if reason.contains("--version"))
    );
    restore(&offline, &["ann"], RestoreTo::Version(1));
    assert_eq!(offline.text("ann.vcf"), card("ann", "Ann"));
    let wrong = restore(&offline, &["ann"], RestoreTo::Version(3));
    assert!(
        matches!(wrong[0].outcome, CardRestore::Refused { .. }),
        "a deletion has no bytes"
    );

    let cards = restore(&offline, &["ann", "bob"], RestoreTo::Moment(3_500));
    assert_eq!(cards[0].outcome, CardRestore::Restored);
    assert_eq!(cards[1].outcome, CardRestore::Unchanged);
    assert_eq!(offline.text("ann.vcf"), card("ann", "Ann Lee"));
    let cards = restore(&offline, &["bob"], RestoreTo::Moment(1_500));
    assert!(
        matches!(cards[0].outcome, CardRestore::Refused { .. }),
        "not there then"
    );
    assert_eq!(offline.names(), ["ann.vcf", "bob.vcf"]);
}

#[test]
fn a_dry_restore_of_cards_shows_the_difference() {
    let offline = story();
    offline.import_at(&[(None, &card("bob", "Bob Lee"))], 5_000);
    let command = Command::CardsRestore {
        user: None,
        book: "contacts".into(),
        cards: vec![named("ann"), named("bob")],
        to: RestoreTo::Moment(2_500),
        dry_run: true,
    };
    let Reply::CardsRestored { difference, .. } = offline.run_at(command, 9_000) else {
        panic!()
    };
    let names = |cards: &Cards| -> Vec<_> {
        let cards = cards.cards.iter().cloned();
        cards.map(|card| (card.name, card.full_name)).collect()
    };
    let row = |name: &str, full_name: &str| (name.to_owned(), Some(full_name.to_owned()));
    assert_eq!(names(&difference.created), [row("ann.vcf", "Ann")]);
    assert_eq!(names(&difference.changed), [row("bob.vcf", "Bob")]);
    assert_eq!(offline.names(), ["bob.vcf"], "a dry run changes nothing");
}

#[test]
fn cards_without_a_full_name_are_told_by_the_parts_of_their_name() {
    let offline = Offline::new();
    let parts = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:eve\r\nN:Moss;Eve;;;\r\nEND:VCARD\r\n";
    offline.import_at(&[(None, parts)], 2_000);
    let dry = restore_book(&offline, 1_000, true, 10_000);
    assert_eq!(dry.deleted.cards[0].full_name.as_deref(), Some("Eve Moss"));
}

#[test]
fn a_card_whose_uid_is_taken_says_by_whom() {
    let offline = story();
    offline.import_at(&[(Some("other.vcf"), &card("ann", "Ann again"))], 5_000);
    let cards = restore(&offline, &["ann.vcf"], RestoreTo::BeforeDeletion);
    assert!(
        matches!(&cards[0].outcome, CardRestore::Refused { reason } if reason.contains("other.vcf")),
        "{cards:?}"
    );
}

#[test]
fn an_address_book_goes_back_and_forth() {
    let offline = story();
    let dry = restore_book(&offline, 1_500, true, 10_000);
    assert_eq!(offline.names(), ["bob.vcf"], "a dry run changes nothing");
    assert_eq!(
        (dry.created.count, dry.changed.count, dry.deleted.count),
        (1, 0, 1)
    );
    assert_eq!(dry.created.cards[0].full_name.as_deref(), Some("Ann"));
    assert_eq!(dry.deleted.cards[0].full_name.as_deref(), Some("Bob"));

    assert_eq!(restore_book(&offline, 1_500, false, 10_000), dry);
    assert_eq!(offline.names(), ["ann.vcf"]);
    assert_eq!(offline.text("ann.vcf"), card("ann", "Ann"));
    assert!(restore_book(&offline, 1_500, false, 10_001).is_empty());

    // The moment before the restore undoes it.
    restore_book(&offline, 9_999, false, 11_000);
    assert_eq!(offline.names(), ["bob.vcf"]);
}

#[test]
fn a_pruned_moment_is_named() {
    let offline = story();
    offline
        .store
        .prune(cloudless_store::Timestamp(3_500))
        .unwrap();
    let error = offline.error(Command::BookRestore {
        user: None,
        book: "contacts".into(),
        at: 1_500,
        dry_run: true,
    });
    assert!(error.contains("1970-01-01 00:00:04 UTC"), "{error}");
}

#[test]
fn a_dry_prune_says_what_goes_and_keeps_it() {
    let offline = story();
    let prune = |dry_run| {
        offline.run(Command::Prune {
            before: 3_500,
            dry_run,
        })
    };
    let dry = prune(true);
    assert!(
        matches!(dry, Reply::Pruned { versions: 1, bytes } if bytes > 0),
        "{dry:?}"
    );
    assert_eq!(history(&offline, None, 100).len(), 4);
    assert_eq!(prune(false), dry);
    assert_eq!(history(&offline, None, 100).len(), 3);
    assert!(matches!(prune(true), Reply::Pruned { versions: 0, .. }));
}

#[test]
fn a_refused_body_comes_back_only_if_it_is_a_card() {
    let offline = story();
    let (book, actor) = (
        offline.book("contacts"),
        Actor {
            device: None,
            at: now(),
        },
    );
    let keep = |name: &str, body: &str| {
        let refused = "it was refused for a reason";
        let body = body.as_bytes().to_vec();
        offline
            .store
            .keep_refused(book, name, body, refused, actor)
            .unwrap();
    };
    keep("eve.vcf", "BEGIN:VCARD\r\nFN:Eve, cut off");
    keep("zoe.vcf", &card("zoe", "Zoe"));
    keep("fake.vcf", &card("bob", "A second Bob"));
    let before = offline.names();

    let eve = restore(&offline, &["eve.vcf"], RestoreTo::Version(1));
    assert!(
        matches!(&eve[0].outcome, CardRestore::Refused { reason }
            if reason.contains("END:VCARD") && reason.contains("contacts show")),
        "{eve:?}"
    );
    let fake = restore(&offline, &["fake.vcf"], RestoreTo::Version(1));
    assert!(
        matches!(&fake[0].outcome, CardRestore::Refused { reason } if reason.contains("bob.vcf")),
        "{fake:?}"
    );
    assert_eq!(offline.names(), before);
    let zoe = restore(&offline, &["zoe.vcf"], RestoreTo::Version(1));
    assert_eq!(zoe[0].outcome, CardRestore::Restored);
    assert_eq!(offline.text("zoe.vcf"), card("zoe", "Zoe"));
}
