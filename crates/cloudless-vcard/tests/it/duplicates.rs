//! Finding cards of one person and joining them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cloudless_vcard::{
    Invalid, Person, Reason, duplicates, merge, properties, same_person, summarize,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn card(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\n{lines}END:VCARD\r\n")
}

#[track_caller]
fn reason(a: &[&str], b: &[&str]) -> Option<Reason> {
    let region = Some("DE".parse().unwrap());
    let [a, b] = [a, b].map(|lines| Person::read(card(lines).as_bytes(), region));
    let reason = same_person(&a, &b);
    assert_eq!(same_person(&b, &a), reason);
    reason
}

#[test]
fn the_same_uid() {
    assert_eq!(
        reason(&["UID:urn:uuid:AB-C"], &["UID: ab-c"]),
        Some(Reason::Uid("ab-c".into()))
    );
    assert_eq!(reason(&["UID:"], &["UID:"]), None);
}

#[test]
fn the_same_address() {
    let found = reason(
        &["EMAIL;TYPE=HOME:Jo@Example.com"],
        &["item1.email: jo@example.COM"],
    );
    assert_eq!(found, Some(Reason::Email("jo@example.com".into())));
    assert_eq!(
        reason(&["EMAIL:a@example.com"], &["EMAIL:b@example.com"]),
        None
    );
    assert_eq!(reason(&["EMAIL:unknown"], &["EMAIL:unknown"]), None);
}

#[test]
fn the_same_number_however_it_is_written() {
    for number in [
        "+493012345678",
        "+49 (0) 30 / 1234-5678",
        "030 12345678",
        "0049 30 12345678",
        "tel:+49-30-12345678",
        "٠٣٠ ١٢٣٤٥٦٧٨",
    ] {
        let line = format!("TEL:{number}");
        assert_eq!(
            reason(&["TEL;TYPE=work:+49 30 12345678"], &[&line]),
            Some(Reason::Phone("+493012345678".into())),
            "{number}"
        );
    }
    for number in ["+43 30 12345678", "030 12345679", "+49 30 12345678 x12", ""] {
        let line = format!("TEL:{number}");
        assert_eq!(reason(&["TEL:+49 30 12345678"], &[&line]), None, "{number}");
    }
    // Services.
    assert_eq!(reason(&["TEL:110"], &["TEL:110"]), None);
    let unknown = |line| Person::read(card(&[line]).as_bytes(), None);
    assert!(same_person(&unknown("TEL:030-123456"), &unknown("TEL:030 123456")).is_some());
}

#[test]
fn nearly_the_same_name() {
    let name = |name: &str| Some(Reason::Name(name.into()));
    assert_eq!(
        reason(&["FN:José MÜLLER"], &["FN:Muller, Jose"]),
        name("jose muller")
    );
    assert_eq!(
        reason(&["FN:X", "N:Doe;John;;Dr.;"], &["FN:john doe"]),
        name("doe john")
    );
    assert_eq!(reason(&["FN:张伟"], &["FN:张伟"]), name("张伟"));
    assert_eq!(reason(&["FN:Anna"], &["FN:Anna"]), None);
    assert_eq!(reason(&["FN:John Doe"], &["FN:Jane Doe"]), None);
    assert_eq!(reason(&["FN:"], &["FN:"]), None);
}

#[test]
fn groups_are_not_persons() {
    let group = ["X-ADDRESSBOOKSERVER-KIND:group", "UID:a", "FN:John Doe"];
    assert_eq!(reason(&group, &["UID:a", "FN:John Doe"]), None);
    assert_eq!(
        reason(&group, &["KIND:group", "UID:b", "FN:John Doe"]),
        None
    );
    assert_eq!(
        reason(&group, &["KIND:group", "UID:a"]),
        Some(Reason::GroupUid("a".into()))
    );
}

#[test]
fn duplicates_of_a_large_book_take_no_time() {
    let people: Vec<Person> = (0..100_000)
        .map(|number| {
            let name = format!("FN:Person {}", number % 50_000);
            let email = format!("EMAIL:{number}@example.com");
            Person::read(
                card(&[&name, &email, "EMAIL:info@example.com"]).as_bytes(),
                None,
            )
        })
        .collect();
    let start = Instant::now();
    let found = duplicates(&people);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].members.len(), 100_000);
}

#[track_caller]
fn check_merge(keep: &[&str], other: &[&str], expected: &[&str]) {
    let (keep, other) = (card(keep), card(other));
    let merged = merge(keep.as_bytes(), &[other.as_bytes()]).unwrap();
    assert_eq!(String::from_utf8(merged.clone()).unwrap(), card(expected));
    let again = merge(&merged, &[other.as_bytes(), keep.as_bytes()]).unwrap();
    assert_eq!(again, merged, "joining again changes nothing");
}

#[test]
fn what_is_there_already_is_there_once() {
    check_merge(
        &["FN:a", "TEL;type=CELL;type=VOICE:1", "NOTE:x"],
        &["FN:a", "tel;TYPE=voice;TYPE=cell:1", "NOTE:y", "NOTE:x"],
        &["FN:a", "TEL;type=CELL;type=VOICE:1", "NOTE:x", "NOTE:y"],
    );
}

#[test]
fn what_a_card_has_once_keeps_the_first_value_and_notes_the_other() {
    check_merge(
        &["UID:1", "FN:a", "REV:1", "BDAY:2000-01-01"],
        &["UID:2", "FN:b", "REV:2", "PRODID:x", "N:b;;;;"],
        &[
            "UID:1",
            "FN:a",
            "REV:1",
            "BDAY:2000-01-01",
            "X-MERGED-UID:2",
            "X-MERGED-FN:b",
            "N:b;;;;",
        ],
    );
}

#[test]
fn what_has_no_value_gives_way() {
    check_merge(
        &["N:;;;;", "FN:a", "NOTE:"],
        &["N:b;;;;", "FN:", "NOTE:", "ORG:;"],
        &["FN:a", "NOTE:", "N:b;;;;"],
    );
}

#[test]
fn labels_stay_with_what_they_label() {
    check_merge(
        &["item1.TEL:1", "item1.X-ABLabel:Boat"],
        &[
            "item1.TEL:2",
            "item1.X-ABLabel:Hut",
            "x.X-ABLABEL:Boat",
            "x.TEL:1",
        ],
        &[
            "item1.TEL:1",
            "item1.X-ABLabel:Boat",
            "item2.TEL:2",
            "item2.X-ABLabel:Hut",
        ],
    );
}

#[test]
fn others_are_joined_in_the_version_of_the_first() {
    let keep = card(&["N:a;;;;", "FN:a"]);
    let other = "BEGIN:VCARD\nVERSION:4.0\nFN:a\nBDAY:--0203\nTEL;PREF=1:1\nEND:VCARD\n";
    let merged = merge(keep.as_bytes(), &[other.as_bytes()]).unwrap();
    let expected = card(&[
        "N:a;;;;",
        "FN:a",
        "BDAY;X-APPLE-OMIT-YEAR=1604:1604-02-03",
        "TEL;TYPE=pref:1",
    ]);
    assert_eq!(String::from_utf8(merged).unwrap(), expected);
}

#[test]
fn an_agent_is_joined_whole() {
    let agent = ["AGENT:", "BEGIN:VCARD", "FN:Agent", "END:VCARD"];
    let with_agent = [&["FN:a"], agent.as_slice()].concat();
    check_merge(&["FN:a"], &with_agent, &with_agent);
}

#[test]
fn only_cards_are_joined() {
    let card = card(&[]);
    assert_eq!(merge(b"x", &[card.as_bytes()]), Err(Invalid::NotVcard));
    assert_eq!(merge(card.as_bytes(), &[b""]), Err(Invalid::Empty));
}

#[test]
fn every_pair_of_real_cards_joins() {
    let Some(folder) = crate::corpus::corpus() else {
        return;
    };
    let files: Vec<Vec<u8>> = crate::corpus::files(&folder).collect();
    let cards: Vec<&[u8]> = files
        .iter()
        .flat_map(|bytes| cloudless_vcard::split(bytes).flatten())
        .collect();
    for pair in cards.windows(2) {
        let merged = merge(pair[0], &[pair[1]]).unwrap();
        let summary = summarize(&merged).unwrap();
        if let Some(uid) = summarize(pair[0]).unwrap().uid {
            assert_eq!(summary.uid, Some(uid));
        }
        assert!(properties(&merged).count() >= properties(pair[0]).count());
        assert_eq!(merge(&merged, &[&merged]).unwrap(), merged);
    }
}

/// Names and values of a card, without the prefix of what was joined and without what may go.
fn facts(card: &[u8]) -> BTreeSet<(String, String)> {
    properties(card)
        .map(|line| {
            let name = line.name().to_uppercase();
            (name.trim_start_matches("X-MERGED-").to_owned(), line.text())
        })
        .filter(|(name, _)| !["REV", "PRODID", "VERSION"].contains(&name.as_str()))
        .filter(|(_, value)| !value.trim_matches([' ', '\t', ';', ',']).is_empty())
        .collect()
}

fn any_card() -> impl Strategy<Value = String> {
    let line = (
        "(item[1-3]\\.)?",
        prop::sample::select(vec![
            "UID",
            "FN",
            "N",
            "TEL",
            "TEL;TYPE=CELL",
            "EMAIL",
            "BDAY",
            "NOTE",
            "REV",
            "X-A",
            "X-ABLabel",
            "KIND",
            "PHOTO;ENCODING=b",
            "fn;X-B=\"a;b\"",
        ]),
        prop_oneof!["[ab;, ]{0,3}", "[^\r\n]{0,40}"],
    )
        .prop_map(|(group, name, value)| format!("{group}{name}:{value}"));
    vec(line, 0..8).prop_map(|lines| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        card(&lines)
    })
}

fn any_person() -> impl Strategy<Value = Person> {
    let line = prop_oneof![
        "UID:[a-e]",
        "EMAIL:[a-f]@x",
        "TEL:\\+4930123450[0-5]",
        "FN:[a-d] [a-d]",
        Just("KIND:group".to_owned()),
    ];
    vec(line, 0..4).prop_map(|lines| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        Person::read(card(&lines).as_bytes(), None)
    })
}

proptest! {
    #[test]
    fn joining_loses_no_property(keep in any_card(), others in vec(any_card(), 0..3)) {
        let others: Vec<&[u8]> = others.iter().map(|other| other.as_bytes()).collect();
        let merged = merge(keep.as_bytes(), &others).unwrap();
        let found = facts(&merged);
        for card in others.iter().copied().chain([keep.as_bytes()]) {
            let missing: Vec<_> = facts(card).difference(&found).cloned().collect();
            prop_assert!(missing.is_empty(), "{missing:?} of {card:?}");
        }
        prop_assert_eq!(merge(&merged, &others).unwrap(), merged);
    }

    #[test]
    fn duplicates_are_what_pairs_connect(people in vec(any_person(), 0..12)) {
        // Pairs joined until nothing changes.
        let mut group: Vec<usize> = (0..people.len()).collect();
        loop {
            let before = group.clone();
            for a in 0..people.len() {
                for b in 0..people.len() {
                    if same_person(&people[a], &people[b]).is_some() {
                        let smallest = group[a].min(group[b]);
                        group[a] = smallest;
                        group[b] = smallest;
                    }
                }
            }
            if group == before {
                break;
            }
        }
        let expected: Vec<Vec<usize>> = (0..people.len())
            .map(|root| (0..people.len()).filter(|at| group[*at] == root).collect())
            .filter(|members: &Vec<usize>| members.len() > 1)
            .collect();
        let found = duplicates(&people);
        let members: Vec<Vec<usize>> = found.iter().map(|it| it.members.clone()).collect();
        prop_assert_eq!(members, expected);
        prop_assert!(found.iter().all(|it| !it.reasons.is_empty()));
    }

    #[test]
    fn no_number_panics(number in "[-+0-9 ()x;#٠-٩]{0,30}", region in "[A-Z]{2}") {
        let line = format!("TEL:{number}");
        Person::read(card(&[&line]).as_bytes(), region.parse().ok());
    }
}
