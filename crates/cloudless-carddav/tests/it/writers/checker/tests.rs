//! The checker itself: a good history passes, and each kind of bad one does not.

use super::*;

const CARD: &str = "a.vcf";

fn act(asked: Asked, outcome: Outcome, (sent, answered): (u64, u64)) -> Act {
    Act {
        asked,
        outcome,
        sent,
        answered,
    }
}

fn put(base: Option<&str>, etag: &str) -> Asked {
    Asked::Put {
        name: CARD.to_owned(),
        base: base.map(str::to_owned),
        etag: etag.to_owned(),
    }
}

fn delete(base: &str) -> Asked {
    Asked::Delete {
        name: CARD.to_owned(),
        base: base.to_owned(),
    }
}

fn read() -> Asked {
    Asked::Read {
        name: CARD.to_owned(),
    }
}

fn saw(etag: Option<&str>) -> Outcome {
    Outcome::Read(etag.map(str::to_owned))
}

/// Versions as `+a` created, `=a` changed, `-` deleted, `!a` refused, `<a` restored.
fn versions(text: &str) -> Vec<Version> {
    let version = |word: &str| {
        let kind = match &word[..1] {
            "+" => VersionKind::Created,
            "=" => VersionKind::Changed,
            "-" => VersionKind::Deleted,
            "!" => VersionKind::Refused,
            "<" => VersionKind::Restored,
            other => panic!("{other}"),
        };
        let etag = Some(word[1..].to_owned()).filter(|etag| !etag.is_empty());
        Version { kind, etag }
    };
    text.split_whitespace().map(version).collect()
}

fn check_one(acts: &[Act], history: &str) -> Result<BTreeMap<String, String>, String> {
    check(
        acts,
        &BTreeMap::from([(CARD.to_owned(), versions(history))]),
    )
}

#[track_caller]
fn assert_fault(acts: &[Act], history: &str, fault: &str) {
    let found = check_one(acts, history).expect_err("a bad history");
    assert!(found.contains(fault), "{found}");
}

/// Created, changed by one of two, deleted.
fn acts() -> [Act; 4] {
    [
        act(put(None, "a"), Outcome::Done, (0, 1)),
        act(put(Some("a"), "b"), Outcome::Done, (2, 5)),
        act(put(Some("a"), "c"), Outcome::Refused, (3, 4)),
        act(delete("b"), Outcome::Done, (6, 7)),
    ]
}

#[test]
fn a_chain_of_what_was_asked_passes() {
    assert_eq!(check_one(&acts(), "+a =b !c -"), Ok(BTreeMap::new()));
    let live = BTreeMap::from([(CARD.to_owned(), "b".to_owned())]);
    assert_eq!(check_one(&acts()[..3], "+a =b !c"), Ok(live));
}

#[test]
fn a_lost_request_may_take_place_once_or_not_at_all() {
    let acts = [
        act(put(None, "a"), Outcome::Done, (0, 1)),
        act(put(Some("a"), "b"), Outcome::Lost, (2, u64::MAX)),
    ];
    assert!(check_one(&acts, "+a").is_ok());
    assert!(check_one(&acts, "+a =b").is_ok());
    assert!(check_one(&acts, "+a !b").is_ok());
    assert_fault(&acts, "+a =b =b", "a lost update");
}

#[test]
fn a_lost_update_is_found() {
    // Both were told that they changed the same state.
    let mut both = acts();
    both[2].outcome = Outcome::Done;
    assert_fault(&both, "+a =b =c -", "a lost update");
    assert_fault(&both, "+a =c =b -", "a lost update");
    assert_fault(
        &both,
        "+a =b -",
        "an acknowledged write is not in the history",
    );
}

#[test]
fn a_write_that_was_refused_must_not_take_place_but_be_kept() {
    let other = [
        act(put(None, "a"), Outcome::Done, (0, 1)),
        act(put(Some("a"), "c"), Outcome::Refused, (2, 3)),
    ];
    assert_fault(&other, "+a !c =c", "a refused write took place");
    assert_fault(&acts(), "+a =b -", "a refused body was not kept");
}

#[test]
fn a_resurrected_card_is_found() {
    let late = act(put(Some("b"), "d"), Outcome::Done, (8, 9));
    let acts = [&acts()[..], &[late]].concat();
    assert_fault(&acts, "+a =b !c - +d", "a deleted card came back");
    assert_fault(&acts[..4], "+a =b !c - +b", "a deleted card came back");
    assert_fault(&acts[..4], "+a =b !c - <b", "nobody restored it");
}

#[test]
fn a_deletion_that_was_not_asked_for_is_found() {
    assert_fault(&acts()[..3], "+a =b !c -", "a version that nobody sent");
    assert_fault(&acts(), "+a - !c", "a version that nobody sent");
    assert_fault(
        &acts(),
        "+a =b !c",
        "an acknowledged write is not in the history",
    );
}

#[test]
fn of_two_who_delete_one_was_told_so() {
    let with = |outcome| [&acts()[..], &[act(delete("b"), outcome, (6, 8))]].concat();
    for outcome in [Outcome::Refused, Outcome::Lost] {
        assert!(check_one(&with(outcome), "+a =b !c -").is_ok());
    }
    let fault = "an acknowledged write is not in the history";
    assert_fault(&with(Outcome::Done), "+a =b !c -", fault);
}

#[test]
fn a_version_that_nobody_sent_is_found() {
    assert_fault(&acts(), "+a =x =b !c -", "a version that nobody sent");
    assert_fault(&acts(), "+a =b !x !c -", "a refused body that nobody sent");
}

#[test]
fn another_order_than_the_writers_saw_is_found() {
    // The deletion was answered before the second creation was sent.
    let acts = [
        act(put(None, "a"), Outcome::Done, (0, 1)),
        act(delete("a"), Outcome::Done, (2, 3)),
        act(put(None, "b"), Outcome::Done, (4, 5)),
        act(delete("b"), Outcome::Done, (6, 7)),
    ];
    assert!(check_one(&acts, "+a - +b -").is_ok());
    assert_fault(&acts, "+b - +a -", "out of order");
}

#[test]
fn a_read_of_a_state_that_was_not_there_then_is_found() {
    let with = |outcome, when| [&acts()[..], &[act(read(), outcome, when)]].concat();
    let history = "+a =b !c -";
    let fault = "a state that was not there then";
    // While the change was under way, either state may be seen; later only the new one.
    assert!(check_one(&with(saw(Some("a")), (3, 4)), history).is_ok());
    assert!(check_one(&with(saw(Some("b")), (3, 4)), history).is_ok());
    assert_fault(&with(saw(Some("a")), (6, 7)), history, fault);
    assert_fault(&with(saw(Some("b")), (8, 9)), history, fault);
    assert_fault(&with(saw(None), (2, 3)), history, fault);
    assert!(check_one(&with(saw(None), (8, 9)), history).is_ok());
}

#[test]
fn a_refusal_without_a_reason_is_found() {
    let acts = [
        act(put(None, "a"), Outcome::Done, (0, 1)),
        act(put(Some("a"), "b"), Outcome::Refused, (2, 3)),
    ];
    assert_fault(&acts, "+a !b", "a state that was not there then");
}

#[test]
fn a_move_takes_place_at_both_names() {
    let there = "b.vcf".to_owned();
    let moved = Asked::Move {
        from: CARD.to_owned(),
        to: there.clone(),
        base: "a".to_owned(),
    };
    let created = act(put(None, "a"), Outcome::Done, (0, 1));
    let check = |outcome, here: &str, other: &str| {
        let acts = [created.clone(), act(moved.clone(), outcome, (2, 3))];
        let histories = [
            (CARD.to_owned(), versions(here)),
            (there.clone(), versions(other)),
        ];
        check(&acts, &BTreeMap::from(histories))
    };
    let live = |name: &str| Ok(BTreeMap::from([(name.to_owned(), "a".to_owned())]));
    assert_eq!(check(Outcome::Done, "+a -", "+a"), live(&there));
    assert_eq!(check(Outcome::Lost, "+a", ""), live(CARD));
    assert!(check(Outcome::Lost, "+a", "+a").is_err(), "a copy");
    assert!(check(Outcome::Lost, "+a -", "").is_err(), "nowhere");
    assert!(check(Outcome::Done, "+a", "").is_err());
}
