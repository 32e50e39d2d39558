//! Parts of a card, and what an index keeps of it.

use cloudless_vcard::content_line::Lexer;
use cloudless_vcard::{Chosen, INDEXED, IndexEntry, index, properties, select, split, text};
use proptest::collection::vec;
use proptest::prelude::*;

fn chosen(name: &str) -> Chosen<'_> {
    Chosen {
        group: None,
        name,
        no_value: false,
    }
}

const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Jo\r\n hn\r\nitem1.TEL;type=CELL:1\r\n\
                    TEL:2\r\nPHOTO;ENCODING=b:AA\r\n AA\r\nAGENT:\r\nBEGIN:VCARD\r\nFN:Agent\r\n\
                    END:VCARD\r\nend:vcard\r\n";

#[track_caller]
fn check(chosen: &[Chosen<'_>], expected: &str) {
    let selected = String::from_utf8(select(CARD.as_bytes(), chosen)).unwrap();
    let expected = format!("BEGIN:VCARD\r\nVERSION:3.0\r\n{expected}end:vcard\r\n");
    assert_eq!(selected, expected);
}

#[test]
fn rfc_6352_10_4_2_chosen_properties() {
    check(&[], "");
    check(&[chosen("version"), chosen("fn")], "FN:Jo\r\n hn\r\n");
    check(&[chosen("TEL")], "item1.TEL;type=CELL:1\r\nTEL:2\r\n");
    let grouped = Chosen {
        group: Some("ITEM1"),
        ..chosen("tel")
    };
    check(&[grouped], "item1.TEL;type=CELL:1\r\n");
    let without_value = Chosen {
        no_value: true,
        ..chosen("TEL")
    };
    check(&[without_value], "item1.TEL;type=CELL:\r\nTEL:\r\n");
    check(
        &[without_value, grouped],
        "item1.TEL;type=CELL:1\r\nTEL:\r\n",
    );
    check(
        &[chosen("AGENT")],
        "AGENT:\r\nBEGIN:VCARD\r\nFN:Agent\r\nEND:VCARD\r\n",
    );
}

#[test]
fn the_properties_of_a_card_are_its_own() {
    let names: Vec<String> = properties(CARD.as_bytes())
        .map(|line| line.name().into_owned())
        .collect();
    assert_eq!(names, ["VERSION", "FN", "TEL", "TEL", "PHOTO", "AGENT"]);
}

#[test]
fn an_index_has_text() {
    let card = "BEGIN:VCARD\nVERSION:2.1\nN;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;Jo\n\
                item1.email:A@example.com\nNOTE:a\\nb\\, c\nPHOTO:x\nEND:VCARD\n";
    let index = index(card.as_bytes());
    let entry = |property, value: &str| IndexEntry {
        property,
        value: value.to_owned(),
    };
    assert!(index.is_complete);
    assert_eq!(
        index.entries,
        [
            entry("N", "Müller;Jo"),
            entry("EMAIL", "A@example.com"),
            entry("NOTE", "a\nb, c"),
        ]
    );
}

#[test]
fn an_index_that_would_be_too_large_says_so() {
    let card = |lines: &str| format!("BEGIN:VCARD\nFN:a\n{lines}END:VCARD\n");
    let long = index(card(&format!("NOTE:{}\n", "a".repeat(5_000))).as_bytes());
    assert!(!long.is_complete);
    assert_eq!(long.entries.len(), 1);
    let many = index(card(&"TEL:1\n".repeat(10_000)).as_bytes());
    assert!(!many.is_complete);
    let photo = index(card(&format!("PHOTO:{}\n", "A".repeat(5_000))).as_bytes());
    assert!(photo.is_complete);
}

#[test]
fn the_text_of_a_card_is_what_people_wrote() {
    let card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:no\r\nN:Doe;John;;Dr.;\r\nFN:John\r\n\
                TEL:+1 (555) 55\r\nNOTE:two\\nlines\r\nPHOTO;ENCODING=b:bm8=\r\n\
                X-PICTURE:data:image/png;base64,bm8=\r\nX-ANY:field\r\nEND:VCARD\r\n";
    assert_eq!(
        text(card.as_bytes()),
        "Doe John Dr.\nJohn\n+1 (555) 55 +155555\ntwo lines\nfield\n"
    );
    let long = format!(
        "BEGIN:VCARD\n{}END:VCARD\n",
        "NOTE:äöü äöü\n".repeat(20_000)
    );
    let long = text(long.as_bytes());
    assert!(
        long.len() <= 64 * 1024 && long.len() > 60 * 1024,
        "{}",
        long.len()
    );
}

#[test]
fn every_real_card_is_indexed() {
    let Some(folder) = crate::corpus::corpus() else {
        return;
    };
    for bytes in crate::corpus::files(&folder) {
        for card in split(&bytes).flatten() {
            let index = index(card);
            let expected = properties(card)
                .filter(|line| INDEXED.iter().any(|name| line.is(name)))
                .count();
            assert_eq!(index.entries.len(), expected);
            assert!(index.is_complete);
            assert!(!text(card).contains("/9j/4"), "a picture is no text");
        }
    }
}

proptest! {
    #[test]
    fn what_is_selected_is_lines_of_the_card(
        lines in vec("(item1\\.)?(A|B|C)(;T=\"x:y\")?:[^\r\n]{0,100}", 0..8),
        names in vec("[a-cA-C]", 0..3),
    ) {
        let card: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let card = format!("BEGIN:VCARD\r\nVERSION:4.0\r\n{card}END:VCARD\r\n");
        let chosen: Vec<_> = names.iter().map(|name| chosen(name)).collect();
        let selected = select(card.as_bytes(), &chosen);
        let expected: String = card
            .split_inclusive("\r\n")
            .filter(|raw| {
                let line = Lexer::new(raw.as_bytes()).next().unwrap();
                let always = ["BEGIN", "VERSION", "END"].iter().any(|name| line.is(name));
                always || names.iter().any(|name| line.is(name))
            })
            .collect();
        prop_assert_eq!(String::from_utf8(selected).unwrap(), expected);
    }
}
