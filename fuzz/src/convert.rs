//! Conversion between versions, and parts of cards: the first line is the version, the second the name
//! of a property, the others are lines of the card. What comes out is one card of that version, does
//! not grow out of proportion, and converting it again changes nothing.

use std::borrow::Cow;

use cloudless_vcard::{Chosen, Version, convert, select, summarize};

/// Panics when that does not hold.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let version = if next() == b"3" { "3.0" } else { "4.0" };
    let name = String::from_utf8_lossy(next());
    let lines = next();
    let card = [
        format!("BEGIN:VCARD\r\nVERSION:{version}\r\n").as_bytes(),
        lines,
        b"\r\nEND:VCARD\r\n",
    ]
    .concat();
    if summarize(&card).is_err() {
        return;
    }
    for to in [Version::V3, Version::V4] {
        let converted = convert(&card, to).expect("a card converts");
        let summary = summarize(&converted).expect("what is converted is a card");
        assert_eq!(summary.version.as_deref(), Some(to.number()));
        assert!(converted.len() <= 8 * card.len() + 1024);
        let again = convert(&converted, to).expect("a card converts");
        assert!(matches!(again, Cow::Borrowed(_)));
        for no_value in [true, false] {
            let chosen = [Chosen {
                group: None,
                name: &name,
                no_value,
            }];
            summarize(&select(&converted, &chosen)).expect("a part of a card is a card");
        }
    }
}
