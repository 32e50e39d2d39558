//! Cards: no input panics, whatever is a card stays one card, and joining it with itself adds
//! nothing.

use cloudless_vcard::{
    Chosen, Person, Version, convert, index, merge, select, split, summarize, text,
};

const CHOSEN: [Chosen<'_>; 1] = [Chosen {
    group: None,
    name: "FN",
    no_value: true,
}];

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    let _ = summarize(bytes);
    for card in split(bytes).flatten() {
        summarize(card).expect("what is split is a card");
        let _ = (
            index(card),
            text(card),
            select(card, &CHOSEN),
            Person::read(card, None),
        );
        for to in [Version::V3, Version::V4] {
            let converted = convert(card, to).expect("a card converts");
            summarize(&converted).expect("what is converted is a card");
        }
        let merged = merge(card, &[card]).expect("a card joins with itself");
        summarize(&merged).expect("what is joined is a card");
    }
}
