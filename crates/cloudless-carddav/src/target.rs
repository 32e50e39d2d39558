//! The resources that exist for a user, with what their properties are made from.

use std::sync::Arc;

use cloudless_store::{self as store, AddressBook, CardRow, Login, Store, StoreError};

use crate::card_rows::CardRows;
use crate::resource::{self, CONTEXT_PATH, Resource};

/// A resource that exists and that the user may see.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Root,
    Context,
    Principals,
    Principal,
    /// Another user, who shares an address book with this one.
    Owner(String),
    HomeSets,
    HomeSet,
    AddressBook(Arc<AddressBook>),
    Card(Arc<AddressBook>, CardRow),
    Trees,
    /// A plain resource or collection at this path of the user's tree.
    Plain(Vec<String>, store::Resource),
}

/// The members of a collection. They block on the store.
pub(crate) type Members = Box<dyn Iterator<Item = Result<Target, StoreError>> + Send>;

impl Target {
    /// Looks up what a request of its user names. Blocks on the store. None when it does not exist.
    pub(crate) fn find(
        store: &Store,
        login: &Login,
        resource: &Resource,
    ) -> Result<Option<Self>, StoreError> {
        Ok(Some(match resource {
            Resource::WellKnown | Resource::PushRegistration { .. } => return Ok(None),
            Resource::Root => Self::Root,
            Resource::Context => Self::Context,
            Resource::Principals => Self::Principals,
            Resource::Principal { user } if *user != login.user_name => Self::Owner(user.clone()),
            Resource::Principal { .. } => Self::Principal,
            Resource::HomeSets => Self::HomeSets,
            Resource::HomeSet { .. } => Self::HomeSet,
            Resource::AddressBook { book, .. } => {
                let Some(book) = store.address_book(login.user, book)? else {
                    return Ok(None);
                };
                Self::AddressBook(Arc::new(book))
            }
            Resource::Card { book, card, .. } => {
                let Some(book) = store.address_book(login.user, book)? else {
                    return Ok(None);
                };
                let Some(row) = store.card_row(book.id, card)? else {
                    return Ok(None);
                };
                Self::Card(Arc::new(book), row)
            }
            Resource::Trees => Self::Trees,
            Resource::Plain {
                path,
                is_collection,
                ..
            } => match store.resource(login.user, path)? {
                Some(found) if !(*is_collection && found.content.is_some()) => {
                    Self::Plain(path.clone(), found)
                }
                _ => return Ok(None),
            },
        }))
    }

    /// The members of a collection, each in turn. Blocks on the store.
    pub(crate) fn members(&self, store: &Store, login: &Login) -> Result<Members, StoreError> {
        Ok(match self {
            Self::Root => Box::new([Self::Context].into_iter().map(Ok)),
            Self::Context => Box::new(
                [Self::Principals, Self::HomeSets, Self::Trees]
                    .into_iter()
                    .map(Ok),
            ),
            Self::Principals => Box::new([Self::Principal].into_iter().map(Ok)),
            Self::HomeSets => Box::new([Self::HomeSet].into_iter().map(Ok)),
            Self::HomeSet => {
                let books = store.address_books(login.user)?;
                Box::new(
                    books
                        .into_iter()
                        .map(|book| Ok(Self::AddressBook(Arc::new(book)))),
                )
            }
            Self::AddressBook(book) => {
                let rows = CardRows::new(store.clone(), book.id);
                let book = Arc::clone(book);
                Box::new(rows.map(move |row| Ok(Self::Card(Arc::clone(&book), row?))))
            }
            Self::Trees => {
                let root = store.resource(login.user, &[])?;
                Box::new(
                    root.into_iter()
                        .map(|root| Ok(Self::Plain(Vec::new(), root))),
                )
            }
            Self::Plain(path, resource) => {
                let members = store.resource_members(resource.id)?;
                let path = path.clone();
                Box::new(members.into_iter().map(move |member| {
                    let path = [path.as_slice(), std::slice::from_ref(&member.name)].concat();
                    Ok(Self::Plain(path, member))
                }))
            }
            Self::Principal | Self::Owner(_) | Self::Card(..) => Box::new(std::iter::empty()),
        })
    }

    /// The one spelling of this resource's path.
    pub(crate) fn href(&self, user: &str) -> String {
        match self {
            Self::Root => "/".to_owned(),
            Self::Context => CONTEXT_PATH.to_owned(),
            Self::Principals => resource::PRINCIPALS_PATH.to_owned(),
            Self::Principal => resource::principal_href(user),
            Self::Owner(user) => resource::principal_href(user),
            Self::HomeSets => resource::HOME_SETS_PATH.to_owned(),
            Self::HomeSet => resource::home_set_href(user),
            Self::AddressBook(book) => resource::book_href(user, &book.slug),
            Self::Card(book, row) => {
                resource::card_href(&resource::book_href(user, &book.slug), &row.name)
            }
            Self::Trees => resource::TREES_PATH.to_owned(),
            Self::Plain(path, resource) => {
                resource::plain_href(user, path, resource.content.is_none())
            }
        }
    }

    /// Whether it has, or could have, members.
    pub(crate) fn is_collection(&self) -> bool {
        match self {
            Self::Card(..) => false,
            Self::Plain(_, resource) => resource.content.is_none(),
            _ => true,
        }
    }
}
