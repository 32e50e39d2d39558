//! What programs write that the RFCs do not foresee, case by case.

use cloudless_vcard::content_line::Lexer;
use cloudless_vcard::{Invalid, Summary, split, summarize};

fn summary(uid: &str, full_name: &str, version: &str) -> Summary {
    let some = |text: &str| {
        Some(text)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Summary {
        uid: some(uid),
        full_name: some(full_name),
        version: some(version),
    }
}

#[track_caller]
fn check(card: impl AsRef<[u8]>, uid: &str, full_name: &str, version: &str) {
    assert_eq!(
        summarize(card.as_ref()),
        Ok(summary(uid, full_name, version))
    );
    let cards: Vec<_> = split(card.as_ref()).collect();
    assert_eq!(cards.len(), 1, "the file splits into one card");
}

#[track_caller]
fn check_invalid(bytes: impl AsRef<[u8]>, expected: Invalid) {
    assert_eq!(summarize(bytes.as_ref()), Err(expected));
}

#[test]
fn plain() {
    check(
        "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:u\r\nFN:Ada\r\nEND:VCARD\r\n",
        "u",
        "Ada",
        "4.0",
    );
    check(
        "BEGIN:VCARD\nVERSION:3.0\nFN:Ada\nEND:VCARD",
        "",
        "Ada",
        "3.0",
    );
    check("BEGIN:VCARD\rUID:u\rEND:VCARD\r", "u", "", "");
    check(
        "BEGIN:VCARD\r\r\nUID:u\r\r\n 2\r\r\nEND:VCARD\r\r\n",
        "u2",
        "",
        "",
    );
    check("BEGIN:VCARD\nEND:VCARD", "", "", "");
}

/// vCard 2.1 needs no FN.
#[test]
fn a_card_without_a_formatted_name_is_called_by_its_parts() {
    for (names, expected) in [
        ("N:Müller;Jörg", "Jörg Müller"),
        ("N:Smith;Ann;Jo;Dr.;PhD", "Dr. Ann Jo Smith PhD"),
        ("FN: \nN:Ada;;;;", "Ada"),
        ("N:Smith;Ann\nFN:Annie", "Annie"),
        ("N:;;;;", ""),
    ] {
        let card = format!("BEGIN:VCARD\n{names}\nEND:VCARD");
        check(card, "", expected, "");
    }
}

#[test]
fn case_space_and_byte_order_mark() {
    check("\u{FEFF}begin:vCard\nuid: u \nEnd:VCARD \n\n", "u", "", "");
    check("\r\n\n \tBEGIN:VCARD\nFN:x\nEND:VCARD\n\u{1a}", "", "x", "");
    check("BEGIN : VCARD\nFN : x\nEND: vcard\t", "", "x", "");
}

#[test]
fn folds() {
    check(
        "BEGIN:VCARD\nFN:Ada\n  Lovelace\n\t!\nEND:VCARD",
        "",
        "Ada Lovelace!",
        "",
    );
    check("BEGIN:VCARD\nU\n ID\n :\n u\nE\n ND:VCARD\n", "u", "", "");
    check(b"BEGIN:VCARD\nFN:\xC3\n \xA4\nEND:VCARD", "", "ä", "");
    check("BEGIN:VCARD\n\n orphan\nFN:x\nEND:VCARD\n \n", "", "x", "");
}

#[test]
fn values() {
    check(
        "BEGIN:VCARD\nFN:a\\,b\\;c\\\\d\\ne\\x\\\nEND:VCARD",
        "",
        "a,b;c\\d\ne\\x\\",
        "",
    );
    check(
        "BEGIN:VCARD\nFN:\nFN: second \nFN:third\nUID:\nEND:VCARD",
        "",
        "second",
        "",
    );
    check(
        "BEGIN:VCARD\nUID:urn:uuid:1\nUID:2\nEND:VCARD",
        "urn:uuid:1",
        "",
        "",
    );
    check(
        "BEGIN:VCARD\nFN:a\u{b}b\0c\nEND:VCARD",
        "",
        "a\u{b}b\0c",
        "",
    );
    check(
        b"BEGIN:VCARD\nFN:M\xFCller\nEND:VCARD",
        "",
        "M\u{FFFD}ller",
        "",
    );
    check(
        b"BEGIN:VCARD\nFN;CHARSET=iso-8859-1:M\xFCller\nEND:VCARD",
        "",
        "Müller",
        "",
    );
    check(
        "BEGIN:VCARD\nno colon\nitem1.X.FN:x\n:\n;:\nEND:VCARD",
        "",
        "x",
        "",
    );
}

#[test]
fn quoted_printable() {
    let card = |header: &str, value: &str| format!("BEGIN:VCARD\n{header}:{value}\nEND:VCARD\n");
    let name = "ENCODING=QUOTED-PRINTABLE";
    check(
        card(&format!("FN;CHARSET=UTF-8;{name}"), "M=C3=A4=\nx=\n  y"),
        "",
        "Mäx  y",
        "",
    );
    check(
        card("FN;quoted-printable", "=C3=\n=A4=3d=zz=4"),
        "",
        "ä==zz=4",
        "",
    );
    check(card("FN;ENCODING=\nQUOTED-PRINTABLE", "a"), "", "", "");
    check(
        card("FN;ENCODING=QUOTED-\n PRINTABLE", "a=\nb"),
        "",
        "ab",
        "",
    );
    check(
        card("FN;ENCODING=QUOTED-PRINTABLE;CHARSET=ISO-8859-1", "=E4"),
        "",
        "ä",
        "",
    );
    // Text that ends in = without being quoted-printable goes no further.
    check(card("FN", "a=\nUID:u"), "u", "a=", "");
    // A soft line break into nothing does not swallow the end of the card.
    check(card(&format!("FN;{name}"), "a="), "", "a=", "");
}

#[test]
fn agents() {
    let agent = "BEGIN:VCARD\nUID:agent\nFN:Agent\nEND:VCARD\n";
    let card = |agent: &str| format!("BEGIN:VCARD\n{agent}UID:u\nFN:x\nEND:VCARD\n");
    check(card(&format!("AGENT:\n{agent}")), "u", "x", "");
    check(card(&format!("AGENT: \n\n{agent}")), "u", "x", "");
    check(card(&format!("AGENT:{agent}")), "u", "x", "");
    check(
        card(&format!(
            "AGENT:\nBEGIN:VCARD\nAGENT:\n{agent}UID:a\nEND:VCARD\n"
        )),
        "u",
        "x",
        "",
    );
    check(
        card("AGENT:BEGIN:VCARD\\nUID:agent\\nEND:VCARD\\n\n"),
        "u",
        "x",
        "",
    );
    check(card("AGENT:\n"), "u", "x", "");
    check(
        card("AGENT:BEGIN:VCARD\n UID:agent\n END:VCARD\n"),
        "u",
        "x",
        "",
    );
}

#[test]
fn refusals() {
    check_invalid("", Invalid::Empty);
    check_invalid("\u{FEFF} \r\n\t\0", Invalid::Empty);
    check_invalid("FN:x", Invalid::NotVcard);
    check_invalid("BEGIN:VCALENDAR\nEND:VCALENDAR", Invalid::NotVcard);
    check_invalid(b"\xFF\xD8\xFF\xE0", Invalid::NotVcard);
    check_invalid("END:VCARD", Invalid::NotVcard);
    check_invalid("BEGIN:VCARD\nFN:x", Invalid::Unterminated);
    check_invalid("BEGIN:VCARD\nFN:x\nEND:VCALENDAR", Invalid::Unterminated);
    check_invalid("BEGIN:VCARD\nBEGIN:VCARD\nEND:VCARD", Invalid::Unterminated);
    check_invalid(
        "BEGIN:VCARD\nEND:VCARD\nBEGIN:VCARD\nEND:VCARD",
        Invalid::MoreThanOne,
    );
    check_invalid("x\nBEGIN:VCARD\nEND:VCARD", Invalid::TextOutside);
    check_invalid("BEGIN:VCARD\nEND:VCARD\nEND:VCARD", Invalid::TextOutside);
}

#[test]
fn one_bad_card_does_not_stop_the_rest() {
    let file = "junk\nBEGIN:VCARD\nFN:1\nEND:VCARD\nbetween\nBEGIN:VCARD\nFN:2\n\nBEGIN:VCARD\n\
                FN:3\nEND:VCARD\nEND:VCARD\nBEGIN:VCARD\nFN:4\n";
    let names: Vec<Result<Option<String>, Invalid>> = split(file.as_bytes())
        .map(|card| summarize(card?).map(|card| card.full_name))
        .collect();
    let name = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(
        names,
        [
            name("1"),
            Err(Invalid::Unterminated),
            name("3"),
            Err(Invalid::Unterminated)
        ]
    );
}

#[test]
fn parameters_mix_plain_and_quoted_values() {
    let line = "TEL;X-EVOLUTION-E164=5550000,\"+47\" ;CELL; TYPE = home :+47 5550000";
    let line = Lexer::new(line.as_bytes()).next().unwrap();
    let parameters: Vec<_> = line
        .parameters()
        .map(|parameter| {
            let values: Vec<_> = parameter.values().map(String::from).collect();
            (
                parameter.name().map(String::from).unwrap_or_default(),
                values.join("|"),
            )
        })
        .collect();
    let expected = [
        ("X-EVOLUTION-E164", "5550000|+47"),
        ("", "CELL"),
        ("TYPE", "home"),
    ];
    assert_eq!(
        parameters,
        expected.map(|(name, values)| (name.to_owned(), values.to_owned()))
    );
    assert_eq!(line.value(), b"+47 5550000");
}

#[test]
fn a_quote_that_is_never_closed_is_a_character() {
    let line = Lexer::new(b"ADR;LABEL=12\" pipe:Street").next().unwrap();
    assert_eq!(line.value(), b"Street");
    let quoted = Lexer::new(b"ADR;LABEL=\"a:b\":Street").next().unwrap();
    assert_eq!(quoted.value(), b"Street");
}
