//! The `DAV:error` body that explains a refused request (RFC 4918 §16).

use crate::Name;
use crate::markup::{self, DECLARATION, NAMESPACES, push};

/// A precondition or postcondition that a request did not meet.
///
/// The status that goes with each is the one its RFC names; clients look at the element at any
/// status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `CARDDAV:addressbook-collection-location-ok` (RFC 6352 §6.3.1, §6.3.2.1).
    AddressbookCollectionLocationOk,
    /// `DAV:cannot-modify-protected-property` (RFC 4918 §16).
    CannotModifyProtectedProperty,
    /// `invalid-subscription` of WebDAV-Push: no message could be sent to it
    /// (draft-bitfire-webdav-push-00 §3.1.3).
    InvalidSubscription,
    /// `CARDDAV:max-resource-size` (RFC 6352 §6.3.2.1).
    MaxResourceSize,
    /// `DAV:need-privileges` (RFC 3744 §7.1.1).
    NeedPrivileges {
        /// The resources, percent-encoded, each with the privilege that the user lacks, such as
        /// `DAV:write`. None where they ended while the request was under way.
        missing: Vec<(String, Name)>,
    },
    /// `DAV:no-external-entities`: the body holds a document type (RFC 4918 §16).
    NoExternalEntities,
    /// `no-supported-trigger` of WebDAV-Push: nothing would ever be told
    /// (draft-bitfire-webdav-push-00 §3.1.3).
    NoSupportedTrigger,
    /// `CARDDAV:no-uid-conflict` (RFC 6352 §6.3.2.1).
    NoUidConflict {
        /// The card that has this UID already, percent-encoded.
        href: String,
    },
    /// `DAV:number-of-matches-within-limits` (RFC 6352 §8.6.2, RFC 6578 §3.2).
    NumberOfMatchesWithinLimits,
    /// `DAV:propfind-finite-depth` (RFC 4918 §9.1).
    PropfindFiniteDepth,
    /// `push-not-available` of WebDAV-Push: not here, or not for this user
    /// (draft-bitfire-webdav-push-00 §3.1.3).
    PushNotAvailable,
    /// `DAV:quota-not-exceeded`: the user has no more room (RFC 4331 §6).
    QuotaNotExceeded,
    /// `DAV:resource-must-be-null`: there is something already (RFC 5689 §3).
    ResourceMustBeNull,
    /// `CARDDAV:supported-address-data` (RFC 6352 §6.3.2.1).
    SupportedAddressData,
    /// `CARDDAV:supported-address-data-conversion` (RFC 6352 §8.6, §8.7).
    SupportedAddressDataConversion,
    /// `CARDDAV:supported-collation` (RFC 6352 §8.3).
    SupportedCollation,
    /// `CARDDAV:supported-filter` (RFC 6352 §8.6).
    SupportedFilter,
    /// `DAV:supported-report` (RFC 3253 §3.6).
    SupportedReport,
    /// `DAV:sync-traversal-supported` (RFC 6578 §3.3).
    SyncTraversalSupported,
    /// `CARDDAV:valid-address-data` (RFC 6352 §6.3.2.1).
    ValidAddressData,
    /// `DAV:valid-resourcetype`: no such collection can be made (RFC 5689 §3.3).
    ValidResourcetype,
    /// `DAV:valid-sync-token` (RFC 6578 §3.2).
    ValidSyncToken,
}

/// The body of a refused request, in UTF-8 with an XML declaration; its media type is
/// `application/xml; charset=utf-8`.
pub fn error_body(conditions: &[Condition]) -> Vec<u8> {
    let mut body = Vec::new();
    push(&mut body, &[DECLARATION, "<D:error", NAMESPACES, ">"]);
    write_conditions(&mut body, conditions);
    push(&mut body, &["</D:error>\n"]);
    body
}

pub(crate) fn write_conditions(out: &mut Vec<u8>, conditions: &[Condition]) {
    for condition in conditions {
        condition.write(out);
    }
}

impl Condition {
    /// The name of the condition's element.
    pub const fn name(&self) -> Name {
        match self {
            Self::AddressbookCollectionLocationOk => {
                Name::carddav("addressbook-collection-location-ok")
            }
            Self::CannotModifyProtectedProperty => Name::dav("cannot-modify-protected-property"),
            Self::InvalidSubscription => Name::push("invalid-subscription"),
            Self::MaxResourceSize => Name::carddav("max-resource-size"),
            Self::NeedPrivileges { .. } => Name::dav("need-privileges"),
            Self::NoExternalEntities => Name::dav("no-external-entities"),
            Self::NoSupportedTrigger => Name::push("no-supported-trigger"),
            Self::NoUidConflict { .. } => Name::carddav("no-uid-conflict"),
            Self::NumberOfMatchesWithinLimits => Name::dav("number-of-matches-within-limits"),
            Self::PropfindFiniteDepth => Name::dav("propfind-finite-depth"),
            Self::PushNotAvailable => Name::push("push-not-available"),
            Self::QuotaNotExceeded => Name::dav("quota-not-exceeded"),
            Self::ResourceMustBeNull => Name::dav("resource-must-be-null"),
            Self::SupportedAddressData => Name::carddav("supported-address-data"),
            Self::SupportedAddressDataConversion => {
                Name::carddav("supported-address-data-conversion")
            }
            Self::SupportedCollation => Name::carddav("supported-collation"),
            Self::SupportedFilter => Name::carddav("supported-filter"),
            Self::SupportedReport => Name::dav("supported-report"),
            Self::SyncTraversalSupported => Name::dav("sync-traversal-supported"),
            Self::ValidAddressData => Name::carddav("valid-address-data"),
            Self::ValidResourcetype => Name::dav("valid-resourcetype"),
            Self::ValidSyncToken => Name::dav("valid-sync-token"),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let name = self.name();
        match self {
            Self::NoUidConflict { href } => {
                markup::open(out, &name);
                markup::dav_text(out, "href", href);
                markup::close(out, &name);
            }
            Self::NeedPrivileges { missing } => {
                markup::open(out, &name);
                for (href, privilege) in missing {
                    push(out, &["<D:resource>"]);
                    markup::dav_text(out, "href", href);
                    push(out, &["<D:privilege>"]);
                    markup::empty(out, privilege);
                    push(out, &["</D:privilege></D:resource>"]);
                }
                markup::close(out, &name);
            }
            _ => markup::empty(out, &name),
        }
    }
}
