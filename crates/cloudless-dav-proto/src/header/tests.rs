use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

#[test]
fn depth_and_overwrite() {
    assert_eq!(Depth::parse(" 0 "), Some(Depth::Zero));
    assert_eq!(Depth::parse("1"), Some(Depth::One));
    assert_eq!(Depth::parse("Infinity"), Some(Depth::Infinity));
    for value in ["", "2", "01", "1,noroot"] {
        assert_eq!(Depth::parse(value), None, "{value:?}");
    }
    assert_eq!(parse_overwrite("T"), Some(true));
    assert_eq!(parse_overwrite(" f"), Some(false));
    assert_eq!(parse_overwrite("true"), None);
}

#[test]
fn destinations() {
    let destination = |authority: Option<&str>, segments: &[&str], is_collection| {
        Ok(Destination {
            authority: authority.map(str::to_owned),
            segments: segments.iter().map(|it| (*it).to_owned()).collect(),
            is_collection,
        })
    };
    let parse = Destination::parse;
    assert_eq!(
        parse("/b/a%2Fb.vcf"),
        destination(None, &["b", "a/b.vcf"], false)
    );
    assert_eq!(
        parse(" https://u@Example.com:8443/b/ "),
        destination(Some("example.com:8443"), &["b"], true)
    );
    assert_eq!(parse("http://h"), destination(Some("h"), &[], false));
    assert_eq!(
        parse("b/c"),
        Err(DestinationError::Path(HrefError::Relative))
    );
    assert_eq!(
        parse("/b/../c"),
        Err(DestinationError::Path(HrefError::DotSegment))
    );
    assert_eq!(parse("/b#c"), Err(DestinationError::Query));
    assert_eq!(parse("/b?c"), Err(DestinationError::Query));
}

#[test]
fn rfc_6352_5_1_accept() {
    let accepted = |values: &[&str]| accepted_vcard(values.iter().copied());
    for (value, expected) in [
        ("*/*", Accepted::AsStored),
        ("text/vcard", Accepted::AsStored),
        ("text/vcard; version=4.0", Accepted::Version4),
        ("TEXT/VCARD;VERSION=\"3.0\"", Accepted::Version3),
        ("text/vcard;version=4.0, */*;q=0.1", Accepted::Version4),
        (
            "text/vcard;version=4.0;q=0.5, text/vcard;version=3.0",
            Accepted::Version3,
        ),
        (
            "text/vcard;version=3.0, text/vcard;version=4.0",
            Accepted::AsStored,
        ),
        (
            "text/vcard;version=4.0;q=0.3, text/vcard;q=0.9",
            Accepted::AsStored,
        ),
        (
            "text/vcard;q=0, */*, text/vcard;version=4.0;q=0.5",
            Accepted::Version4,
        ),
        ("text/html, application/json", Accepted::Nothing),
        ("text/vcard;version=2.1", Accepted::Nothing),
        ("text/vcard;q=0", Accepted::Nothing),
        ("text/vcard;version=4.0;q=x", Accepted::Version4),
    ] {
        assert_eq!(accepted(&[value]), expected, "{value}");
    }
    assert_eq!(accepted(&[]), Accepted::AsStored);
    assert_eq!(accepted(&[" , "]), Accepted::AsStored);
    assert_eq!(
        accepted(&["text/html", "text/vcard;version=4.0"]),
        Accepted::Version4
    );
}

#[test]
fn rfc_7240_prefer() {
    let parse = |values: &[&str]| Prefer::parse(values.iter().copied());
    let prefer = |returns, depth_noroot| Prefer {
        returns,
        depth_noroot,
    };
    assert_eq!(
        parse(&["return=minimal"]),
        prefer(Some(Return::Minimal), false)
    );
    assert_eq!(
        parse(&["Return=\"Representation\"; x=1, depth-noroot"]),
        prefer(Some(Return::Representation), true)
    );
    assert_eq!(
        parse(&["wait=10", "return=minimal", "return=representation"]),
        prefer(Some(Return::Minimal), false)
    );
    assert_eq!(
        parse(&["return=nothing, x=\"return=minimal,\""]),
        Prefer::default()
    );
    assert_eq!(
        parse(&["return-minimal"]),
        prefer(Some(Return::Minimal), false)
    );
}

fn tag(tag: &str) -> State {
    State::ETag {
        tag: tag.to_owned(),
        weak: false,
    }
}

fn is(negate: bool, state: State) -> StateCondition {
    StateCondition { negate, state }
}

#[test]
fn rfc_4918_10_4_6_untagged_lists() {
    let header = If::parse(
        "(<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2>\r\n       [\"I am an ETag\"])\r\n\
         ([\"I am another ETag\"])",
    )
    .unwrap();
    let token = "urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2".to_owned();
    let list = |conditions| List {
        resource: None,
        conditions,
    };
    assert_eq!(
        header.lists,
        [
            list(vec![
                is(false, State::Token(token)),
                is(false, tag("I am an ETag"))
            ]),
            list(vec![is(false, tag("I am another ETag"))]),
        ]
    );
    let holds = |current: &str| {
        header.holds(|resource, state| {
            assert_eq!(resource, None);
            Ok::<_, Infallible>(*state == tag(current))
        })
    };
    assert_eq!(holds("I am another ETag"), Ok(true));
    assert_eq!(holds("I am an ETag"), Ok(false), "it has to be locked too");
}

#[test]
fn rfc_4918_10_4_7_not() {
    let header = If::parse("(Not <urn:uuid:a> <urn:uuid:b>)").unwrap();
    let token = |token: &str| State::Token(token.to_owned());
    assert_eq!(
        header.lists[0].conditions,
        [
            is(true, token("urn:uuid:a")),
            is(false, token("urn:uuid:b"))
        ]
    );
    // §10.4.8: an always-true condition.
    let header = If::parse("(<urn:uuid:a>) (Not <DAV:no-lock>)").unwrap();
    assert_eq!(header.holds(|_, _| Ok::<_, Infallible>(false)), Ok(true));
}

#[test]
fn rfc_4918_10_4_9_tagged_lists() {
    let header = If::parse(
        "</resource1> (<urn:uuid:a> [W/\"A weak ETag\"]) ([\"strong ETag\"]) <http://h/2> ([\"x\"])",
    )
    .unwrap();
    let resources: Vec<Option<&str>> = header
        .lists
        .iter()
        .map(|list| list.resource.as_deref())
        .collect();
    assert_eq!(
        resources,
        [Some("/resource1"), Some("/resource1"), Some("http://h/2")]
    );
    let weak = State::ETag {
        tag: "A weak ETag".to_owned(),
        weak: true,
    };
    assert_eq!(header.lists[0].conditions[1], is(false, weak));
    let holds = header.holds(|resource, state| {
        Ok::<_, Infallible>(resource == Some("http://h/2") && *state == tag("x"))
    });
    assert_eq!(holds, Ok(true));
}

#[test]
fn malformed_conditions_are_refused() {
    for value in [
        "",
        " ",
        "()",
        "(",
        "([\"a\"",
        "([a])",
        "[\"a\"]",
        "(<a)",
        "(<>)",
        "</a>",
        "</a></b>([\"a\"])",
        "([\"a\"]) </b> ([\"c\"])",
        "(Not)",
        "([\"a\"]) x",
        "(Not Not [\"a\"])",
        "\"a\"",
    ] {
        assert!(
            matches!(If::parse(value), Err(IfError::Malformed { .. })),
            "{value:?}: {:?}",
            If::parse(value)
        );
    }
    let many = format!("({})", "[\"a\"]".repeat(257));
    assert_eq!(If::parse(&many), Err(IfError::TooManyConditions));
}

proptest! {
    #[test]
    fn no_header_panics(value in "[ -~é]{0,40}|[()<>\\[\\]\"Not W/a=;,.0-9q*/]{0,40}") {
        let _ = If::parse(&value);
        let _ = Destination::parse(&value);
        accepted_vcard([value.as_str()]);
        Prefer::parse([value.as_str()]);
    }
}

#[test]
fn registrations_not_to_notify_are_named_by_url() {
    let parse = |values: &[&str]| PushDontNotify::parse(values.iter().copied());
    let urls = |urls: &[&str]| {
        let urls = urls.iter().copied().map(str::to_owned).collect();
        Some(PushDontNotify::Registrations(urls))
    };
    assert_eq!(parse(&["*"]), Some(PushDontNotify::All));
    assert_eq!(
        parse(&["\"https://a.example/1\""]),
        urls(&["https://a.example/1"])
    );
    assert_eq!(
        parse(&["\"https://a.example/1,2\" , \"/b\"", "https://c.example/"]),
        urls(&["https://a.example/1,2", "/b", "https://c.example/"])
    );
    assert_eq!(parse(&["", " , "]), None);
    let many = vec!["\"/a\""; 100].join(",");
    let Some(PushDontNotify::Registrations(kept)) = parse(&[&many]) else {
        panic!("there are registrations");
    };
    assert_eq!(kept.len(), 64);
}
