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
                kind: PropsKind::Prop,
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
                kind: PropsKind::Prop,
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
                kind: PropsKind::Prop,
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
                kind: PropsKind::Prop,
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
    let body = r#"<A:expand-property xmlns:A="DAV:"><A:property name="x"/></A:expand-property>"#;
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
                kind: PropsKind::Prop,
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
        kind: PropsKind::Prop,
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
        kind: PropsKind::Prop,
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
        kind: PropsKind::Prop,
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
                kind: PropsKind::Prop,
                names: names("D:getetag"),
                address_data: Some(AddressData {
                    content_type: Some("text/vcard".into()),
                    version: None,
                    properties: ["UID", "FN"].map(chosen).into(),
                }),
            },
        },
    );
}
