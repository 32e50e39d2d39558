use super::acl::{Ace, SupportedPrivilege, write_privileges};
use crate::Name;
use crate::markup::{self, push};

/// The value of a property, by the shape of its XML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// What principals may do, as in `acl` (RFC 3744 §5.5).
    Acl(Vec<Ace>),
    /// A card's bytes, as the `address-data` of RFC 6352 §10.4. Bytes that are no UTF-8 and
    /// characters that XML forbids become U+FFFD.
    AddressData(Vec<u8>),
    /// Media types, as in `supported-address-data` (RFC 6352 §6.2.2).
    AddressDataTypes(Vec<AddressDataType>),
    /// Collation names, as in `supported-collation-set` (RFC 6352 §8.3.1).
    Collations(Vec<&'static str>),
    /// E-mail addresses, as in `email-address-set` of the CalendarServer extensions.
    EmailAddresses(Vec<String>),
    /// Nothing: the property exists and is empty, or the answer is to DAV:propname.
    Empty,
    /// One href, as in `current-user-principal` (RFC 5397).
    Href(String),
    /// Any number of hrefs, as in `addressbook-home-set` (RFC 6352 §7.1.1).
    Hrefs(Vec<String>),
    /// Privileges, as in `current-user-privilege-set` (RFC 3744 §5.4).
    Privileges(Vec<Name>),
    /// Reports, as in `supported-report-set` (RFC 3253 §3.1.5).
    Reports(Vec<Name>),
    /// Empty elements, as in `resourcetype` (RFC 4918 §15.9).
    ResourceTypes(Vec<Name>),
    /// Privileges that there are and how they contain each other, as in `supported-privilege-set`
    /// (RFC 3744 §5.3).
    SupportedPrivileges(Vec<SupportedPrivilege>),
    /// Text.
    Text(String),
    /// A whole property element as [`SetProperty::xml`](crate::request::SetProperty::xml) has it,
    /// name included. It is written as it is.
    Xml(String),
}

impl Value {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Acl(aces) => aces.is_empty(),
            Self::AddressData(bytes) => bytes.is_empty(),
            Self::AddressDataTypes(types) => types.is_empty(),
            Self::Collations(collations) => collations.is_empty(),
            Self::Empty => true,
            Self::Href(_) => false,
            Self::EmailAddresses(texts) | Self::Hrefs(texts) => texts.is_empty(),
            Self::Privileges(names) | Self::Reports(names) | Self::ResourceTypes(names) => {
                names.is_empty()
            }
            Self::SupportedPrivileges(privileges) => privileges.is_empty(),
            Self::Text(text) | Self::Xml(text) => text.is_empty(),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Acl(aces) => aces.iter().for_each(|ace| ace.write(out)),
            Self::AddressData(bytes) => markup::escape_bytes(out, bytes),
            Self::AddressDataTypes(types) => {
                for media in types {
                    push(out, &["<C:address-data-type content-type=\""]);
                    markup::escape(out, media.content_type);
                    push(out, &["\" version=\""]);
                    markup::escape(out, media.version);
                    push(out, &["\"/>"]);
                }
            }
            Self::Collations(collations) => {
                for collation in collations {
                    push(out, &["<C:supported-collation>"]);
                    markup::escape(out, collation);
                    push(out, &["</C:supported-collation>"]);
                }
            }
            Self::EmailAddresses(addresses) => {
                for address in addresses {
                    push(out, &["<CS:email-address>"]);
                    markup::escape(out, address);
                    push(out, &["</CS:email-address>"]);
                }
            }
            Self::Empty => {}
            Self::Href(href) => markup::dav_text(out, "href", href),
            Self::Hrefs(hrefs) => {
                for href in hrefs {
                    markup::dav_text(out, "href", href);
                }
            }
            Self::Privileges(privileges) => write_privileges(out, privileges),
            Self::Reports(reports) => {
                for report in reports {
                    push(out, &["<D:supported-report><D:report>"]);
                    markup::empty(out, report);
                    push(out, &["</D:report></D:supported-report>"]);
                }
            }
            Self::ResourceTypes(types) => {
                for name in types {
                    markup::empty(out, name);
                }
            }
            Self::SupportedPrivileges(privileges) => {
                privileges.iter().for_each(|privilege| privilege.write(out));
            }
            Self::Text(text) => markup::escape(out, text),
            Self::Xml(xml) => push(out, &[xml]),
        }
    }
}

/// A media type of cards with its version, as `supported-address-data` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressDataType {
    /// The media type, `text/vcard`.
    pub content_type: &'static str,
    /// The version, `3.0` or `4.0`.
    pub version: &'static str,
}
