//! A filter on a card: the first line is the filter, the others are the card. What the filter does
//! not need makes no difference.

use cloudless_dav_proto::filter::{Parameter, Property};
use cloudless_dav_proto::request::{Report, parse_report};
use cloudless_vcard::properties;

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    let at = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (filter, card) = bytes.split_at(at);
    let body = [
        b"<C:addressbook-query xmlns:C='urn:ietf:params:xml:ns:carddav'><C:filter>",
        filter,
        b"</C:filter></C:addressbook-query>",
    ]
    .concat();
    let Ok(Report::AddressbookQuery { filter, .. }) = parse_report(&body) else {
        return;
    };
    let card: Vec<Property<'_>> = properties(card)
        .map(|line| Property {
            group: line.group().map(|group| group.into_owned().into()),
            name: line.name().into_owned().into(),
            parameters: line
                .parameters()
                .map(|parameter| Parameter {
                    name: parameter
                        .name()
                        .unwrap_or("TYPE".into())
                        .into_owned()
                        .into(),
                    values: parameter
                        .values()
                        .map(|it| it.into_owned().into())
                        .collect(),
                })
                .collect(),
            value: line.text().into(),
        })
        .collect();
    let needs = filter.needs();
    let needed = card
        .iter()
        .filter(|property| needs.names.contains(&property.name.to_ascii_uppercase()))
        .cloned();
    assert_eq!(filter.matches(needed), filter.matches(card.iter().cloned()));
}
