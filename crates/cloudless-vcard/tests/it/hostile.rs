//! Input made to make a reader panic, or work for a very long time.

use std::time::{Duration, Instant};

use cloudless_vcard::content_line::Lexer;
use cloudless_vcard::{
    Chosen, Person, Version, convert, index, merge, select, split, summarize, text,
};
use proptest::collection::vec;
use proptest::prelude::*;

const CHOSEN: [Chosen<'_>; 2] = [
    Chosen {
        group: None,
        name: "NOTE",
        no_value: false,
    },
    Chosen {
        group: Some("item1"),
        name: "FN",
        no_value: true,
    },
];

/// Reads the bytes in every way and checks what always holds.
fn check(bytes: &[u8]) {
    let mut end = 0;
    for card in split(bytes).filter_map(Result::ok) {
        let at = end
            + bytes[end..]
                .windows(card.len())
                .position(|part| part == card)
                .unwrap();
        end = at + card.len();
        summarize(card).unwrap();
        Person::read(card, None);
        summarize(&merge(card, &[card]).unwrap()).unwrap();
        for to in [Version::V3, Version::V4] {
            summarize(&convert(card, to).unwrap()).unwrap();
        }
    }
    let _ = (summarize(bytes), index(bytes), text(bytes));
    select(bytes, &CHOSEN);
    for line in Lexer::new(bytes) {
        let _ = (
            line.group(),
            line.name(),
            line.value(),
            line.text(),
            line.is("UID"),
        );
        for parameter in line.parameters() {
            let _ = (parameter.name(), parameter.values().count());
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..400)) {
        check(&bytes);
    }

    #[test]
    fn no_mixture_of_what_matters_panics(
        pieces in vec(
            prop::sample::select(vec![
                "BEGIN:VCARD", "END:VCARD", "begin : vcard", "AGENT:", "AGENT:BEGIN:VCARD", "\r",
                "\n", "\r\n", "\r\r\n", " ", "\t", "=", ";", ":", "\"", ",", ".", "\\", "\u{FEFF}",
                "ENCODING=QUOTED-PRINTABLE", "NOTE;QUOTED-PRINTABLE:", "FN:", "UID:", "item1.",
                "CHARSET=ISO-8859-1", "=C3=A4", "\0", "\u{b}", "x", "é",
            ]),
            0..60,
        ),
    ) {
        check(pieces.concat().as_bytes());
    }

    #[test]
    fn no_property_of_a_card_panics(
        version in prop::sample::select(vec!["2.1", "3.0", "4.0", ""]),
        name in prop::sample::select(vec![
            "BDAY", "REV", "TEL", "PHOTO", "KEY", "GEO", "KIND", "N", "NOTE", "X-A", "a.ADR",
        ]),
        pieces in vec(
            prop::sample::select(vec![
                "1604", "-", "02", "3", "T", "Z", "+", ":", ";", ",", "=", "\\", "\"", "\r\n ",
                "PREF", "TYPE=pref", ";PREF=", ";VALUE=date", ";VALUE=uri", ";ENCODING=b",
                ";ENCODING=QUOTED-PRINTABLE", ";CHARSET=", "utf-16", "=C3", "=A4", "data:",
                "image/png;base64,", "AAAA", "geo:", "tel:", "group", ";JSCOMPS=", "s,", ";CREATED=",
                ";DERIVED=", ";LEVEL=", ";INDEX=", "99999999999999999999", "é", "\u{301}", "\0",
                ";X-APPLE-OMIT-YEAR=1604", "^n", "^'", "\u{2028}",
            ]),
            0..14,
        ),
    ) {
        let value = pieces.concat();
        check(format!("BEGIN:VCARD\r\nVERSION:{version}\r\n{name};{value}\r\nEND:VCARD").as_bytes());
        check(format!("BEGIN:VCARD\r\nVERSION:{version}\r\n{name}:{value}\r\nEND:VCARD").as_bytes());
    }
}

#[test]
fn work_is_linear_in_the_input() {
    let card = |body: String| format!("BEGIN:VCARD\r\n{body}\r\nEND:VCARD\r\n");
    let many = 1 << 20;
    let inputs = [
        "\r".repeat(many),
        "\r\r\n".repeat(many),
        "BEGIN:VCARD\r\n".repeat(many / 8),
        "BEGIN:VCARD\r\nAGENT:\r\n".repeat(many / 8),
        card("X\r\n =\r\n".repeat(many / 4)),
        card(format!("NOTE;QUOTED-PRINTABLE:{}", "=\r\n".repeat(many))),
        card(format!(
            "NOTE{}",
            "\r\n ;QUOTED-PRINTABLE=".repeat(many / 16)
        )),
        card(format!("NOTE;X=\"{}", "\r\n :".repeat(many / 4))),
        card(format!("FN{}:x", ";".repeat(many))),
        card(format!("FN;X={}:x", ",".repeat(many))),
        card(format!("FN:{}", "\\".repeat(many))),
        card(format!("TEL{}:x", ";HOME".repeat(many / 8))),
        card(format!("BDAY{}:1604-01-02", ";PREF=1".repeat(many / 8))),
        card(format!(
            "PHOTO;ENCODING=b{}:AAAA",
            ";TYPE=pref".repeat(many / 8)
        )),
        card(format!("PHOTO:{}", "AAAA\r\n ".repeat(many / 4))),
        "\u{FEFF}".repeat(many),
    ];
    for input in inputs {
        let start = Instant::now();
        let _ = summarize(input.as_bytes());
        split(input.as_bytes()).for_each(drop);
        let _ = (index(input.as_bytes()), text(input.as_bytes()));
        select(input.as_bytes(), &CHOSEN);
        let _ = merge(input.as_bytes(), &[input.as_bytes()]);
        Person::read(input.as_bytes(), None);
        for to in [Version::V3, Version::V4] {
            let _ = convert(input.as_bytes(), to);
        }
        for line in Lexer::new(input.as_bytes()) {
            line.parameters()
                .for_each(|parameter| parameter.values().for_each(drop));
        }
        let head: String = input.chars().take(40).collect();
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{head:?} took {:?}",
            start.elapsed()
        );
    }
}

/// What would have to be held in memory to convert is given as it is stored.
#[test]
fn a_line_of_countless_parameters_is_left_alone() {
    let converted = |name: &str, parameters: usize| {
        let line = format!("{name};TYPE=pref{}:x", ";HOME".repeat(parameters));
        let card = format!("BEGIN:VCARD\r\nVERSION:2.1\r\nFN:x\r\n{line}\r\nEND:VCARD\r\n");
        let converted = convert(card.as_bytes(), Version::V4).unwrap();
        (line, String::from_utf8(converted.into_owned()).unwrap())
    };
    for name in ["TEL", "NOTE", "MEMBER", "X-A"] {
        let (line, card) = converted(name, 1 << 17);
        assert!(card.contains(&line), "{name}");
        assert!(card.contains("VERSION:4.0"), "{name}");
        let (line, card) = converted(name, 2);
        assert!(!card.contains(&line), "{card}");
        assert!(card.contains(";PREF=1:x"), "{card}");
    }
}

/// Two lines that differ only in a parameter that is not read are two lines.
#[test]
fn a_merge_loses_no_line_of_countless_parameters() {
    let card = |last: &str| {
        let parameters = ";HOME".repeat(1 << 16);
        format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:x\r\nTEL{parameters};{last}:1\r\nEND:VCARD\r\n")
    };
    let merged = merge(card("A").as_bytes(), &[card("B").as_bytes()]).unwrap();
    let unfolded = String::from_utf8(merged).unwrap().replace("\r\n ", "");
    assert!(unfolded.contains(";A:1") && unfolded.contains(";B:1"));
}

/// Such a line is one of its own only because of what stands before it, which may not be written.
#[test]
fn a_line_that_begins_with_white_space_is_no_fold_of_another() {
    let bytes =
        b"BEGIN:VCARD\r\n N:Doe;Ann\r\nNOTE:x\r\n\r\n\tTEL;TYPE=pref:1\r\n\r\n END:VCARD\r\n";
    let names = |card: &[u8]| -> Vec<String> {
        let lines = Lexer::new(card).map(|line| line.name().into_owned());
        lines.filter(|name| name.len() < 5).collect()
    };
    let before = ["N", "NOTE", "TEL", "END"];
    assert_eq!(names(bytes), before);
    for to in [Version::V3, Version::V4] {
        let converted = convert(bytes, to).unwrap();
        let summary = summarize(&converted).unwrap();
        assert_eq!(summary.version.as_deref(), Some(to.number()));
        let mut names = names(&converted);
        names.retain(|name| name != "FN");
        assert_eq!(names, before);
    }
    let tel = Chosen {
        group: None,
        name: "TEL",
        no_value: false,
    };
    let selected = select(bytes, &[tel]);
    summarize(&selected).unwrap();
    assert_eq!(names(&selected), ["TEL", "END"]);
    let other = b"BEGIN:VCARD\r\nORG:y\r\nEND:VCARD\r\n";
    let merged = merge(bytes, &[other]).unwrap();
    summarize(&merged).unwrap();
    assert_eq!(names(&merged), ["N", "NOTE", "TEL", "ORG", "END"]);
}
