//! Dead properties: what clients keep with a resource and the server does not understand (RFC 4918
//! §4).

use cloudless_dav_proto::multistatus::{Property, Value};
use cloudless_dav_proto::request::PropertyUpdate;
use cloudless_dav_proto::{CARDDAV, DAV, Name};
use cloudless_store::{DeadProperty, PropertyChanges, PropertyTarget, Store, StoreError};

use super::{ALLPROP, OTHERS};
use crate::target::Target;

/// Properties that no resource here has and that clients may not make up, as others would take them
/// for the server's word, or for the card itself (RFC 6352 §10.4).
const RESERVED: [Name; 10] = [
    Name::carddav("address-data"),
    Name::dav("acl-restrictions"),
    Name::dav("alternate-URI-set"),
    Name::dav("creationdate"),
    Name::dav("group"),
    Name::dav("group-member-set"),
    Name::dav("inherited-acl-set"),
    Name::dav("lockdiscovery"),
    Name::dav("resource-id"),
    Name::dav("supportedlock"),
];

/// Whether only the server sets a property (RFC 4918 §9.2: `cannot-modify-protected-property`).
pub(crate) fn is_protected(name: &Name) -> bool {
    !is_description(name)
        && (ALLPROP.contains(name) || OTHERS.contains(name) || RESERVED.contains(name))
}

/// Whether it is one of the properties that people write for an address book.
pub(crate) fn is_description(name: &Name) -> bool {
    matches!(
        (name.namespace(), name.local()),
        (DAV, "displayname") | (CARDDAV, "addressbook-description")
    )
}

/// What the store is to do with properties; those that people write for an address book are its own.
pub(crate) fn changes(is_book: bool, updates: Vec<PropertyUpdate>) -> PropertyChanges {
    let mut changes = PropertyChanges::default();
    for update in updates {
        let name = update.name();
        let (namespace, local) = (name.namespace().to_owned(), name.local().to_owned());
        if is_book && is_description(name) {
            let text = match &update {
                PropertyUpdate::Remove(_) => String::new(),
                PropertyUpdate::Set(property) => property.text.trim().to_owned(),
            };
            match namespace.as_str() {
                DAV => changes.display_name = Some(text),
                _ => changes.description = Some(text),
            }
            continue;
        }
        changes.dead.push(DeadProperty {
            namespace,
            local,
            // As the client is to get it back.
            value: match update {
                PropertyUpdate::Remove(_) => None,
                PropertyUpdate::Set(property) => Some(property.xml),
            },
        });
    }
    changes
}

/// What the store calls a resource that can have dead properties.
pub(crate) fn holder(target: &Target) -> Option<PropertyTarget> {
    match target {
        Target::AddressBook(book) => Some(PropertyTarget::Book(book.id)),
        Target::Card(book, row) => Some(PropertyTarget::Card(book.id, row.name.clone())),
        Target::Plain(_, resource) => Some(PropertyTarget::Resource(resource.id)),
        _ => None,
    }
}

/// The dead properties of a resource. Blocks on the store.
pub(super) fn all(store: &Store, target: &Target) -> Result<Vec<Property>, StoreError> {
    let Some(holder) = holder(target) else {
        return Ok(Vec::new());
    };
    let properties = store.properties(&holder)?.into_iter().filter_map(|dead| {
        let name = Name::new(&dead.namespace, &dead.local)?;
        Some(Property::new(name, Value::Xml(dead.value?)))
    });
    Ok(properties.collect())
}
