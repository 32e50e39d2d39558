//! A request whose login is right.

use std::sync::Arc;

use cloudless_store::{Actor, AddressBook, DeviceId, Login, Store, StoreError, Timestamp, UserId};
use http::HeaderMap;

use crate::places::Place;
use crate::resource::Resource;
use crate::target::Target;
use crate::{Push, Settings};

/// A request of a logged-in user for a resource that is the user's own or shared by all.
pub(crate) struct Request {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    /// WebDAV-Push, if the server sends messages.
    pub(crate) push: Option<Arc<Push>>,
    /// Scheme, host and port that the client calls this server by, if it said so.
    pub(crate) origin: Option<String>,
    pub(crate) login: Login,
    pub(crate) now: Timestamp,
    pub(crate) resource: Resource,
    /// The name that the client calls this server by, if it said one.
    pub(crate) host: Option<String>,
    pub(crate) headers: HeaderMap,
    /// Its place among those of its device.
    pub(crate) place: Place,
}

/// A device that may lose its login, or the address book that it reads, while an answer is sent to it.
pub(crate) struct Reader {
    store: Store,
    user: UserId,
    device: DeviceId,
    /// The name of the address book that the answer is about.
    book: Option<String>,
}

impl Reader {
    /// Blocks on the store.
    ///
    /// # Errors
    /// [`StoreError::DeviceRevoked`], [`StoreError::NoSuchBook`] also when it is no longer shared with
    /// the user, or the store cannot be read.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if !self.store.is_in_use(self.device)? {
            return Err(StoreError::DeviceRevoked);
        }
        if let Some(book) = &self.book
            && self.store.address_book(self.user, book)?.is_none()
        {
            return Err(StoreError::NoSuchBook);
        }
        Ok(())
    }
}

impl Request {
    /// Who changes something.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            device: Some(self.login.device),
            at: self.now,
        }
    }

    /// Who gets the answer.
    pub(crate) fn reader(&self) -> Reader {
        Reader {
            store: self.store.clone(),
            user: self.login.user,
            device: self.login.device,
            book: match &self.resource {
                Resource::AddressBook { book, .. } | Resource::Card { book, .. } => {
                    Some(book.clone())
                }
                _ => None,
            },
        }
    }

    /// The user's address book of this name. Blocks on the store.
    pub(crate) fn address_book(&self, slug: &str) -> Result<Option<AddressBook>, StoreError> {
        self.store.address_book(self.login.user, slug)
    }

    /// What the path names, if it exists. Blocks on the store.
    pub(crate) fn target(&self) -> Result<Option<Target>, StoreError> {
        Target::find(&self.store, &self.login, &self.resource)
    }
}
