use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::index::derived::catch_up;
use crate::{Actor, IndexEntry, NewCard, NewIndex, Precondition, Timestamp};

const OWNER: Actor = Actor {
    device: None,
    at: Timestamp(1),
};

/// Looks for cards that were seen with all of these entries, and with no others.
struct Exactly(Vec<(&'static str, &'static str)>, Vec<(String, String)>);

impl Exactly {
    fn new(wanted: &[(&'static str, &'static str)]) -> Self {
        Self(wanted.to_vec(), Vec::new())
    }
}

impl Judge for Exactly {
    fn see(&mut self, property: &str, value: &str) {
        self.1.push((property.to_owned(), value.to_owned()));
    }

    fn decide(&mut self) -> Verdict {
        let seen = std::mem::take(&mut self.1);
        let same = seen.len() == self.0.len()
            && seen
                .iter()
                .zip(&self.0)
                .all(|(seen, wanted)| (seen.0.as_str(), seen.1.as_str()) == *wanted);
        match (same, seen.iter().any(|(property, _)| property == "*")) {
            (true, _) => Verdict::Yes,
            (false, true) => Verdict::Perhaps,
            (false, false) => Verdict::No,
        }
    }
}

fn open() -> (TempDir, Store, BookId) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let user = store.create_user("anna", Timestamp(1)).unwrap();
    let book = store.address_books(user).unwrap()[0].id;
    (directory, store, book)
}

/// A card whose bytes are others for each number.
fn card(book: BookId, name: &str, index: Vec<IndexEntry>, number: usize) -> NewCard {
    NewCard {
        book,
        name: name.to_owned(),
        bytes: number.to_string().into_bytes(),
        uid: None,
        full_name: None,
        index,
        text: String::new(),
    }
}

fn put_card(store: &Store, book: BookId, name: &str, entries: &[IndexEntry], number: usize) {
    let card = card(book, name, entries.to_vec(), number);
    store.put_card(card, Precondition::None, OWNER).unwrap();
}

fn put(store: &Store, book: BookId, name: &str, entries: &[(&str, &str)]) {
    let entry = |(property, value): &(&str, &str)| IndexEntry {
        property: (*property).to_owned(),
        value: (*value).to_owned(),
    };
    let all: Vec<_> = entries.iter().map(entry).collect();
    let mut card = card(book, name, all, 0);
    card.bytes = format!("{name}{entries:?}").into_bytes();
    store.put_card(card, Precondition::None, OWNER).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Put { name: u8, properties: Vec<u8> },
    PutMany { names: Vec<u8> },
    Delete { name: u8 },
    PutUnindexed { name: u8 },
    IndexOld,
    Idle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6u8, vec(0..4u8, 1..5)).prop_map(|(name, properties)| Step::Put { name, properties }),
        1 => vec(0..6u8, 0..4).prop_map(|names| Step::PutMany { names }),
        2 => (0..6u8).prop_map(|name| Step::Delete { name }),
        1 => (0..6u8).prop_map(|name| Step::PutUnindexed { name }),
        1 => Just(Step::IndexOld),
        2 => Just(Step::Idle),
    ];
    vec(step, 0..24)
}

/// Whether the writer was idle or not, and whatever came in which order, the judge is shown the same.
#[test]
fn every_card_is_seen_with_its_newest_entries() {
    proptest!(ProptestConfig::with_cases(64), |(steps in steps())| {
        let (_directory, store, book) = open();
        let mut model = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let entries = |properties: &[u8]| -> Vec<IndexEntry> {
                let entry = |property: &u8| IndexEntry {
                    property: format!("P{property}"),
                    value: number.to_string(),
                };
                properties.iter().map(entry).collect()
            };
            match step {
                Step::Put { name, properties } => {
                    let entries = entries(&properties);
                    put_card(&store, book, &name.to_string(), &entries, number);
                    model.insert(name.to_string(), Some(entries));
                }
                Step::PutMany { names } => {
                    let cards = names.iter().map(|name| {
                        let entries = entries(&[*name % 4]);
                        model.insert(name.to_string(), Some(entries.clone()));
                        card(book, &name.to_string(), entries, number)
                    });
                    store.put_cards(cards.collect(), OWNER).unwrap();
                }
                Step::Delete { name } => {
                    let name = name.to_string();
                    store.delete_card(book, &name, Precondition::None, OWNER).unwrap();
                    model.remove(&name);
                }
                Step::PutUnindexed { name } => {
                    put_card(&store, book, &name.to_string(), &[], number);
                    model.insert(name.to_string(), None);
                }
                Step::IndexOld => {
                    let entries = entries(&[1, 2]);
                    let new = store.cards_without_index(9).unwrap().into_iter().map(|card| {
                        model.insert(card.name.clone(), Some(entries.clone()));
                        NewIndex { card, entries: entries.clone(), text: String::new() }
                    });
                    store.put_index(new.collect()).unwrap();
                }
                Step::Idle => {
                    store.write(|connection| catch_up(connection, true)).unwrap();
                }
            }
        }
        for wanted in 0..4 {
            let property = format!("P{wanted}");
            for (looks_for, without) in [(Verdict::Yes, Verdict::No), (Verdict::No, Verdict::Yes)] {
                let mut judge = Any { seen: Vec::new(), looks_for, without };
                let found = store.candidates(book, &[&property], &mut judge).unwrap();
                let found: Vec<_> = found.into_iter().map(|it| (it.row.name, it.is_certain)).collect();
                let verdict = |entries: &Option<Vec<IndexEntry>>| match entries {
                    None => Verdict::Perhaps,
                    Some(entries) if entries.iter().any(|it| it.property == property) => looks_for,
                    Some(_) => without,
                };
                let expected: Vec<_> = model
                    .iter()
                    .map(|(name, entries)| (name.clone(), verdict(entries)))
                    .filter(|(_, verdict)| *verdict != Verdict::No)
                    .map(|(name, verdict)| (name, verdict == Verdict::Yes))
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
        let known = store.index_entries(book).unwrap().into_iter();
        let known: BTreeMap<_, _> = known.map(|it| (it.row.name, it.entries.map(sorted))).collect();
        let model: BTreeMap<_, _> = model.into_iter().map(|(name, it)| (name, it.map(sorted))).collect();
        prop_assert_eq!(known, model);
    });
}

fn sorted(mut entries: Vec<IndexEntry>) -> Vec<IndexEntry> {
    entries.sort();
    entries
}

/// Tells cards with the property from those without.
struct Any {
    seen: Vec<String>,
    looks_for: Verdict,
    without: Verdict,
}

impl Judge for Any {
    fn see(&mut self, _: &str, value: &str) {
        self.seen.push(value.to_owned());
    }

    fn decide(&mut self) -> Verdict {
        let seen = std::mem::take(&mut self.seen);
        assert!(
            seen.windows(2).all(|it| it[0] == it[1]),
            "of one card and version: {seen:?}"
        );
        match seen.is_empty() {
            true => self.without,
            false => self.looks_for,
        }
    }
}

#[test]
fn entries_of_one_card_are_seen_together_and_of_others_not() {
    let (_directory, store, book) = open();
    put(&store, book, "d.vcf", &[("EMAIL", "d"), ("FN", "x")]);
    put(&store, book, "c.vcf", &[("FN", "x")]);
    put(
        &store,
        book,
        "b.vcf",
        &[("FN", "x"), ("EMAIL", "1"), ("TEL", "t"), ("EMAIL", "2")],
    );
    put(&store, book, "a.vcf", &[("TEL", "t")]);
    put(&store, book, "e.vcf", &[("*", "")]);
    // A card that was indexed before and changed is seen with its new entries only.
    put(&store, book, "c.vcf", &[("FN", "y")]);
    let found = |properties: &[&str], wanted: &[(&'static str, &'static str)]| -> Vec<_> {
        let mut judge = Exactly::new(wanted);
        let candidates = store.candidates(book, properties, &mut judge).unwrap();
        let told = candidates.into_iter();
        told.map(|it| (it.row.name, it.is_certain)).collect()
    };
    let certain = |name: &str| (name.to_owned(), true);
    assert_eq!(found(&["FN"], &[("FN", "y")]), [certain("c.vcf")]);
    assert_eq!(
        found(&["FN"], &[("FN", "x")]),
        [certain("b.vcf"), certain("d.vcf")]
    );
    assert_eq!(
        found(
            &["EMAIL", "FN"],
            &[("EMAIL", "1"), ("EMAIL", "2"), ("FN", "x")]
        ),
        [certain("b.vcf")]
    );
    assert_eq!(
        found(&["FN", "*"], &[("FN", "y")]),
        [certain("c.vcf"), ("e.vcf".to_owned(), false)]
    );
    assert_eq!(
        found(&["EMAIL"], &[]),
        [certain("a.vcf"), certain("c.vcf"), certain("e.vcf")],
        "cards without the property are looked for"
    );
    store.set_index_rules(1).unwrap();
    store.set_index_rules(2).unwrap();
    let all = ["a.vcf", "b.vcf", "c.vcf", "d.vcf", "e.vcf"].map(|name| (name.to_owned(), false));
    assert_eq!(found(&["FN"], &[("FN", "x")]), all, "nothing is indexed");
    assert_eq!(found(&["FN"], &[]), all);
}
