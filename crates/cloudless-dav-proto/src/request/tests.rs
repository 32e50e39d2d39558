use super::*;
use crate::CALENDAR_SERVER;

/// A name by the prefix that the tests use: `D:`, `C:` or `CS:`.
fn name(name: &str) -> Name {
    match name.split_once(':') {
        Some(("D", local)) => Name::new(DAV, local),
        Some(("C", local)) => Name::new(CARDDAV, local),
        Some(("CS", local)) => Name::new(CALENDAR_SERVER, local),
        _ => None,
    }
    .unwrap()
}

fn chosen(name: &str) -> ChosenProperty {
    ChosenProperty {
        group: None,
        name: name.to_owned(),
        no_value: false,
    }
}

fn names(text: &str) -> Vec<Name> {
    text.split_whitespace().map(name).collect()
}

#[track_caller]
fn check_prop(body: &str, expected: &str) {
    assert_eq!(
        parse_propfind(body.as_bytes()).unwrap(),
        Propfind::Prop(names(expected))
    );
}

#[track_caller]
fn check_report(body: &str, expected: Report) {
    assert_eq!(parse_report(body.as_bytes()).unwrap(), expected);
}

/// Asserts the variant that both parsers refuse a body with.
macro_rules! check_refused {
    ($body:expr, $expected:pat) => {
        let body: &[u8] = $body.as_ref();
        let head = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let propfind = parse_propfind(body);
        assert!(
            matches!(propfind, Err($expected)),
            "PROPFIND {head}: {propfind:?}"
        );
        let report = parse_report(body);
        assert!(
            matches!(report, Err($expected)),
            "REPORT {head}: {report:?}"
        );
    };
}

/// A body of either method with `inside` among the properties, well-formed around it.
fn around(inside: &str) -> [String; 2] {
    ["propfind", "sync-collection"]
        .map(|root| format!("<{root} xmlns='DAV:' xmlns:p='urn:p'><prop>{inside}</prop></{root}>"))
}

/// Asserts the variant for some markup inside a body.
macro_rules! check_refused_inside {
    ($inside:expr, $expected:pat) => {
        let [propfind, report] = around($inside);
        let head: String = $inside.chars().take(100).collect();
        let found = parse_propfind(propfind.as_bytes());
        assert!(
            matches!(found, Err($expected)),
            "PROPFIND {head}: {found:?}"
        );
        let found = parse_report(report.as_bytes());
        assert!(matches!(found, Err($expected)), "REPORT {head}: {found:?}");
    };
}

mod addressbook_query;
mod caps;
mod clients;
mod property_update;

#[test]
fn the_three_questions_of_propfind() {
    let parse = |body: &str| parse_propfind(body.as_bytes()).unwrap();
    let all = |include: &str| Propfind::AllProp {
        include: names(include),
    };
    assert_eq!(parse(""), all(""));
    assert_eq!(parse(" \r\n"), all(""));
    assert_eq!(
        parse("\u{FEFF}<propfind xmlns='DAV:'><allprop/></propfind>"),
        all("")
    );
    assert_eq!(
        parse("<propfind xmlns='DAV:'><allprop/><include><getetag/></include></propfind>"),
        all("D:getetag")
    );
    assert_eq!(
        parse("<propfind xmlns='DAV:'><propname/></propfind>"),
        Propfind::PropName
    );
    assert_eq!(
        parse("<propfind xmlns='DAV:'><prop/></propfind>"),
        Propfind::Prop(vec![])
    );
}

#[test]
fn what_is_unknown_or_repeated_is_skipped() {
    check_prop(
        "<!-- a --><?b c?><propfind xmlns='DAV:' x='1'><e xmlns='urn:e'><prop><f/></prop></e>text\
         <prop><getetag><deep><getctag/></deep></getetag><![CDATA[<x>]]><getetag/><owner/></prop>\
         <!-- c --></propfind><!-- d -->\n",
        "D:getetag D:owner",
    );
}

#[test]
fn names_of_no_namespace_and_of_an_escaped_one() {
    let body = "<D:propfind xmlns:D='DAV:'><D:prop><bare/><é xmlns='urn:x?a&amp;b'/></D:prop>\
                </D:propfind>";
    let expected = vec![
        Name::new("", "bare").unwrap(),
        Name::new("urn:x?a&b", "é").unwrap(),
    ];
    assert_eq!(
        parse_propfind(body.as_bytes()).unwrap(),
        Propfind::Prop(expected)
    );
}

#[test]
fn text_is_put_together_from_references_and_sections() {
    let body = "<C:addressbook-multiget xmlns:C='urn:ietf:params:xml:ns:carddav' xmlns='DAV:'>\
                <href> /&#97;&#x62;<![CDATA[&<]]>&lt;&gt;&amp;&apos;&quot;<!-- x -->é<y>no</y>\n\
                </href></C:addressbook-multiget>";
    let hrefs = vec!["/ab&<<>&'\"é".to_owned()];
    check_report(
        body,
        Report::AddressbookMultiget {
            props: Props::default(),
            hrefs,
        },
    );
}

#[test]
fn limits_of_a_sync() {
    let limit = |text: &str| {
        let body = format!(
            "<sync-collection xmlns='DAV:'><limit><nresults>{text}</nresults></limit>\
             </sync-collection>"
        );
        match parse_report(body.as_bytes()) {
            Ok(Report::SyncCollection { limit, .. }) => Some(limit),
            Err(RequestError::Limit) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(limit("1"), Some(Some(1)));
    assert_eq!(limit("99999999999999999999"), Some(Some(u32::MAX)));
    for refused in ["0", "", "-1", "+1", "x", "1 2", "1.5"] {
        assert_eq!(limit(refused), None, "{refused:?}");
    }
}

#[test]
fn a_sync_level_that_is_no_level() {
    let body = "<sync-collection xmlns='DAV:'><sync-level>2</sync-level></sync-collection>";
    assert!(matches!(
        parse_report(body.as_bytes()),
        Err(RequestError::SyncLevel)
    ));
}

#[test]
fn bodies_without_a_question() {
    for body in [
        "<propfind xmlns='DAV:'/>",
        "<propfind xmlns='DAV:'><x/></propfind>",
    ] {
        assert!(matches!(
            parse_propfind(body.as_bytes()),
            Err(RequestError::NoQuestion)
        ));
    }
    let body = "<propfind xmlns='DAV:'><prop/><allprop/></propfind>";
    assert!(matches!(
        parse_propfind(body.as_bytes()),
        Err(RequestError::SeveralQuestions)
    ));
    let body = "<propfind><prop/></propfind>";
    assert!(matches!(
        parse_propfind(body.as_bytes()),
        Err(RequestError::UnexpectedRoot(_))
    ));
    assert!(matches!(parse_report(b" \n"), Err(RequestError::EmptyBody)));
}

#[test]
fn a_document_type_is_refused_before_its_entities() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY a 'aaaaaaaaaa'>\
                <!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]>\
                <propfind xmlns='DAV:'><prop><x>&c;</x></prop></propfind>";
    check_refused!(bomb, RequestError::DocumentType);
    let external = "<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x/>";
    check_refused!(external, RequestError::DocumentType);
    check_refused_inside!("<!DOCTYPE x []><a/>", RequestError::DocumentType);
}

#[test]
fn entities_and_characters_that_xml_does_not_have() {
    check_refused_inside!("<a>&x;</a>", RequestError::UnknownEntity { .. });
    check_refused_inside!("<a>&#0;</a>", RequestError::Malformed { .. });
    check_refused_inside!("<a>&#11;</a>", RequestError::IllegalCharacter { code: 11 });
    check_refused_inside!(
        "<a>&#xFFFF;</a>",
        RequestError::IllegalCharacter { code: 0xFFFF }
    );
    check_refused_inside!("<a>&#xD800;</a>", RequestError::Malformed { .. });
    check_refused_inside!("<a>\u{b}</a>", RequestError::IllegalCharacter { code: 11 });
    check_refused!(b"<a>\xFF</a>", RequestError::NotUtf8 { offset: 3 });
    let utf_16: Vec<u8> = "<a/>".encode_utf16().flat_map(u16::to_be_bytes).collect();
    check_refused!(utf_16, RequestError::IllegalCharacter { code: 0 });
}

#[test]
fn xml_that_is_not_well_formed() {
    check_refused!("text", RequestError::OutsideRoot);
    check_refused!("</a>", RequestError::Malformed { .. });
    check_refused!("<!-- -->", RequestError::NoRoot);
    check_refused_inside!("<a></b>", RequestError::Malformed { .. });
    check_refused_inside!("<a b='1' b='2'/>", RequestError::Malformed { .. });
    check_refused_inside!("<a b=1/>", RequestError::Malformed { .. });
    check_refused_inside!("<a>&amp</a>", RequestError::Malformed { .. });
    check_refused_inside!("<a:b/>", RequestError::UndeclaredPrefix { .. });
    check_refused_inside!("<p:b xmlns:p=''/>", RequestError::UndeclaredPrefix { .. });
    check_refused_inside!("<1/>", RequestError::InvalidName);
    check_refused_inside!("<xml:a/>", RequestError::InvalidName);
    for root in ["propfind", "sync-collection"] {
        check_either(&format!("<{root} xmlns='DAV:'><prop>"), |error| {
            matches!(error, RequestError::Unclosed)
        });
        for tail in ["x", "<y/>", "&amp;"] {
            check_either(
                &format!("<{root} xmlns='DAV:'><prop/></{root}>{tail}"),
                |error| matches!(error, RequestError::OutsideRoot),
            );
        }
    }
}

/// Asserts the error of the method whose root the body has.
#[track_caller]
fn check_either(body: &str, is_expected: impl Fn(&RequestError) -> bool) {
    let error = if body.starts_with("<propfind") {
        parse_propfind(body.as_bytes()).unwrap_err()
    } else {
        parse_report(body.as_bytes()).unwrap_err()
    };
    assert!(is_expected(&error), "{body}: {error:?}");
}
