//! 3.0 and 4.0 from each other.

use std::borrow::Cow;

use cloudless_vcard::content_line::Lexer;
use cloudless_vcard::{Invalid, Version, convert, summarize};
use proptest::collection::vec;
use proptest::prelude::*;

fn card(version: &str, lines: &str) -> String {
    format!("BEGIN:VCARD\r\nVERSION:{version}\r\n{lines}END:VCARD\r\n")
}

/// The lines of the converted card between VERSION and END, unfolded, without those added for a
/// name that is missing.
fn converted(from: &str, lines: &str, to: Version) -> Vec<String> {
    let lines = format!("N:N;;;;\r\nFN:N\r\n{lines}\r\n");
    let card = card(from, &lines);
    let converted = convert(card.as_bytes(), to).unwrap();
    let summary = summarize(&converted).unwrap();
    assert_eq!(summary.version.as_deref(), Some(to.number()));
    let text = String::from_utf8(converted.into_owned()).unwrap();
    assert!(text.split("\r\n").all(|line| line.len() <= 75), "{text}");
    let unfolded = text.replace("\r\n ", "");
    let mut lines = unfolded.lines().skip(4);
    let mut lines: Vec<String> = lines.by_ref().map(str::to_owned).collect();
    assert_eq!(lines.pop().as_deref(), Some("END:VCARD"));
    lines
}

#[track_caller]
fn check(from: &str, line: &str, to: Version, expected: &str) {
    assert_eq!(converted(from, line, to), [expected], "{line}");
}

/// Asserts that either is made of the other.
#[track_caller]
fn check_both(v3: &str, v4: &str) {
    check("3.0", v3, Version::V4, v4);
    check("4.0", v4, Version::V3, v3);
}

#[track_caller]
fn check_kept(line: &str) {
    check_both(line, line);
}

#[test]
fn groups() {
    check_both("X-ADDRESSBOOKSERVER-KIND:group", "KIND:group");
    check_both("X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:a", "MEMBER:urn:uuid:a");
    check("4.0", "KIND:individual", Version::V3, "KIND:individual");
}

#[test]
fn pictures() {
    check_both(
        "PHOTO;ENCODING=b;TYPE=PNG:iVBORw0KGgo=",
        "PHOTO:data:image/png;base64,iVBORw0KGgo=",
    );
    check(
        "3.0",
        "item1.PHOTO;X-ABCROP-RECTANGLE=ABClipRect_1&0&0&64&64&aQ==;ENCODING=BASE64;TYPE=jpg:AAAA",
        Version::V4,
        "item1.PHOTO;X-ABCROP-RECTANGLE=ABClipRect_1&0&0&64&64&aQ==:data:image/jpeg;base64,AAAA",
    );
    check(
        "4.0",
        "PHOTO:https://example.com/a,b.png",
        Version::V3,
        "PHOTO;VALUE=uri:https://example.com/a,b.png",
    );
    check_both(
        "KEY;ENCODING=b;TYPE=PGP:LS0tLQ==",
        "KEY:data:application/pgp-keys;base64,LS0tLQ==",
    );
    let base64 = "ABCD".repeat(50_000);
    check_both(
        &format!("PHOTO;ENCODING=b;TYPE=JPEG:{base64}"),
        &format!("PHOTO:data:image/jpeg;base64,{base64}"),
    );
}

#[test]
fn dates() {
    check_both("BDAY:1996-04-15", "BDAY:19960415");
    check_both("BDAY;X-APPLE-OMIT-YEAR=1604:1604-02-03", "BDAY:--0203");
    check(
        "3.0",
        "REV:2008-04-24T19:52:43Z",
        Version::V4,
        "REV:20080424T195243Z",
    );
    check_kept("REV:20080424T195243Z");
    check(
        "3.0",
        "BDAY;VALUE=date:1996-04-15",
        Version::V4,
        "BDAY:19960415",
    );
    check(
        "4.0",
        "BDAY;VALUE=text:circa 1800",
        Version::V3,
        "BDAY;VALUE=text:circa 1800",
    );
    check("4.0", "BDAY:1996", Version::V3, "BDAY:1996");
    // A person born in 1604 whose card does not say that the year means nothing.
    check("3.0", "BDAY:1604-02-03", Version::V4, "BDAY:16040203");
}

#[test]
fn preferences_and_types() {
    check_both("TEL;TYPE=CELL;TYPE=pref:1", "TEL;TYPE=CELL;PREF=1:1");
    check(
        "3.0",
        "TEL;TYPE=\"cell,pref\":1",
        Version::V4,
        "TEL;TYPE=\"cell,pref\":1",
    );
    check(
        "3.0",
        "TEL;TYPE=cell,pref,work:1",
        Version::V4,
        "TEL;TYPE=cell,work;PREF=1:1",
    );
    check(
        "3.0",
        "item1.EMAIL;type=INTERNET;type=HOME;type=pref:a@example.com",
        Version::V4,
        "item1.EMAIL;type=INTERNET;type=HOME;PREF=1:a@example.com",
    );
    check(
        "4.0",
        "TEL;PREF=2;TYPE=work:1",
        Version::V3,
        "TEL;TYPE=work:1",
    );
    check(
        "4.0",
        "TEL;VALUE=uri;TYPE=\"voice,home\":tel:+1-555-555-5555",
        Version::V3,
        "TEL;TYPE=\"voice,home\":+1-555-555-5555",
    );
}

#[test]
fn positions() {
    check_both("GEO:37.386013;-122.082932", "GEO:geo:37.386013,-122.082932");
}

#[test]
fn what_is_not_understood_stays_as_it_is_written() {
    for date in ["03/02/1990", "3.2.1990", "1990-02-03T00:00:00.500-05:00"] {
        check(
            "3.0",
            &format!("BDAY:{date}"),
            Version::V4,
            &format!("BDAY:{date}"),
        );
    }
    check("3.0", "BDAY:--02-03", Version::V4, "BDAY:--0203");
    check("3.0", r"GEO:1.5\;2.5", Version::V4, "GEO:geo:1.5,2.5");
    let base64 = "X-THING;ENCODING=b:QUJD";
    check("3.0", base64, Version::V4, base64);
}

#[test]
fn where_a_picture_belongs_is_no_format() {
    for types in [
        "TYPE=JPEG;TYPE=home",
        "TYPE=home,JPEG",
        "TYPE=\"JPEG,home\"",
    ] {
        let line = format!("PHOTO;ENCODING=b;{types}:AAAA");
        check(
            "3.0",
            &line,
            Version::V4,
            "PHOTO;TYPE=home:data:image/jpeg;base64,AAAA",
        );
    }
}

#[test]
fn lines_of_a_vcard_2_1_value_end_without_carriage_returns() {
    for (line, expected) in [
        ("NOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab", r"NOTE:a\nb"),
        (
            r"NOTE;ENCODING=QUOTED-PRINTABLE:C:=5Croot",
            r"NOTE:C:\\root",
        ),
    ] {
        check("2.1", line, Version::V3, expected);
        check("2.1", line, Version::V4, expected);
    }
}

#[test]
fn what_means_the_same_stays_as_it_is_written() {
    for line in [
        "NOTE:a; b\\; c\\, d, e\\nf\\\\g",
        "item1.X-ABLabel:_$!<Other>!$_",
        "item1.ADR;type=HOME:;;1 St\\; 2;City, Town;;;",
        "ORG:A\\;B;C",
        "X-SOCIALPROFILE;type=twitter;x-user=a:https://example.com/a",
        "TEL;X-EVOLUTION-E164=5550000,\"+47\";TYPE=work:5550000",
        "UID:urn:uuid:a",
        "IMPP;X-SERVICE-TYPE=Jabber:xmpp:a@example.com",
        "X-UNKNOWN;A=b;C=\"d;e\":f;g,h",
        "url:https://example.com/?a=b,c;d",
        "CATEGORIES:a,b\\,c",
        "RELATED;VALUE=text:Someone",
    ] {
        check_kept(line);
    }
}

#[test]
fn vcard_2_1_becomes_either() {
    for to in [Version::V3, Version::V4] {
        check(
            "2.1",
            "NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:gr=C3=BC=\r\n=C3=9Fe",
            to,
            "NOTE:grüße",
        );
        check("2.1", "TEL;CELL;VOICE:1", to, "TEL;TYPE=CELL;TYPE=VOICE:1");
    }
    check(
        "2.1",
        "PHOTO;JPEG;ENCODING=BASE64:\r\n AAAA\r\n BBBB\r\n",
        Version::V4,
        "PHOTO:data:image/jpeg;base64,AAAABBBB",
    );
    check(
        "2.1",
        "TEL;HOME;PREF:1",
        Version::V4,
        "TEL;TYPE=HOME;PREF=1:1",
    );
    check(
        "2.1",
        "TEL;HOME;PREF:1",
        Version::V3,
        "TEL;TYPE=HOME;TYPE=PREF:1",
    );
}

#[test]
fn the_name_that_a_version_demands_is_made_of_the_other() {
    let added = |version: &str, lines: &str, to| {
        let card = card(version, lines);
        let converted = convert(card.as_bytes(), to).unwrap().into_owned();
        let text = String::from_utf8(converted).unwrap();
        text.lines().rev().nth(1).unwrap().to_owned()
    };
    assert_eq!(added("4.0", "FN:A\\; B\r\n", Version::V3), "N:A\\; B;;;;");
    assert_eq!(
        added("3.0", "N:Doe;John;;Dr.;\r\n", Version::V4),
        "FN:Dr. John Doe"
    );
    assert_eq!(
        added("3.0", "ORG:A\\, Inc.;B\r\n", Version::V4),
        "FN:A\\, Inc. B"
    );
    assert_eq!(added("3.0", "X:1\r\n", Version::V4), "FN:");
}

#[test]
fn a_card_of_the_version_is_given_back_as_it_is() {
    let card = "\u{FEFF}begin:vcard\nversion: 3.0 \nFN:a\nend:vcard";
    let same = convert(card.as_bytes(), Version::V3).unwrap();
    assert!(matches!(same, Cow::Borrowed(bytes) if bytes == card.as_bytes()));
}

#[test]
fn line_endings_stay() {
    for ending in ["\n", "\r\n", "\r"] {
        let card = [
            "BEGIN:VCARD",
            "VERSION:3.0",
            "BDAY:1996-04-15",
            "N:;;;;",
            "END:VCARD",
            "",
        ]
        .join(ending);
        let expected = [
            "BEGIN:VCARD",
            "VERSION:4.0",
            "BDAY:19960415",
            "N:;;;;",
            "FN:",
            "END:VCARD",
            "",
        ]
        .join(ending);
        let converted = convert(card.as_bytes(), Version::V4).unwrap();
        assert_eq!(String::from_utf8_lossy(&converted), expected);
    }
}

#[test]
fn what_is_not_one_card_is_not_converted() {
    assert_eq!(convert(b"", Version::V4), Err(Invalid::Empty));
    let two = card("3.0", "").repeat(2);
    assert_eq!(
        convert(two.as_bytes(), Version::V4),
        Err(Invalid::MoreThanOne)
    );
}

#[test]
fn every_real_card_converts_and_keeps_who_it_is() {
    let Some(folder) = crate::corpus::corpus() else {
        return;
    };
    let mut cards = 0;
    for bytes in crate::corpus::files(&folder) {
        for card in cloudless_vcard::split(&bytes).flatten() {
            cards += 1;
            let before = summarize(card).unwrap();
            for to in [Version::V3, Version::V4] {
                let converted = convert(card, to).unwrap();
                let after = summarize(&converted).unwrap();
                assert_eq!(after.uid, before.uid);
                assert_eq!(after.version.as_deref(), Some(to.number()));
                if before.full_name.is_some() {
                    assert_eq!(after.full_name, before.full_name);
                }
                let count = |bytes: &[u8], name: &str| {
                    Lexer::new(bytes).filter(|line| line.is(name)).count()
                };
                for name in ["TEL", "EMAIL", "ADR", "PHOTO", "NOTE", "BDAY", "URL"] {
                    assert_eq!(count(&converted, name), count(card, name), "{name}");
                }
            }
        }
    }
    assert!(cards > 70, "{cards} cards");
}

/// What a card is known by, in order.
fn identity(card: &[u8]) -> Vec<(String, String)> {
    let known = ["UID", "FN", "TEL", "EMAIL"];
    Lexer::new(card)
        .filter(|line| known.iter().any(|name| line.is(name)))
        .map(|line| (line.name().to_uppercase(), line.text()))
        .collect()
}

proptest! {
    #[test]
    fn there_and_back_keeps_who_it_is(
        uid in "[^\r\n\\s][^\r\n]{0,40}",
        full_name in "[^\r\n]{0,60}",
        properties in vec(
            (
                prop::sample::select(vec![
                    "TEL", "TEL;TYPE=CELL,pref", "item1.TEL;type=pref", "EMAIL",
                    "EMAIL;type=INTERNET;type=pref", "BDAY", "REV", "PHOTO;ENCODING=b", "NOTE",
                ]),
                "[^\r\n]{0,90}",
            ),
            0..8,
        ),
    ) {
        let mut lines = format!("UID:{uid}\r\nFN:{full_name}\r\n");
        for (name, value) in properties {
            lines += &format!("{name}:{value}\r\n");
        }
        let card = card("3.0", &lines);
        let there = convert(card.as_bytes(), Version::V4).unwrap();
        let back = convert(&there, Version::V3).unwrap();
        prop_assert_eq!(identity(&back), identity(card.as_bytes()));
        prop_assert_eq!(summarize(&back).unwrap().uid, summarize(card.as_bytes()).unwrap().uid);
    }
}
