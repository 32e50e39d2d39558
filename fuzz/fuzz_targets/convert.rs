//! Conversion between versions, and parts of cards: what comes out is one card of that version, does
//! not grow out of proportion, and converting it again changes nothing.

#![no_main]

use std::borrow::Cow;

use cloudless_vcard::{Chosen, Version, convert, select, summarize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8], &str)| {
    let (is_3, lines, name) = input;
    let version = if is_3 { "3.0" } else { "4.0" };
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
                name,
                no_value,
            }];
            summarize(&select(&converted, &chosen)).expect("a part of a card is a card");
        }
    }
});
