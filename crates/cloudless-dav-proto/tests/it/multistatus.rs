//! Answers that any XML parser accepts, with the bytes of the cards in them.

use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::multistatus::{
    Ace, AddressDataType, Principal, PropStat, Property, Status, SupportedPrivilege, Value, Writer,
    mkcol_response,
};
use cloudless_dav_proto::request::{PropertyUpdate, parse_proppatch};
use cloudless_dav_proto::{CALENDAR_SERVER, CARDDAV, DAV, Name};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::xml::{self, Element};

fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..)
}

/// The text with what XML forbids replaced.
fn replaced(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_legal(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

/// The card that a client reads from an answer with these bytes.
fn card_as_read(bytes: Vec<u8>) -> String {
    let mut writer = Writer::new();
    let card = Property::new(Name::carddav("address-data"), Value::AddressData(bytes));
    writer.response("/b/1.vcf", &[card], &[]);
    let root = xml::parse(&writer.finish(None));
    let prop = root.dav("response").dav("propstat").dav("prop");
    assert_eq!(prop.locals(), ["address-data"]);
    assert_eq!(prop.children[0].namespace, CARDDAV);
    prop.children[0].text.clone()
}

fn any_name() -> impl Strategy<Value = Name> {
    let namespace = prop::sample::select(vec![
        DAV,
        CARDDAV,
        CALENDAR_SERVER,
        "",
        "urn:x",
        "http://x/?a=\"b\"&<c>'",
    ]);
    ("[a-zA-Z_é][a-zA-Z0-9é._-]{0,8}", namespace)
        .prop_map(|(local, namespace)| Name::new(namespace, &local).unwrap())
}

fn any_value() -> impl Strategy<Value = Value> {
    let names = || vec(any_name(), 0..3);
    let media = AddressDataType {
        content_type: "text/vcard",
        version: "3.0",
    };
    prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(Value::AddressData),
        Just(Value::AddressDataTypes(vec![media])),
        Just(Value::Collations(vec!["i;ascii-casemap"])),
        Just(Value::Empty),
        any::<String>().prop_map(Value::Href),
        vec(any::<String>(), 0..3).prop_map(Value::Hrefs),
        names().prop_map(Value::Privileges),
        names().prop_map(Value::Reports),
        names().prop_map(Value::ResourceTypes),
        any::<String>().prop_map(Value::Text),
    ]
}

fn assert_named(elements: &[Element], names: &[Name]) {
    let found: Vec<_> = elements
        .iter()
        .map(|element| Name::new(&element.namespace, &element.local))
        .collect();
    let expected: Vec<_> = names.iter().cloned().map(Some).collect();
    assert_eq!(found, expected);
}

/// Whether an element holds a value as it was meant.
fn assert_value(element: &Element, value: &Value) {
    let texts = |local: &str| -> Vec<&str> {
        assert!(
            element.children.iter().all(|child| child.local == local),
            "{element:?}"
        );
        element
            .children
            .iter()
            .map(|child| child.text.as_str())
            .collect()
    };
    match value {
        Value::AddressData(bytes) => {
            assert_eq!(element.text, replaced(&String::from_utf8_lossy(bytes)));
        }
        Value::Empty => assert_eq!((&*element.text, element.children.len()), ("", 0)),
        Value::Href(href) => assert_eq!(texts("href"), [replaced(href)]),
        Value::Hrefs(hrefs) => {
            let expected: Vec<String> = hrefs.iter().map(|href| replaced(href)).collect();
            assert_eq!(texts("href"), expected);
        }
        Value::ResourceTypes(names) => assert_named(&element.children, names),
        Value::Privileges(names) => {
            for (child, name) in element.children.iter().zip(names) {
                assert_eq!((&*child.namespace, &*child.local), (DAV, "privilege"));
                assert_named(&child.children, std::slice::from_ref(name));
            }
            assert_eq!(element.children.len(), names.len());
        }
        Value::Reports(names) => {
            for (child, name) in element.children.iter().zip(names) {
                assert_eq!(
                    (&*child.namespace, &*child.local),
                    (DAV, "supported-report")
                );
                assert_named(&child.dav("report").children, std::slice::from_ref(name));
            }
            assert_eq!(element.children.len(), names.len());
        }
        Value::Text(text) => assert_eq!(element.text, replaced(text)),
        Value::AddressDataTypes(_) => assert_eq!(element.locals(), ["address-data-type"]),
        Value::Collations(_) => assert_eq!(texts("supported-collation"), ["i;ascii-casemap"]),
        Value::Acl(_)
        | Value::EmailAddresses(_)
        | Value::SupportedPrivileges(_)
        | Value::Xml(_) => unreachable!("it has a test of its own"),
    }
}

proptest! {
    #[test]
    fn a_card_of_legal_characters_arrives_byte_for_byte(
        card in vec(
            prop_oneof![
                any::<char>().prop_filter("legal", |c| is_legal(*c)).prop_map(String::from),
                prop::sample::select(vec![
                    "\r\n", "\r", "\n", "\t", " ", "]]>", "<![CDATA[", "&", "&amp;", "<", ">",
                    "\"", "\u{85}", "\u{2028}", "\u{FEFF}", "\u{FFFD}", "\u{FFFC}",
                ])
                .prop_map(String::from),
            ],
            0..60,
        ),
    ) {
        let card = card.concat();
        prop_assert_eq!(card_as_read(card.clone().into_bytes()), card);
    }

    #[test]
    fn any_bytes_arrive_as_legal_characters(card in vec(any::<u8>(), 0..200)) {
        let expected = replaced(&String::from_utf8_lossy(&card));
        prop_assert_eq!(card_as_read(card), expected);
    }

    #[test]
    fn any_rows_parse_back(
        rows in vec(
            (any::<String>(), vec((any_name(), any_value()), 0..4), vec(any_name(), 0..4)),
            0..4,
        ),
        gone in vec(any::<String>(), 0..3),
        sync_token in prop::option::of(any::<String>()),
        take in any::<bool>(),
    ) {
        let mut writer = Writer::new();
        let mut bytes = Vec::new();
        for (href, found, missing) in &rows {
            let found: Vec<Property> = found
                .iter()
                .map(|(name, value)| Property::new(name.clone(), value.clone()))
                .collect();
            writer.response(href, &found, missing);
            if take {
                bytes.extend(writer.take());
                prop_assert!(writer.is_empty());
            }
        }
        for href in &gone {
            writer.status_response(href, Status::NotFound);
        }
        bytes.extend(writer.finish(sync_token.as_deref()));

        let root = xml::parse(&bytes);
        prop_assert_eq!((root.namespace.as_str(), root.local.as_str()), (DAV, "multistatus"));
        let mut children = root.children.iter();
        for (href, found, missing) in &rows {
            let row = children.next().unwrap();
            prop_assert_eq!(&row.dav("href").text, &replaced(href));
            let mut propstats = row.children[1..].iter();
            if !found.is_empty() || missing.is_empty() {
                let propstat = propstats.next().unwrap();
                prop_assert_eq!(propstat.dav("status").text.as_str(), "HTTP/1.1 200 OK");
                let elements = &propstat.dav("prop").children;
                let names: Vec<Name> = found.iter().map(|(name, _)| name.clone()).collect();
                assert_named(elements, &names);
                for (element, (_, value)) in elements.iter().zip(found) {
                    assert_value(element, value);
                }
            }
            if !missing.is_empty() {
                let propstat = propstats.next().unwrap();
                prop_assert_eq!(propstat.dav("status").text.as_str(), "HTTP/1.1 404 Not Found");
                assert_named(&propstat.dav("prop").children, missing);
            }
            prop_assert!(propstats.next().is_none());
        }
        for href in &gone {
            let row = children.next().unwrap();
            prop_assert_eq!(row.locals(), ["href", "status"]);
            prop_assert_eq!(&row.dav("href").text, &replaced(href));
            prop_assert_eq!(row.dav("status").text.as_str(), "HTTP/1.1 404 Not Found");
        }
        if let Some(sync_token) = &sync_token {
            let element = children.next().unwrap();
            prop_assert_eq!(element.local.as_str(), "sync-token");
            prop_assert_eq!(&element.text, &replaced(sync_token));
        }
        prop_assert!(children.next().is_none());
    }
}

#[test]
fn the_answer_to_a_discovery_looks_as_clients_expect() {
    let mut writer = Writer::new();
    let types = vec![Name::dav("collection"), Name::carddav("addressbook")];
    let found = [
        Property::new(Name::dav("resourcetype"), Value::ResourceTypes(types)),
        Property::new(Name::dav("displayname"), Value::Text("A & B".into())),
    ];
    let missing = [
        Name::calendar_server("getctag"),
        Name::new("urn:x", "y").unwrap(),
    ];
    writer.response("/dav/b/", &found, &missing);
    let conditions = [Condition::NumberOfMatchesWithinLimits];
    writer.refusal("/dav/b/", Status::InsufficientStorage, &conditions);
    let expected = "\
<?xml version=\"1.0\" encoding=\"utf-8\"?>
<D:multistatus xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:carddav\" \
xmlns:CS=\"http://calendarserver.org/ns/\">
<D:response><D:href>/dav/b/</D:href>\
<D:propstat><D:prop>\
<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype>\
<D:displayname>A &amp; B</D:displayname>\
</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>\
<D:propstat><D:prop><CS:getctag/><X:y xmlns:X=\"urn:x\"/></D:prop>\
<D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
<D:response><D:href>/dav/b/</D:href><D:status>HTTP/1.1 507 Insufficient Storage</D:status>\
<D:error><D:number-of-matches-within-limits/></D:error></D:response>
<D:sync-token>t</D:sync-token></D:multistatus>
";
    assert_eq!(
        String::from_utf8(writer.finish(Some("t"))).unwrap(),
        expected
    );
}

#[test]
fn rfc_4918_9_2_2_the_answer_to_a_proppatch() {
    let dead = |local| Name::new("urn:x", local).unwrap();
    let mut writer = Writer::new();
    writer.propstats(
        "/b/",
        &[
            PropStat::new(Status::FailedDependency, [dead("authors")]),
            PropStat::new(Status::Forbidden, [Name::dav("getetag")])
                .because(Condition::CannotModifyProtectedProperty),
        ],
    );
    let root = xml::parse(&writer.finish(None));
    let response = root.dav("response");
    assert_eq!(response.locals(), ["href", "propstat", "propstat"]);
    let failed = &response.children[1];
    assert_eq!(failed.dav("prop").locals(), ["authors"]);
    assert_eq!(failed.dav("status").text, "HTTP/1.1 424 Failed Dependency");
    let refused = &response.children[2];
    assert_eq!(refused.locals(), ["prop", "status", "error"]);
    assert_eq!(refused.dav("status").text, "HTTP/1.1 403 Forbidden");
    assert_eq!(
        refused.dav("error").locals(),
        ["cannot-modify-protected-property"]
    );
}

#[test]
fn rfc_5689_3_5_the_answer_to_an_extended_mkcol() {
    let body = mkcol_response(&[
        PropStat::new(Status::Forbidden, [Name::dav("resourcetype")])
            .because(Condition::ValidResourcetype),
        PropStat::new(Status::FailedDependency, [Name::dav("displayname")]),
    ]);
    let root = xml::parse(&body);
    assert_eq!((&*root.namespace, &*root.local), (DAV, "mkcol-response"));
    assert_eq!(root.locals(), ["propstat", "propstat"]);
    assert_eq!(
        root.dav("propstat").dav("error").locals(),
        ["valid-resourcetype"]
    );
}

proptest! {
    /// Whatever a client sets, what it gets back is well-formed and says the same.
    #[test]
    fn a_dead_property_comes_back(
        pieces in vec(
            prop::sample::select(vec![
                "<p>", "</p>", "<a:q>", "</a:q>", "<q xmlns='urn:q'>", "</q>", "<r/>",
                "<a:s xmlns:a='urn:other' a:b='1&amp;'/>", "<t u='&#10;&lt;&quot;\t'/>", "text",
                "a:b", "&amp;", "&#13;", "&#xE9;", "<![CDATA[<]]>", "]]>", "<!-- -- -->", "<?x y?>",
                " ", "\r\n", "<v xml:lang='de'/>", "<w xmlns=''/>", "<x xmlns:b=''/>", "é",
            ]),
            0..10,
        ),
    ) {
        let body = format!(
            "<D:propertyupdate xmlns:D='DAV:' xmlns:a='urn:a' xmlns='urn:d'><D:set><D:prop>\
             <a:dead>{}</a:dead></D:prop></D:set></D:propertyupdate>",
            pieces.concat()
        );
        let Ok(updates) = parse_proppatch(body.as_bytes()) else {
            return Ok(());
        };
        let [PropertyUpdate::Set(property)] = updates.as_slice() else {
            panic!("{updates:?}");
        };
        let mut writer = Writer::new();
        let value = Value::Xml(property.xml.clone());
        writer.response("/b/", &[Property::new(property.name.clone(), value)], &[]);
        let root = xml::parse(&writer.finish(None));
        let prop = root.dav("response").dav("propstat").dav("prop");
        let [dead] = prop.children.as_slice() else {
            panic!("{prop:?}");
        };
        prop_assert_eq!((&*dead.namespace, &*dead.local), ("urn:a", "dead"));
        prop_assert_eq!(&dead.text, &property.text);
        let children: Vec<_> = dead
            .children
            .iter()
            .map(|child| Name::new(&child.namespace, &child.local).unwrap())
            .collect();
        prop_assert_eq!(&children, &property.children);
    }
}

/// The property as a client reads it.
fn as_read(name: Name, value: Value) -> Element {
    let mut writer = Writer::new();
    writer.response("/b/", &[Property::new(name, value)], &[]);
    let root = xml::parse(&writer.finish(None));
    let prop = root.dav("response").dav("propstat").dav("prop");
    prop.children[0].clone()
}

#[test]
fn rfc_3744_5_5_acl() {
    let acl = Value::Acl(vec![
        Ace {
            principal: Principal::Owner,
            privileges: vec![Name::dav("all")],
            is_protected: true,
            inherited: None,
        },
        Ace {
            principal: Principal::Href("/p/b&b/".to_owned()),
            privileges: vec![Name::dav("read"), Name::dav("write")],
            is_protected: false,
            inherited: Some("/".to_owned()),
        },
    ]);
    let acl = as_read(Name::dav("acl"), acl);
    let [owner, other] = acl.children.as_slice() else {
        panic!("{acl:?}");
    };
    assert_eq!(owner.locals(), ["principal", "grant", "protected"]);
    assert_eq!(owner.dav("principal").dav("property").locals(), ["owner"]);
    assert_eq!(owner.dav("grant").dav("privilege").locals(), ["all"]);
    assert_eq!(other.locals(), ["principal", "grant", "inherited"]);
    assert_eq!(other.dav("principal").dav("href").text, "/p/b&b/");
    assert_eq!(other.dav("grant").locals(), ["privilege", "privilege"]);
    assert_eq!(other.dav("inherited").dav("href").text, "/");
}

#[test]
fn rfc_3744_5_3_supported_privilege_set() {
    let privilege = |local, contains| SupportedPrivilege {
        privilege: Name::dav(local),
        is_abstract: local == "write-content",
        description: "do < something",
        contains,
    };
    let write = privilege("write", vec![privilege("write-content", vec![])]);
    let set = Value::SupportedPrivileges(vec![privilege("all", vec![write])]);
    let set = as_read(Name::dav("supported-privilege-set"), set);
    let all = set.dav("supported-privilege");
    assert_eq!(
        all.locals(),
        ["privilege", "description", "supported-privilege"]
    );
    assert_eq!(all.dav("description").text, "do < something");
    let content = all.dav("supported-privilege").dav("supported-privilege");
    assert_eq!(content.locals(), ["privilege", "abstract", "description"]);
    assert_eq!(content.dav("privilege").locals(), ["write-content"]);
}

#[test]
fn email_addresses() {
    let addresses = Value::EmailAddresses(vec!["a<b>@example.com".to_owned()]);
    let set = as_read(Name::calendar_server("email-address-set"), addresses);
    assert_eq!(set.children[0].namespace, CALENDAR_SERVER);
    assert_eq!(set.children[0].local, "email-address");
    assert_eq!(set.children[0].text, "a<b>@example.com");
}
