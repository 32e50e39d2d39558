//! Live properties: what each resource says about itself.

pub(crate) mod dead;

use cloudless_dav_proto::filter::Collation;
use cloudless_dav_proto::multistatus::{
    Ace, AddressDataType, Principal, Property, SupportedPrivilege, Value,
};
use cloudless_dav_proto::request::Propfind;
use cloudless_dav_proto::{CALENDAR_SERVER, CARDDAV, DAV, Name, PUSH};
use cloudless_store::{self as store, Access, RESOURCE_BYTES_MAX, StoreError};
use cloudless_vcard::Version;

use crate::clock::http_date;
use crate::request::Request;
use crate::resource::{PRINCIPALS_PATH, home_set_href, principal_href};
use crate::sync_token;
use crate::target::Target;

/// The largest card that is taken, in bytes.
pub(crate) const MAX_RESOURCE_SIZE: usize = 10 * 1024 * 1024;

/// The media type of every card.
pub(crate) const CARD_CONTENT_TYPE: &str = "text/vcard; charset=utf-8";

/// The media type of a plain resource that came without one.
pub(crate) const UNKNOWN_CONTENT_TYPE: &str = "application/octet-stream";

/// What DAV:allprop gives: the properties of RFC 4918 §15. Those of other RFCs must be named
/// (RFC 6352 §6.2).
const ALLPROP: [Name; 6] = [
    Name::dav("displayname"),
    Name::dav("getcontentlength"),
    Name::dav("getcontenttype"),
    Name::dav("getetag"),
    Name::dav("getlastmodified"),
    Name::dav("resourcetype"),
];

/// The properties that some resource has beyond those of [`ALLPROP`].
const OTHERS: [Name; 22] = [
    Name::carddav("addressbook-description"),
    Name::carddav("addressbook-home-set"),
    Name::carddav("max-resource-size"),
    Name::carddav("supported-address-data"),
    Name::carddav("supported-collation-set"),
    Name::calendar_server("email-address-set"),
    Name::calendar_server("getctag"),
    Name::dav("acl"),
    Name::dav("current-user-principal"),
    Name::dav("current-user-privilege-set"),
    Name::dav("owner"),
    Name::dav("principal-URL"),
    Name::dav("principal-collection-set"),
    Name::dav("quota-available-bytes"),
    Name::dav("quota-used-bytes"),
    Name::dav("supported-privilege-set"),
    Name::dav("supported-report-set"),
    Name::dav("sync-token"),
    Name::dav("group-membership"),
    Name::push("supported-triggers"),
    Name::push("topic"),
    Name::push("transports"),
];

/// Answers a PROPFIND for one resource: the properties that were found, and the names of those that
/// it does not have. Blocks on the store.
pub(crate) fn answer(
    target: &Target,
    request: &Request,
    propfind: &Propfind,
) -> Result<(Vec<Property>, Vec<Name>), StoreError> {
    let (mut found, mut missing) = match propfind {
        Propfind::AllProp { include } => {
            let (mut found, _) = select(target, request, &ALLPROP)?;
            let others = include.iter().filter(|name| !ALLPROP.contains(name));
            let (included, missing) = select(target, request, others)?;
            found.extend(included);
            (found, missing)
        }
        Propfind::PropName => select(target, request, ALLPROP.iter().chain(&OTHERS))?,
        Propfind::Prop(names) => {
            let (found, missing) = select(target, request, names)?;
            // A list of many cards must not ask the store about each of them in vain.
            if missing.iter().all(dead::is_protected) {
                return Ok((found, missing));
            }
            (found, missing)
        }
    };
    let dead = dead::all(&request.store, target)?.into_iter();
    match propfind {
        Propfind::AllProp { .. } => found.extend(dead),
        Propfind::PropName => {
            found.extend(dead);
            for property in &mut found {
                property.value = Value::Empty;
            }
            return Ok((found, Vec::new()));
        }
        Propfind::Prop(_) => found.extend(dead.filter(|it| missing.contains(&it.name))),
    }
    missing.retain(|name| found.iter().all(|it| it.name != *name));
    Ok((found, missing))
}

/// Splits names into the properties that a resource has and the names that it has not.
fn select<'a>(
    target: &Target,
    request: &Request,
    names: impl IntoIterator<Item = &'a Name>,
) -> Result<(Vec<Property>, Vec<Name>), StoreError> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match value(target, request, name)? {
            Some(value) => found.push(Property {
                name: name.clone(),
                value,
            }),
            None => missing.push(name.clone()),
        }
    }
    Ok((found, missing))
}

fn value(target: &Target, request: &Request, name: &Name) -> Result<Option<Value>, StoreError> {
    let user = request.login.user_name.as_str();
    Ok(match (name.namespace(), name.local()) {
        (DAV, "current-user-principal") => Some(Value::Href(principal_href(user))),
        (DAV, "acl") => acl(target, request)?.map(Value::Acl),
        (DAV, "supported-privilege-set") if matches!(target, Target::AddressBook(_)) => {
            Some(Value::SupportedPrivileges(vec![supported_privileges()]))
        }
        (DAV, "current-user-privilege-set") => Some(Value::Privileges(privileges(target))),
        (DAV, "displayname") => display_name(target, user).map(Value::Text),
        (DAV, "owner") => owner(target, user).map(Value::Href),
        (DAV, "principal-collection-set") => Some(Value::Hrefs(vec![PRINCIPALS_PATH.to_owned()])),
        (DAV, "resourcetype") => Some(Value::ResourceTypes(resource_types(target))),
        (DAV, "supported-report-set") => Some(Value::Reports(reports(target))),
        _ => match target {
            Target::Root | Target::Context | Target::Principal => discovery(target, user, name),
            Target::AddressBook(book) => match (name.namespace(), name.local()) {
                (DAV, "sync-token") | (CALENDAR_SERVER, "getctag") => {
                    Some(Value::Text(sync_token::token(book, book.revision)))
                }
                (CARDDAV, "addressbook-description") if !book.description.is_empty() => {
                    Some(Value::Text(book.description.clone()))
                }
                (PUSH, local) => {
                    let push = request.push.as_ref();
                    push.and_then(|push| push.property(book.id, local))
                }
                (CARDDAV, "max-resource-size") => Some(Value::Text(MAX_RESOURCE_SIZE.to_string())),
                (CARDDAV, "supported-address-data") => {
                    Some(Value::AddressDataTypes(address_data_types(request)))
                }
                (CARDDAV, "supported-collation-set") => Some(Value::Collations(Vec::from(
                    Collation::ALL.map(Collation::name),
                ))),
                _ => None,
            },
            Target::Card(_, row) => match (name.namespace(), name.local()) {
                (DAV, "getcontentlength") => Some(Value::Text(row.size.to_string())),
                (DAV, "getcontenttype") => Some(Value::Text(CARD_CONTENT_TYPE.to_owned())),
                (DAV, "getetag") => Some(Value::Text(format!("\"{}\"", row.etag))),
                (DAV, "getlastmodified") => Some(Value::Text(http_date(row.modified_at))),
                _ => None,
            },
            Target::Plain(_, resource) => plain(resource, request, name)?,
            Target::Principals
            | Target::HomeSets
            | Target::HomeSet
            | Target::Owner(_)
            | Target::Trees => None,
        },
    })
}

/// What plain resources and collections have beyond all others. The root of a tree tells the quota of
/// all that is in it (RFC 4331).
fn plain(
    resource: &store::Resource,
    request: &Request,
    name: &Name,
) -> Result<Option<Value>, StoreError> {
    if name.namespace() != DAV {
        return Ok(None);
    }
    let used = || {
        let usage = request.store.resource_usage(request.login.user)?;
        Ok::<_, StoreError>(usage.bytes)
    };
    let is_root = resource.name.is_empty();
    let text = match (name.local(), &resource.content) {
        ("getlastmodified", _) => http_date(resource.modified_at),
        ("getcontentlength", Some(content)) => content.size.to_string(),
        ("getcontenttype", Some(content)) => content
            .content_type
            .clone()
            .unwrap_or_else(|| UNKNOWN_CONTENT_TYPE.to_owned()),
        ("getetag", Some(content)) => format!("\"{}\"", content.etag),
        ("quota-used-bytes", None) if is_root => used()?.to_string(),
        ("quota-available-bytes", None) if is_root => {
            RESOURCE_BYTES_MAX.saturating_sub(used()?).to_string()
        }
        _ => return Ok(None),
    };
    Ok(Some(Value::Text(text)))
}

/// What a client is told to upload, 3.0 first. Cards of any version are taken.
fn address_data_types(request: &Request) -> Vec<AddressDataType> {
    let type_of = |version: Version| AddressDataType {
        content_type: "text/vcard",
        version: version.number(),
    };
    let mut types = vec![type_of(Version::V3)];
    if request.settings.offer_vcard_4 {
        types.push(type_of(Version::V4));
    }
    types
}

/// What leads a client from the first path that it tries to the user's address books. Some look for
/// all of it on `/`.
fn discovery(target: &Target, user: &str, name: &Name) -> Option<Value> {
    let is_principal = matches!(target, Target::Principal);
    match (name.namespace(), name.local()) {
        (CARDDAV, "addressbook-home-set") => Some(Value::Hrefs(vec![home_set_href(user)])),
        (DAV, "principal-URL") => Some(Value::Href(principal_href(user))),
        (DAV, "group-membership") if is_principal => Some(Value::Empty),
        // Apple's clients look for themselves among the people invited to events by it, of which
        // there are none here. A user has a name and no address, and what stands in a card is of no
        // use to the server.
        (CALENDAR_SERVER, "email-address-set") if is_principal => Some(Value::Empty),
        _ => None,
    }
}

fn display_name(target: &Target, user: &str) -> Option<String> {
    match target {
        Target::Root | Target::Context => Some("cloudless".to_owned()),
        Target::Principals => Some("Principals".to_owned()),
        Target::HomeSets => Some("Address books".to_owned()),
        Target::Principal => Some(user.to_owned()),
        Target::Owner(owner) => Some(owner.clone()),
        Target::HomeSet => Some(format!("Address books of {user}")),
        Target::AddressBook(book) => {
            Some(book.display_name.clone()).filter(|name| !name.is_empty())
        }
        Target::Trees => Some("Files".to_owned()),
        Target::Card(..) | Target::Plain(..) => None,
    }
}

fn owner(target: &Target, user: &str) -> Option<String> {
    match target {
        Target::HomeSet | Target::Plain(..) => Some(principal_href(user)),
        Target::AddressBook(book) | Target::Card(book, _) => Some(principal_href(&book.owner)),
        _ => None,
    }
}

/// Who may do what with an address book (RFC 3744 §5.5), for its owner to see.
fn acl(target: &Target, request: &Request) -> Result<Option<Vec<Ace>>, StoreError> {
    let Target::AddressBook(book) = target else {
        return Ok(None);
    };
    if book.access != Access::Owner {
        return Ok(None);
    }
    let ace = |user: &str, privileges, is_protected| Ace {
        principal: Principal::Href(principal_href(user)),
        privileges,
        is_protected,
        inherited: None,
    };
    let mut aces = vec![ace(&book.owner, vec![Name::dav("all")], true)];
    for share in request.store.shares(book.id)? {
        let mut privileges = vec![Name::dav("read")];
        if share.access == Access::ReadWrite {
            privileges.push(Name::dav("write"));
        }
        aces.push(ace(&share.user, privileges, false));
    }
    Ok(Some(aces))
}

fn resource_types(target: &Target) -> Vec<Name> {
    match target {
        Target::Root
        | Target::Context
        | Target::Principals
        | Target::HomeSets
        | Target::HomeSet
        | Target::Trees => vec![Name::dav("collection")],
        Target::Plain(_, resource) if resource.content.is_none() => vec![Name::dav("collection")],
        Target::Principal | Target::Owner(_) => vec![Name::dav("principal")],
        Target::AddressBook(_) => vec![Name::dav("collection"), Name::carddav("addressbook")],
        Target::Card(..) | Target::Plain(..) => Vec::new(),
    }
}

/// The privileges of an address book, each within the one that grants it (RFC 3744 §5.3). They are
/// granted by sharing it, not by the ACL method.
fn supported_privileges() -> SupportedPrivilege {
    let privilege = |local, description, contains| SupportedPrivilege {
        privilege: Name::dav(local),
        is_abstract: false,
        description,
        contains,
    };
    let part = |local, description| privilege(local, description, Vec::new());
    let read = vec![part(
        "read-current-user-privilege-set",
        "Read which privileges one has",
    )];
    let write = vec![
        part("write-content", "Change a card"),
        part("write-properties", "Change properties"),
        part("bind", "Add a card"),
        part("unbind", "Delete a card"),
    ];
    let all = vec![
        privilege("read", "Read the cards", read),
        part("read-acl", "Read with whom it is shared"),
        privilege("write", "Change the address book", write),
    ];
    privilege("all", "Everything", all)
}

/// Privileges of RFC 3744 §3. Thunderbird shows a book without `write` as read-only, so that it is
/// there for who may write cards but not rename the book; DAVx5 offers to create address books where
/// it sees `bind` on the home set.
fn privileges(target: &Target) -> Vec<Name> {
    let more: &[Name] = match target {
        Target::HomeSet => &[Name::dav("bind"), Name::dav("unbind")],
        Target::AddressBook(book) => match book.access {
            Access::Owner => &[
                Name::dav("read-acl"),
                Name::dav("write"),
                Name::dav("write-content"),
                Name::dav("write-properties"),
                Name::dav("bind"),
                Name::dav("unbind"),
            ],
            Access::ReadWrite => &[
                Name::dav("write"),
                Name::dav("write-content"),
                Name::dav("bind"),
                Name::dav("unbind"),
            ],
            Access::ReadOnly => &[],
        },
        Target::Plain(_, resource) if resource.content.is_none() => &[
            Name::dav("write"),
            Name::dav("write-content"),
            Name::dav("write-properties"),
            Name::dav("bind"),
            Name::dav("unbind"),
        ],
        Target::Plain(..) => &[
            Name::dav("write"),
            Name::dav("write-content"),
            Name::dav("write-properties"),
        ],
        Target::Card(book, _) if book.access != Access::ReadOnly => &[
            Name::dav("write"),
            Name::dav("write-content"),
            Name::dav("write-properties"),
        ],
        _ => &[],
    };
    let read = [
        Name::dav("read"),
        Name::dav("read-current-user-privilege-set"),
    ];
    read.iter().chain(more).cloned().collect()
}

fn reports(target: &Target) -> Vec<Name> {
    match target {
        Target::AddressBook(_) => {
            vec![
                Name::carddav("addressbook-multiget"),
                Name::carddav("addressbook-query"),
                Name::dav("sync-collection"),
            ]
        }
        Target::Card(..) => {
            vec![
                Name::carddav("addressbook-multiget"),
                Name::carddav("addressbook-query"),
            ]
        }
        _ => Vec::new(),
    }
}
