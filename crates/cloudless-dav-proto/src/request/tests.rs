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

mod clients {
    //! What each client sends, by its sequence of requests.

    use super::*;

    #[test]
    fn davx5_discovery() {
        check_prop(
            r#"<?xml version='1.0' encoding='UTF-8' ?>
<propfind xmlns="DAV:" xmlns:CARD="urn:ietf:params:xml:ns:carddav"><prop><resourcetype /><displayname /><current-user-principal /><CARD:addressbook-home-set /><CARD:addressbook-description /></prop></propfind>"#,
            "D:resourcetype D:displayname D:current-user-principal C:addressbook-home-set \
             C:addressbook-description",
        );
    }

    #[test]
    fn davx5_push_properties_of_another_namespace() {
        let body = r#"<propfind xmlns="DAV:" xmlns:P="https://bitfire.at/webdav-push"><prop>
            <owner/><P:transports/><P:topic/></prop></propfind>"#;
        let push = |local| Name::new("https://bitfire.at/webdav-push", local).unwrap();
        let expected = vec![Name::dav("owner"), push("transports"), push("topic")];
        assert_eq!(
            parse_propfind(body.as_bytes()).unwrap(),
            Propfind::Prop(expected)
        );
    }

    #[test]
    fn davx5_capabilities() {
        check_prop(
            r#"<propfind xmlns="DAV:" xmlns:CAL="urn:ietf:params:xml:ns:caldav"
                xmlns:CARD="urn:ietf:params:xml:ns:carddav"
                xmlns:CS="http://calendarserver.org/ns/"><prop><supported-report-set/><sync-token/>
                <CS:getctag/><CARD:max-resource-size/><CARD:supported-address-data/></prop>
            </propfind>"#,
            "D:supported-report-set D:sync-token CS:getctag C:max-resource-size \
             C:supported-address-data",
        );
    }

    #[test]
    fn davx5_sync_collection() {
        check_report(
            r#"<?xml version='1.0' encoding='UTF-8' ?><sync-collection xmlns="DAV:"><sync-token />
            <sync-level>1</sync-level><prop><getetag /><resourcetype /></prop></sync-collection>"#,
            Report::SyncCollection {
                token: None,
                level: SyncLevel::One,
                limit: None,
                props: Props {
                    names: names("D:getetag D:resourcetype"),
                    address_data: None,
                },
            },
        );
    }

    #[test]
    fn davx5_multiget() {
        check_report(
            r#"<?xml version='1.0' encoding='UTF-8' ?><CARD:addressbook-multiget xmlns="DAV:"
              xmlns:CARD="urn:ietf:params:xml:ns:carddav"><prop><getcontenttype/><getetag/>
              <CARD:address-data content-type="text/vcard" version="4.0"/></prop>
              <href>/dav/a%40b.vcf</href><href>/dav/c&amp;d.vcf</href></CARD:addressbook-multiget>"#,
            Report::AddressbookMultiget {
                props: Props {
                    names: names("D:getcontenttype D:getetag"),
                    address_data: Some(AddressData {
                        content_type: Some("text/vcard".into()),
                        version: Some("4.0".into()),
                        properties: vec![],
                    }),
                },
                hrefs: vec!["/dav/a%40b.vcf".into(), "/dav/c&d.vcf".into()],
            },
        );
    }

    #[test]
    fn apple_principal() {
        check_prop(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<A:propfind xmlns:A="DAV:">
  <A:prop>
    <B:addressbook-home-set xmlns:B="urn:ietf:params:xml:ns:carddav"/>
    <B:directory-gateway xmlns:B="urn:ietf:params:xml:ns:carddav"/>
    <A:displayname/>
    <C:email-address-set xmlns:C="http://calendarserver.org/ns/"/>
    <A:principal-collection-set/>
    <A:principal-URL/>
    <A:resource-id/>
    <A:supported-report-set/>
  </A:prop>
</A:propfind>
"#,
            "C:addressbook-home-set C:directory-gateway D:displayname CS:email-address-set \
             D:principal-collection-set D:principal-URL D:resource-id D:supported-report-set",
        );
    }

    #[test]
    fn apple_sync_with_a_token_of_somebody_else() {
        check_report(
            r#"<A:sync-collection xmlns:A="DAV:">
  <A:sync-token>0E0CC3A2-8A3C-4F0B-9D0A-5C8DA2B52F3B</A:sync-token>
  <A:sync-level>1</A:sync-level>
  <A:prop>
    <A:getetag/>
  </A:prop>
</A:sync-collection>"#,
            Report::SyncCollection {
                token: Some("0E0CC3A2-8A3C-4F0B-9D0A-5C8DA2B52F3B".into()),
                level: SyncLevel::One,
                limit: None,
                props: Props {
                    names: names("D:getetag"),
                    address_data: None,
                },
            },
        );
    }

    #[test]
    fn apple_multiget() {
        check_report(
            r#"<E:addressbook-multiget xmlns:E="urn:ietf:params:xml:ns:carddav"><A:prop
              xmlns:A="DAV:"><A:getetag/><E:address-data version="3.0"/></A:prop><A:href
              xmlns:A="DAV:">/b/1.vcf</A:href></E:addressbook-multiget>"#,
            Report::AddressbookMultiget {
                props: Props {
                    names: names("D:getetag"),
                    address_data: Some(AddressData {
                        version: Some("3.0".into()),
                        ..AddressData::default()
                    }),
                },
                hrefs: vec!["/b/1.vcf".into()],
            },
        );
    }

    #[test]
    fn apple_expand_property_is_not_supported() {
        let body =
            r#"<A:expand-property xmlns:A="DAV:"><A:property name="x"/></A:expand-property>"#;
        check_report(body, Report::Unsupported(name("D:expand-property")));
    }

    #[test]
    fn thunderbird_discovery() {
        check_prop(
            r#"<propfind xmlns="DAV:"><prop><resourcetype/><displayname/><current-user-principal/><current-user-privilege-set/></prop></propfind>"#,
            "D:resourcetype D:displayname D:current-user-principal D:current-user-privilege-set",
        );
        check_prop(
            r#"<propfind xmlns="DAV:" xmlns:card="urn:ietf:params:xml:ns:carddav"><prop><card:addressbook-home-set/></prop></propfind>"#,
            "C:addressbook-home-set",
        );
        check_prop(
            r#"<propfind xmlns="DAV:" xmlns:cs="http://calendarserver.org/ns/"><prop><resourcetype/><getetag/><cs:getctag/></prop></propfind>"#,
            "D:resourcetype D:getetag CS:getctag",
        );
    }

    #[test]
    fn thunderbird_sync_with_address_data() {
        check_report(
            r#"<sync-collection xmlns="DAV:" xmlns:card="urn:ietf:params:xml:ns:carddav"><sync-token>https://cloudless.invalid/sync/0a/7</sync-token><sync-level>1</sync-level><prop><getetag/><card:address-data/></prop></sync-collection>"#,
            Report::SyncCollection {
                token: Some("https://cloudless.invalid/sync/0a/7".into()),
                level: SyncLevel::One,
                limit: None,
                props: Props {
                    names: names("D:getetag"),
                    address_data: Some(AddressData::default()),
                },
            },
        );
    }

    #[test]
    fn thunderbird_multiget_of_five_hundred() {
        let hrefs: Vec<String> = (0..500).map(|number| format!("/b/{number}.vcf")).collect();
        let mut body = r#"<card:addressbook-multiget xmlns:card="urn:ietf:params:xml:ns:carddav"
            xmlns="DAV:"><prop><getetag/><card:address-data/></prop>"#
            .to_owned();
        hrefs
            .iter()
            .for_each(|href| body += &format!("<href>{href}</href>"));
        body += "</card:addressbook-multiget>";
        let props = Props {
            names: names("D:getetag"),
            address_data: Some(AddressData::default()),
        };
        check_report(&body, Report::AddressbookMultiget { props, hrefs });
    }

    #[test]
    fn evolution() {
        check_prop(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<propfind xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"><prop><resourcetype/><current-user-principal/><principal-URL/><A:addressbook-home-set/></prop></propfind>
"#,
            "D:resourcetype D:current-user-principal D:principal-URL C:addressbook-home-set",
        );
        check_prop(
            r#"<D:propfind xmlns:D="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"><D:prop>
            <D:resourcetype/><D:displayname/><D:getetag/><D:getcontenttype/><D:getcontentlength/>
            <D:creationdate/><D:getlastmodified/><A:addressbook-description/></D:prop>
            </D:propfind>"#,
            "D:resourcetype D:displayname D:getetag D:getcontenttype D:getcontentlength \
             D:creationdate D:getlastmodified C:addressbook-description",
        );
        check_prop(
            r#"<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop><CS:getctag/></prop></propfind>"#,
            "CS:getctag",
        );
    }

    #[test]
    fn kde_asks_for_all_of_the_card() {
        let props = Props {
            names: names("D:getetag"),
            address_data: Some(AddressData::default()),
        };
        check_report(
            r#"<addressbook-multiget xmlns="urn:ietf:params:xml:ns:carddav"><prop xmlns="DAV:">
            <getetag xmlns="DAV:"/><address-data xmlns="urn:ietf:params:xml:ns:carddav"><allprop/>
            </address-data></prop><href xmlns="DAV:">/b/x.vcf</href></addressbook-multiget>"#,
            Report::AddressbookMultiget {
                props,
                hrefs: vec!["/b/x.vcf".into()],
            },
        );
    }

    #[test]
    fn vdirsyncer() {
        check_prop(
            r#"<?xml version="1.0" encoding="utf-8" ?>
            <propfind xmlns="DAV:">
                <prop>
                    <resourcetype/>
                    <getcontenttype/>
                    <getetag/>
                </prop>
            </propfind>
            "#,
            "D:resourcetype D:getcontenttype D:getetag",
        );
        check_prop(
            r#"<d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:prop>
            <c:addressbook-home-set/></d:prop></d:propfind>"#,
            "C:addressbook-home-set",
        );
        let props = Props {
            names: names("D:getetag"),
            address_data: Some(AddressData::default()),
        };
        check_report(
            r#"<?xml version="1.0" encoding="utf-8" ?>
            <C:addressbook-multiget xmlns="DAV:"
                    xmlns:C="urn:ietf:params:xml:ns:carddav">
                <prop>
                    <getetag/>
                    <C:address-data/>
                </prop>
                <href>
                  /b/1.vcf
                </href>
            </C:addressbook-multiget>"#,
            Report::AddressbookMultiget {
                props,
                hrefs: vec!["/b/1.vcf".into()],
            },
        );
    }

    #[test]
    fn roundcube_pages_and_picks_card_properties() {
        check_report(
            r#"<D:sync-collection xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">
            <D:prop><D:getetag/><C:address-data content-type="text/vcard"><C:prop name="UID"/>
            <C:prop name="FN"/></C:address-data></D:prop><D:limit><D:nresults> 10 </D:nresults>
            </D:limit><D:sync-level>infinite</D:sync-level></D:sync-collection>"#,
            Report::SyncCollection {
                token: None,
                level: SyncLevel::Infinite,
                limit: Some(10),
                props: Props {
                    names: names("D:getetag"),
                    address_data: Some(AddressData {
                        content_type: Some("text/vcard".into()),
                        version: None,
                        properties: vec!["UID".into(), "FN".into()],
                    }),
                },
            },
        );
    }
}

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

mod caps {
    //! What is too much, refused at once.

    use std::time::{Duration, Instant};

    use super::*;

    const MULTIGET: &str =
        "<m:addressbook-multiget xmlns:m='urn:ietf:params:xml:ns:carddav' xmlns='DAV:'>";

    #[track_caller]
    fn check_quick(start: Instant) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "took {:?}",
            start.elapsed()
        );
    }

    #[test]
    fn depth() {
        let start = Instant::now();
        let bomb = "<a>".repeat(1_000_000);
        check_refused_inside!(&bomb, RequestError::TooDeep);
        check_quick(start);
        let deepest = DEPTH_MAX - 2;
        let [propfind, _] = around(&("<a>".repeat(deepest) + &"</a>".repeat(deepest)));
        assert!(parse_propfind(propfind.as_bytes()).is_ok());
    }

    #[test]
    fn properties() {
        let start = Instant::now();
        let distinct: String = (0..100_000)
            .map(|number| format!("<p:a{number}/>"))
            .collect();
        check_refused_inside!(&distinct, RequestError::TooManyProperties);
        check_refused_inside!(
            &"<getetag/>".repeat(100_000),
            RequestError::TooManyProperties
        );
        check_quick(start);
        let many = |tag: &str, count| {
            let body = format!(
                "{MULTIGET}<prop><m:address-data>{}</m:address-data></prop>\
                 </m:addressbook-multiget>",
                format!("<m:{tag} name='FN'/>").repeat(count)
            );
            parse_report(body.as_bytes())
        };
        assert!(matches!(
            many("prop", 257),
            Err(RequestError::TooManyProperties)
        ));
        assert!(many("prop", 256).is_ok());
    }

    #[test]
    fn hrefs() {
        let start = Instant::now();
        let multiget = |href: &str, count| {
            let hrefs = format!("<href>{href}</href>").repeat(count);
            parse_report(format!("{MULTIGET}{hrefs}</m:addressbook-multiget>").as_bytes())
        };
        assert!(matches!(
            multiget("/a", 1_000_000),
            Err(RequestError::TooManyHrefs)
        ));
        assert!(matches!(
            multiget("/a", HREFS_MAX),
            Ok(Report::AddressbookMultiget { hrefs, .. }) if hrefs.len() == HREFS_MAX
        ));
        let long = "a".repeat(HREF_LEN_MAX + 1);
        assert!(matches!(multiget(&long, 1), Err(RequestError::HrefTooLong)));
        assert!(multiget(&format!("\n {} ", &long[1..]), 1).is_ok());
        check_quick(start);
    }

    #[test]
    fn sync_token() {
        let token = "a".repeat(SYNC_TOKEN_LEN_MAX + 1);
        let body = format!(
            "<sync-collection xmlns='DAV:'><sync-token>{token}</sync-token></sync-collection>"
        );
        assert!(matches!(
            parse_report(body.as_bytes()),
            Err(RequestError::SyncTokenTooLong)
        ));
    }

    #[test]
    fn names() {
        let start = Instant::now();
        check_refused_inside!(
            &format!("<{}/>", "a".repeat(257)),
            RequestError::InvalidName
        );
        let long = format!("<a xmlns='{}'/>", "a".repeat(513));
        check_refused_inside!(&long, RequestError::InvalidName);
        let declarations: String = (0..100_000)
            .map(|number| format!(" xmlns:n{number}='urn:n'"))
            .collect();
        check_refused_inside!(
            &format!("<a{declarations}/>"),
            RequestError::TooManyNamespaces
        );
        check_quick(start);
    }

    #[test]
    fn much_that_is_skipped_is_skipped_quickly() {
        let start = Instant::now();
        let attributes: String = (0..200_000)
            .map(|number| format!(" a{number}=''"))
            .collect();
        let elements = "<p:x/>".repeat(300_000);
        let [propfind, report] = around(&format!(
            "<p:a{attributes}/><p:b>{elements}&amp;{elements}</p:b>"
        ));
        assert!(parse_propfind(propfind.as_bytes()).is_ok());
        assert!(parse_report(report.as_bytes()).is_ok());
        check_quick(start);
    }
}
