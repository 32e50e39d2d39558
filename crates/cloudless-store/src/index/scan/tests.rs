use super::*;
use crate::{Actor, IndexEntry, NewCard, Precondition, Timestamp};

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

fn put(store: &Store, book: BookId, name: &str, entries: &[(&str, &str)]) {
    let entry = |(property, value): &(&str, &str)| IndexEntry {
        property: (*property).to_owned(),
        value: (*value).to_owned(),
    };
    let card = NewCard {
        book,
        name: name.to_owned(),
        bytes: format!("{name}{entries:?}").into_bytes(),
        uid: None,
        full_name: None,
        index: entries.iter().map(entry).collect(),
        text: String::new(),
    };
    let actor = Actor {
        device: None,
        at: Timestamp(1),
    };
    store.put_card(card, Precondition::None, actor).unwrap();
}

#[test]
fn entries_of_one_card_are_seen_together_and_of_others_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let user = store.create_user("anna", Timestamp(1)).unwrap();
    let book = store.address_books(user).unwrap()[0].id;
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
