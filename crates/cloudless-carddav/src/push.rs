//! WebDAV-Push (draft-bitfire-webdav-push-00): what an address book says about it, and what a device
//! is sent.

use std::fmt;

use cloudless_dav_proto::header::PushDontNotify;
use cloudless_dav_proto::multistatus::Value;
use cloudless_dav_proto::push;
use cloudless_store::{BookId, PendingPush, Store, Untold};
use data_encoding::BASE64URL_NOPAD;
use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::resource::Resource;
use crate::sync_token;

/// What WebDAV-Push needs to know of the server that sends the messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// The P-256 key that messages are signed with (RFC 8292), uncompressed.
    pub vapid_public_key: [u8; 65],
    /// Random, and always the same: topics are made from it, so that nobody can guess them.
    pub topic_secret: [u8; 32],
}

impl Push {
    /// The message that tells a device what it has not been told yet. It holds nothing of any
    /// contact.
    pub fn message(&self, pending: &PendingPush) -> Vec<u8> {
        let token = pending
            .content
            .then(|| sync_token::spell(&pending.incarnation, pending.revision));
        push::push_message(
            &self.topic(pending.book),
            token.as_deref(),
            pending.properties,
        )
    }

    /// What an address book is called in messages. It says nothing about the book.
    fn topic(&self, book: BookId) -> String {
        let digest = Sha256::new()
            .chain_update(self.topic_secret)
            .chain_update(book.number().to_be_bytes())
            .finalize();
        BASE64URL_NOPAD.encode(&digest[..16])
    }

    /// A property of an address book, by its local name in the namespace of WebDAV-Push.
    pub(crate) fn property(&self, book: BookId, local: &str) -> Option<Value> {
        Some(Value::Xml(match local {
            "transports" => push::transports(&BASE64URL_NOPAD.encode(&self.vapid_public_key)),
            "topic" => push::topic(&self.topic(book)),
            "supported-triggers" => push::supported_triggers(),
            _ => return None,
        }))
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Push(..)")
    }
}

/// The store for a request: what it changes is not told to those that its `Push-Dont-Notify` names
/// (§4.3). A registration's name is known to its own device alone.
pub(crate) fn store(store: &Store, headers: &HeaderMap) -> Store {
    let values = headers.get_all("push-dont-notify").iter();
    match PushDontNotify::parse(values.filter_map(|value| value.to_str().ok())) {
        None => store.clone(),
        Some(PushDontNotify::All) => store.without_telling(Untold::All),
        Some(PushDontNotify::Registrations(urls)) => {
            let names = urls.iter().filter_map(|url| match Resource::parse(url) {
                Some(Resource::PushRegistration { name }) => Some(name),
                _ => None,
            });
            store.without_telling(Untold::Named(names.collect()))
        }
    }
}
