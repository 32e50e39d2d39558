use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::{TEXT_MAX, fold};
use crate::index::derived::catch_up;
use crate::{Actor, BookId, IndexEntry, NewCard, NewIndex, Precondition, Store, Timestamp, UserId};

const OWNER: Actor = Actor {
    device: None,
    at: Timestamp(1_000),
};

#[derive(Clone, Debug)]
enum Step {
    Put { name: u8, text: String },
    Delete { name: u8 },
    Idle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..8u8, "[aÄß \"%]{0,9}").prop_map(|(name, text)| Step::Put { name, text }),
        1 => (0..8u8).prop_map(|name| Step::Delete { name }),
        1 => Just(Step::Idle),
    ];
    prop::collection::vec(step, 0..24)
}

#[test]
fn search_finds_what_reading_every_text_finds() {
    proptest!(ProptestConfig::with_cases(48), |(
        steps in steps(), queries in prop::collection::vec("[aäß \"%]{1,6}", 8)
    )| {
        let (_directory, store, user, book) = open();
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put { name, text } => {
                    put(&store, book, name, &text);
                    model.insert(format!("{name}.vcf"), text);
                }
                Step::Delete { name } => {
                    let name = format!("{name}.vcf");
                    store.delete_card(book, &name, Precondition::None, OWNER).unwrap();
                    model.remove(&name);
                }
                Step::Idle => { store.write(|connection| catch_up(connection, true)).unwrap(); }
            }
        }
        for query in queries {
            let folded = fold(&query);
            let words: Vec<_> = folded.split_whitespace().collect();
            let expected: Vec<_> = model
                .iter()
                .filter(|(_, text)| {
                    let text = fold(text);
                    !words.is_empty() && words.iter().all(|word| text.contains(word))
                })
                .map(|(name, _)| name.clone())
                .collect();
            prop_assert_eq!(&names(&store, user, &query), &expected, "{:?}", &query);
        }
    });
}

#[test]
fn case_accents_and_control_characters_do_not_matter() {
    let (_directory, store, user, book) = open();
    put(&store, book, 1, "Jürgen\u{b}MÜLLER\r\nŁódź 王明");
    for idle in [false, true] {
        if idle {
            store
                .write(|connection| catch_up(connection, true))
                .unwrap();
        }
        for query in [
            "muller jurgen",
            "MÜLLER",
            "u\u{308}ller",
            "王明",
            "明",
            "łodz jur",
        ] {
            assert_eq!(names(&store, user, query), ["1.vcf"], "{query}");
        }
        for query in ["mullet", "", "  ", "\u{b}", "jurgenm"] {
            assert_eq!(names(&store, user, query), [""; 0], "{query:?}");
        }
    }
}

/// Letters that differ in lower case and are one in upper case, whichever is stored and whichever
/// is typed.
#[test]
fn letters_that_agree_in_upper_case_only_are_found() {
    let (_directory, store, user, book) = open();
    let spellings = [
        ["Straße", "STRASSE", "strasse"],
        ["Ὀδυσσεύς", "ΟΔΥΣΣΕΥΣ", "οδυσσευσ"],
        ["Iğdır", "IĞDIR", "igdir"],
        ["İzmir", "izmir", "IZMIR"],
        ["ſmith", "Smith", "SMITH"],
    ];
    for (number, [stored, ..]) in (1..).zip(&spellings) {
        put(&store, book, number, stored);
    }
    for idle in [false, true] {
        if idle {
            store
                .write(|connection| catch_up(connection, true))
                .unwrap();
        }
        for (number, queries) in (1..).zip(&spellings) {
            for query in queries {
                assert_eq!(
                    names(&store, user, query),
                    [format!("{number}.vcf")],
                    "{query}"
                );
            }
        }
    }
}

/// Text of ASCII alone takes a shorter way.
#[test]
fn every_character_is_folded_alike_whatever_stands_beside_it() {
    for code in 0..=0x7f {
        let letter = char::from(code).to_string();
        assert_eq!(fold(&letter) + "王", fold(&format!("{letter}王")));
    }
    for long in ["a".repeat(TEXT_MAX + 1), "é".repeat(TEXT_MAX + 1)] {
        assert_eq!(fold(&long).len(), TEXT_MAX);
    }
}

#[test]
fn only_the_books_of_the_user_are_searched() {
    let (_directory, store, user, book) = open();
    put(&store, book, 1, "anna");
    let other = store.create_user("bert", Timestamp(0)).unwrap();
    assert_eq!(names(&store, user, "anna").len(), 1);
    assert_eq!(store.search(other, "anna", 9).unwrap(), []);
    assert_eq!(store.search(book, "anna", 0).unwrap(), []);
}

#[test]
fn entries_of_a_card_come_property_by_property() {
    let (_directory, store, _, book) = open();
    put(&store, book, 1, "anna");
    let mut unindexed = new_card(book, 2, "");
    unindexed.index.clear();
    store
        .put_card(unindexed, Precondition::None, OWNER)
        .unwrap();
    let entries = || {
        let cards = store.index_entries(book).unwrap().into_iter();
        let value = |entry: IndexEntry| entry.property + ":" + &entry.value;
        let values = |entries: Vec<_>| entries.into_iter().map(value).collect::<Vec<_>>();
        cards
            .map(|card| card.entries.map(values))
            .collect::<Vec<_>>()
    };
    let values = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect());
    assert_eq!(entries(), [values(&["TEL:1", "TEL:one", "FN:anna"]), None]);
    let rows = || -> i64 {
        while store
            .write(|connection| catch_up(connection, true))
            .unwrap()
        {}
        let count = "SELECT count(*) FROM index_entries";
        let rows = store.read(|snapshot| snapshot.query_row(count, [], |row| row.get(0)));
        rows.unwrap()
    };
    assert_eq!(rows(), 2, "one row for each property");
    put(&store, book, 1, "bert");
    assert_eq!(entries(), [values(&["TEL:1", "TEL:one", "FN:bert"]), None]);
    assert_eq!(rows(), 2, "none of the past");
}

#[test]
fn card_without_an_index_gets_one_unless_it_changes_first() {
    let (_directory, store, user, book) = open();
    for name in 1..=2 {
        let mut card = new_card(book, name, "");
        card.index.clear();
        store.put_card(card, Precondition::None, OWNER).unwrap();
    }
    let found = store.cards_without_index(10).unwrap();
    assert_eq!(found.len(), 2);
    put(&store, book, 2, "newer");
    let indexes = found.into_iter().map(|card| NewIndex {
        card,
        entries: Vec::new(),
        text: "older".to_owned(),
    });
    store.put_index(indexes.collect()).unwrap();
    assert_eq!(store.cards_without_index(10).unwrap(), []);
    assert_eq!(names(&store, user, "older"), ["1.vcf"]);
    assert_eq!(names(&store, user, "newer"), ["2.vcf"]);

    store.set_index_rules(1).unwrap();
    store.set_index_rules(1).unwrap();
    assert_eq!(store.cards_without_index(10).unwrap(), []);
    store
        .write(|connection| catch_up(connection, true))
        .unwrap();
    store.set_index_rules(2).unwrap();
    assert_eq!(store.cards_without_index(10).unwrap().len(), 2);
    assert_eq!(names(&store, user, "older"), [""; 0]);
}

#[test]
fn a_text_that_is_gone_leaves_the_trigrams_in_an_idle_moment() {
    let (_directory, store, user, book) = open();
    let taken_in = || {
        let count = "SELECT count(*) FROM trigrams_docsize";
        store
            .read(|snapshot| snapshot.query_row(count, [], |row| row.get::<_, i64>(0)))
            .unwrap()
    };
    put(&store, book, 1, "older");
    put(&store, book, 2, "gone");
    while store
        .write(|connection| catch_up(connection, true))
        .unwrap()
    {}
    put(&store, book, 1, "newer");
    store
        .delete_card(book, "2.vcf", Precondition::None, OWNER)
        .unwrap();
    assert_eq!(taken_in(), 2);
    for query in ["older", "gone"] {
        assert_eq!(names(&store, user, query), [""; 0], "{query}");
    }
    while store
        .write(|connection| catch_up(connection, true))
        .unwrap()
    {}
    assert_eq!(taken_in(), 1);
    assert_eq!(names(&store, user, "newer"), ["1.vcf"]);
}

fn open() -> (TempDir, Store, UserId, BookId) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let user = store.create_user("anna", Timestamp(0)).unwrap();
    let book = store.address_books(user).unwrap()[0].id;
    (directory, store, user, book)
}

fn new_card(book: BookId, name: u8, text: &str) -> NewCard {
    let index = [("TEL", "1"), ("FN", text), ("TEL", "one")];
    NewCard {
        book,
        name: format!("{name}.vcf"),
        bytes: text.as_bytes().to_vec(),
        uid: None,
        full_name: None,
        index: index
            .map(|(property, value)| IndexEntry {
                property: property.to_owned(),
                value: value.to_owned(),
            })
            .to_vec(),
        text: text.to_owned(),
    }
}

fn put(store: &Store, book: BookId, name: u8, text: &str) {
    let card = new_card(book, name, text);
    store.put_card(card, Precondition::None, OWNER).unwrap();
}

fn names(store: &Store, user: UserId, query: &str) -> Vec<String> {
    let hits = store.search(user, query, 100).unwrap();
    let mut names: Vec<_> = hits.into_iter().map(|hit| hit.row.name).collect();
    names.sort();
    names
}
