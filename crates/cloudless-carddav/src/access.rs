//! What a user may do with an address book (RFC 3744).

use cloudless_dav_proto::Name;
use cloudless_dav_proto::error::Condition;
use cloudless_store::{Access, AddressBook};
use http::StatusCode;

use crate::refusal::Refusal;
use crate::request::Request;
use crate::resource::book_href;

/// What a request needs to be allowed in an address book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// To add a card.
    Bind,
    /// To take a card away.
    Unbind,
    /// To change a card.
    WriteContent,
    /// To change the properties of a card.
    WriteCardProperties,
    /// To change the name and the properties of the address book, which only its owner may: all who
    /// share it see them.
    WriteBookProperties,
}

impl Privilege {
    /// The name in RFC 3744 §3.
    pub(crate) const fn name(self) -> Name {
        Name::dav(match self {
            Self::Bind => "bind",
            Self::Unbind => "unbind",
            Self::WriteContent => "write-content",
            Self::WriteCardProperties | Self::WriteBookProperties => "write-properties",
        })
    }

    const fn is_given_by(self, access: Access) -> bool {
        match access {
            Access::Owner => true,
            Access::ReadWrite => !matches!(self, Self::WriteBookProperties),
            Access::ReadOnly => false,
        }
    }
}

/// Checks that the user may do this with an address book.
///
/// # Errors
/// 403 with the privilege that is missing. DAVx5 keeps a change for later on this, and none other.
pub(crate) fn need(
    request: &Request,
    book: &AddressBook,
    privilege: Privilege,
) -> Result<(), Refusal> {
    if privilege.is_given_by(book.access) {
        return Ok(());
    }
    let condition = Condition::NeedPrivileges {
        missing: vec![(
            book_href(&request.login.user_name, &book.slug),
            privilege.name(),
        )],
    };
    let reason = "This address book is shared with you to read only.";
    Err(Refusal::condition(StatusCode::FORBIDDEN, condition, reason))
}
