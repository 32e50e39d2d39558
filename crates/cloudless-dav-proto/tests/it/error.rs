//! Bodies of refused requests.

use cloudless_dav_proto::error::{Condition, error_body};
use cloudless_dav_proto::{CARDDAV, DAV, Name};

use crate::xml;

#[test]
fn an_unknown_sync_token() {
    let root = xml::parse(&error_body(&[Condition::ValidSyncToken]));
    assert_eq!(
        (root.namespace.as_str(), root.local.as_str()),
        (DAV, "error")
    );
    assert_eq!(root.locals(), ["valid-sync-token"]);
    assert_eq!(root.children[0].namespace, DAV);
    let text = String::from_utf8(error_body(&[Condition::ValidSyncToken])).unwrap();
    assert!(
        text.contains("valid-sync-token"),
        "EDS looks for the text: {text}"
    );
}

#[test]
fn conditions_with_an_href() {
    let href = "/b/a&b\u{1}.vcf".to_owned();
    let conflict = Condition::NoUidConflict { href: href.clone() };
    let privileges = Condition::NeedPrivileges {
        missing: vec![(href, Name::dav("write"))],
    };
    let root = xml::parse(&error_body(&[conflict, privileges]));
    assert_eq!(root.locals(), ["no-uid-conflict", "need-privileges"]);
    assert_eq!(root.children[0].namespace, CARDDAV);
    assert_eq!(root.children[0].dav("href").text, "/b/a&b\u{FFFD}.vcf");
    let resource = root.dav("need-privileges").dav("resource");
    assert_eq!(resource.locals(), ["href", "privilege"]);
    assert_eq!(resource.dav("privilege").locals(), ["write"]);
}

#[test]
fn every_condition_is_an_element_of_its_name() {
    for condition in [
        Condition::AddressbookCollectionLocationOk,
        Condition::CannotModifyProtectedProperty,
        Condition::MaxResourceSize,
        Condition::NoExternalEntities,
        Condition::NumberOfMatchesWithinLimits,
        Condition::PropfindFiniteDepth,
        Condition::ResourceMustBeNull,
        Condition::SupportedAddressData,
        Condition::SupportedAddressDataConversion,
        Condition::SupportedCollation,
        Condition::SupportedFilter,
        Condition::SupportedReport,
        Condition::SyncTraversalSupported,
        Condition::ValidAddressData,
        Condition::ValidResourcetype,
        Condition::ValidSyncToken,
    ] {
        let root = xml::parse(&error_body(std::slice::from_ref(&condition)));
        let name = Name::new(&root.children[0].namespace, &root.children[0].local);
        assert_eq!(name, Some(condition.name()));
    }
}
