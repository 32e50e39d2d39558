//! The URL space: which resource a path names, and how its href is spelled.

use cloudless_dav_proto::href::{HrefError, decode_path, encode_segment};

/// Where clients are sent to from `/.well-known/carddav`.
pub(crate) const CONTEXT_PATH: &str = "/dav/";

/// The collection of principals.
pub(crate) const PRINCIPALS_PATH: &str = "/dav/principals/";

/// The collection of home sets.
pub(crate) const HOME_SETS_PATH: &str = "/dav/addressbooks/";

/// The collection of the users' trees of plain collections.
pub(crate) const TREES_PATH: &str = "/dav/files/";

/// Where push registrations are.
pub(crate) const PUSH_PATH: &str = "/dav/push/";

/// What a path names. It says nothing about whether that exists or may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// `/.well-known/carddav`
    WellKnown,
    /// `/`
    Root,
    /// `/dav/`
    Context,
    /// `/dav/principals/`
    Principals,
    /// `/dav/principals/USER/`
    Principal { user: String },
    /// `/dav/addressbooks/`
    HomeSets,
    /// `/dav/addressbooks/USER/`
    HomeSet { user: String },
    /// `/dav/addressbooks/USER/BOOK/`
    AddressBook { user: String, book: String },
    /// `/dav/addressbooks/USER/BOOK/CARD`
    Card {
        user: String,
        book: String,
        card: String,
    },
    /// `/dav/push/NAME`
    PushRegistration { name: String },
    /// `/dav/files/`
    Trees,
    /// `/dav/files/USER/` and all that is below it
    Plain {
        user: String,
        path: Vec<String>,
        /// Whether it was written with a last slash, as only a collection is.
        is_collection: bool,
    },
}

impl Resource {
    /// Reads a path, or the path of an absolute URL, in any spelling. None for a path that names
    /// nothing here. A collection is also found without its last slash, all else only without one.
    ///
    /// The name of a card that is not encoded as it should be, such as `100%.vcf`, is taken as it
    /// stands: what a client stores there is a contact that must not be lost.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        match decode_path(path) {
            Ok(segments) => Self::named(&segments, without_query(path).ends_with('/')),
            Err(HrefError::PercentEncoding | HrefError::NotUtf8) => {
                let (book, card) = without_query(path).rsplit_once('/')?;
                let card = Some(card).filter(|card| card.contains('%'))?.to_owned();
                match Self::named(&decode_path(book).ok()?, true)? {
                    Self::AddressBook { user, book } => Some(Self::Card { user, book, card }),
                    _ => None,
                }
            }
            Err(HrefError::DotSegment | HrefError::Relative) => None,
        }
    }

    fn named(segments: &[String], is_collection: bool) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Some(match *segments.as_slice() {
            [".well-known", "carddav"] => Self::WellKnown,
            [] => Self::Root,
            ["dav"] => Self::Context,
            ["dav", "principals"] => Self::Principals,
            ["dav", "principals", user] => Self::Principal {
                user: user.to_owned(),
            },
            ["dav", "push", name] if !is_collection => Self::PushRegistration {
                name: name.to_owned(),
            },
            ["dav", "addressbooks"] => Self::HomeSets,
            ["dav", "addressbooks", user] => Self::HomeSet {
                user: user.to_owned(),
            },
            ["dav", "addressbooks", user, book] => Self::AddressBook {
                user: user.to_owned(),
                book: book.to_owned(),
            },
            ["dav", "addressbooks", user, book, card] if !is_collection => Self::Card {
                user: user.to_owned(),
                book: book.to_owned(),
                card: card.to_owned(),
            },
            ["dav", "files"] => Self::Trees,
            ["dav", "files", user, ref path @ ..] => Self::Plain {
                user: user.to_owned(),
                path: path.iter().map(|&name| name.to_owned()).collect(),
                is_collection,
            },
            _ => return None,
        })
    }

    /// Whose resource it is; None for what all users share.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::Principal { user }
            | Self::HomeSet { user }
            | Self::AddressBook { user, .. }
            | Self::Card { user, .. }
            | Self::Plain { user, .. } => Some(user),
            Self::WellKnown
            | Self::Root
            | Self::Context
            | Self::Principals
            | Self::HomeSets
            | Self::PushRegistration { .. }
            | Self::Trees => None,
        }
    }

    /// What kind of resource it is, for the log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::WellKnown => "well-known",
            Self::Root => "root",
            Self::Context => "context",
            Self::Principals => "principals",
            Self::Principal { .. } => "principal",
            Self::HomeSets => "home sets",
            Self::HomeSet { .. } => "home set",
            Self::AddressBook { .. } => "address book",
            Self::Card { .. } => "card",
            Self::PushRegistration { .. } => "push registration",
            Self::Trees => "trees",
            Self::Plain { .. } => "plain",
        }
    }
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The href of a user's principal. Some clients compare hrefs as text, so each resource has one
/// spelling in every answer.
pub(crate) fn principal_href(user: &str) -> String {
    format!("{PRINCIPALS_PATH}{}/", encode_segment(user))
}

/// The href of a user's address book home set.
pub(crate) fn home_set_href(user: &str) -> String {
    format!("{HOME_SETS_PATH}{}/", encode_segment(user))
}

/// The href of an address book.
pub(crate) fn book_href(user: &str, book: &str) -> String {
    format!("{}{}/", home_set_href(user), encode_segment(book))
}

/// The path of a push registration.
pub(crate) fn push_registration_href(name: &str) -> String {
    format!("{PUSH_PATH}{}", encode_segment(name))
}

/// The href of a card in the address book with this href.
pub(crate) fn card_href(book_href: &str, card: &str) -> String {
    format!("{book_href}{}", encode_segment(card))
}

/// The href of a plain resource, or of a plain collection.
pub(crate) fn plain_href(user: &str, path: &[String], is_collection: bool) -> String {
    let mut href = format!("{TREES_PATH}{}", encode_segment(user));
    for name in path {
        href.push('/');
        href.push_str(&encode_segment(name));
    }
    if is_collection {
        href.push('/');
    }
    href
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a client calls a card, the href that it gets back leads to it.
        #[test]
        fn an_href_names_the_card_that_it_was_made_from(name in "\\PC{1,40}|[\\x01-\\x7f]{1,40}") {
            prop_assume!(name != "." && name != "..");
            let href = card_href(&book_href("me", "contacts"), &name);
            let expected = Resource::Card {
                user: "me".to_owned(),
                book: "contacts".to_owned(),
                card: name,
            };
            prop_assert_eq!(Resource::parse(&href), Some(expected));
        }

        /// The last slash says what it is, and nothing but that.
        #[test]
        fn an_href_names_the_plain_resource_that_it_was_made_from(
            path in prop::collection::vec("\\PC{1,20}|[\\x01-\\x7f]{1,20}", 0..4),
            is_collection: bool,
        ) {
            prop_assume!(path.iter().all(|name| name != "." && name != ".."));
            let href = plain_href("me", &path, is_collection);
            let user = "me".to_owned();
            let expected = Resource::Plain { user, path, is_collection };
            prop_assert_eq!(Resource::parse(&href), Some(expected));
        }

        #[test]
        fn no_path_is_a_panic(path in ".{0,60}") {
            Resource::parse(&path);
        }
    }
}
