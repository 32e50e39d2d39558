//! Finding cards, finding them twice, and joining them.

use cloudless_home::admin::{
    Command, DuplicateGroup, Found, MergeChoice, Merged, Reply, RestoreTo, SameBecause,
};
use data_encoding::BASE64;

use crate::offline::{Offline, card, named};

fn with(uid: &str, full_name: &str, lines: &str) -> String {
    card(uid, full_name).replace("END:", &format!("{lines}\r\nEND:"))
}

fn search(offline: &Offline, text: &str) -> Vec<Found> {
    let reply = offline.run(Command::Search {
        user: None,
        book: None,
        text: text.into(),
        limit: 10,
    });
    match reply {
        Reply::Found { cards } => cards,
        other => panic!("{other:?}"),
    }
}

fn duplicates(offline: &Offline, region: Option<&str>) -> Vec<DuplicateGroup> {
    let reply = offline.run(Command::Duplicates {
        user: None,
        book: "contacts".into(),
        region: region.map(str::to_owned),
    });
    match reply {
        Reply::Duplicates { groups, count } => {
            assert_eq!(count, groups.len());
            groups
        }
        other => panic!("{other:?}"),
    }
}

fn merge(cards: MergeChoice, dry_run: bool) -> Command {
    Command::Merge {
        user: None,
        book: "contacts".into(),
        cards,
        region: None,
        dry_run,
    }
}

fn merged(reply: Reply) -> Merged {
    match reply {
        Reply::Merged(merged) => merged,
        other => panic!("{other:?}"),
    }
}

/// Two cards of Ann, one of Bob.
fn people() -> Offline {
    let offline = Offline::new();
    let ann = with("ann", "Ann Lee", "EMAIL:ann@example.org");
    let other = with(
        "x",
        "Lee, Ann",
        "EMAIL:Ann@Example.org\r\nTEL:030 1234567\r\nNOTE:rows",
    );
    let bob = with("bob", "Bob", "TEL:+49 30 1234567");
    let cards = [ann, other, bob].map(|card| card);
    let cards: Vec<_> = cards.iter().map(|card| (None, card.as_str())).collect();
    offline.import_at(&cards, 1_000);
    offline
}

#[test]
fn a_card_is_found_by_any_text_in_it() {
    let offline = people();
    let found = search(&offline, "ROWS lee");
    let [found] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (found.book.as_str(), found.name.as_str()),
        ("contacts", "x.vcf")
    );
    assert_eq!(found.full_name.as_deref(), Some("Lee, Ann"));
    assert_eq!(found.emails, ["Ann@Example.org"]);
    assert_eq!(found.phones, ["030 1234567"]);
    let carl = with(
        "carl",
        "Carl",
        "TEL;VALUE=uri:tel:+49-30-7654321;ext=5\r\nTEL:tel:\r\nEMAIL:mailto:carl@example.org",
    );
    offline.import(&[(None, &carl)]);
    let carl = &search(&offline, "carl")[0];
    assert_eq!(carl.phones, ["+49-30-7654321", "tel:"]);
    assert_eq!(carl.emails, ["carl@example.org"]);
    assert_eq!(search(&offline, "1234567").len(), 2);
    assert_eq!(search(&offline, "nobody"), []);

    // A restored card is found at once.
    offline.delete("x.vcf", None, 2_000);
    assert_eq!(search(&offline, "rows"), []);
    offline.run(Command::CardsRestore {
        user: None,
        book: "contacts".into(),
        cards: vec![named("x")],
        to: RestoreTo::BeforeDeletion,
        dry_run: false,
    });
    assert_eq!(search(&offline, "rows").len(), 1);
}

#[test]
fn the_same_person_is_found_by_address_and_by_number() {
    let offline = people();
    let groups = duplicates(&offline, None);
    let [group] = &groups[..] else {
        panic!("{groups:?}")
    };
    // The card with more in it is the one to keep.
    let names: Vec<_> = group.cards.iter().map(|card| card.name.as_str()).collect();
    assert_eq!(names, ["x.vcf", "ann.vcf"]);
    assert!(
        group
            .because
            .contains(&SameBecause::Email("ann@example.org".into()))
    );
    let in_germany = duplicates(&offline, Some("de"));
    assert_eq!(
        in_germany[0].cards.len(),
        3,
        "one number, written in two ways"
    );
    let wrong = offline.error(Command::Duplicates {
        user: None,
        book: "contacts".into(),
        region: Some("Atlantis".into()),
    });
    assert!(wrong.contains("Atlantis"), "{wrong}");
}

#[test]
fn a_merge_loses_nothing_and_is_undone() {
    let offline = people();
    let group = duplicates(&offline, None).remove(0).group;
    let dry = merged(offline.run(merge(MergeChoice::Group(group.clone()), true)));
    assert_eq!(offline.names().len(), 3, "nothing was done");

    let choice = MergeChoice::Group(group.clone());
    let done = merged(offline.run_at(merge(choice.clone(), false), 5_000));
    assert_eq!(done.bytes_base64, dry.bytes_base64);
    assert_eq!(
        (done.name.as_str(), &done.deleted),
        ("x.vcf", &vec!["ann.vcf".to_owned()])
    );
    assert_eq!(offline.names(), ["bob.vcf", "x.vcf"]);
    let text = offline.text("x.vcf");
    assert_eq!(BASE64.encode(text.as_bytes()), done.bytes_base64);
    for part in ["UID:x", "FN:Lee\\, Ann", "Ann Lee", "rows", "030 1234567"] {
        assert!(
            text.contains(part) || text.contains(&part.replace('\\', "")),
            "{part}: {text}"
        );
    }
    assert_eq!(duplicates(&offline, None), []);
    assert!(offline.error(merge(choice, false)).contains(&group));

    offline.run(Command::CardsRestore {
        user: None,
        book: "contacts".into(),
        cards: vec![named("x"), named("ann")],
        to: RestoreTo::Moment(4_999),
        dry_run: false,
    });
    assert_eq!(offline.names().len(), 3);
    assert_eq!(
        offline.text("ann.vcf"),
        with("ann", "Ann Lee", "EMAIL:ann@example.org")
    );
    assert_eq!(
        duplicates(&offline, None)[0].group,
        group,
        "the very same cards"
    );
}

#[test]
fn a_merge_that_cannot_be_done_changes_nothing() {
    let offline = people();
    let cards = |names: &[&str]| MergeChoice::Cards(names.iter().map(|name| named(name)).collect());
    assert!(
        offline
            .error(merge(cards(&["ann", "ann.vcf"]), false))
            .contains("two cards")
    );
    assert!(
        offline
            .error(merge(cards(&["ann", "carl"]), false))
            .contains("carl")
    );
    // Phones could not store what was joined, and each edit of it would be lost.
    for uid in ["big", "huge"] {
        let picture = format!("PHOTO;ENCODING=b:{}", uid.repeat(6 << 20 >> 2));
        offline.import(&[(None, &with(uid, "Big", &picture))]);
    }
    let refused = offline.error(merge(cards(&["big", "huge"]), false));
    assert!(refused.contains("10 MiB"), "{refused}");
    for name in ["big.vcf", "huge.vcf"] {
        offline.delete(name, None, 1_500);
    }
    offline.delete("bob.vcf", None, 2_000);
    assert!(
        offline
            .error(merge(cards(&["ann", "bob"]), false))
            .contains("restore bob.vcf")
    );
    assert_eq!(offline.names(), ["ann.vcf", "x.vcf"]);
}
