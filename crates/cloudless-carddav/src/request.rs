//! A request whose login is right.

use std::sync::Arc;

use cloudless_store::{Actor, AddressBook, Login, Store, StoreError, Timestamp};
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

impl Request {
    /// Who changes something.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            device: Some(self.login.device),
            at: self.now,
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
