//! A request whose login is right.

use std::sync::Arc;

use cloudless_store::{Actor, AddressBook, DeviceId, Login, Store, StoreError, Timestamp};
use http::HeaderMap;

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
}

/// A device that may lose its login while an answer is sent to it.
pub(crate) struct Reader {
    store: Store,
    device: DeviceId,
}

impl Reader {
    /// Blocks on the store.
    ///
    /// # Errors
    /// [`StoreError::DeviceRevoked`], or the store cannot be read.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.store.is_in_use(self.device)? {
            Ok(())
        } else {
            Err(StoreError::DeviceRevoked)
        }
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
            device: self.login.device,
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
