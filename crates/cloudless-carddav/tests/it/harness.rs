//! A server in memory and the requests of a client.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cloudless_carddav::{CardDav, hash_password};
use cloudless_store::{AddressBook, NewCard, Store, Timestamp, UserId};
use data_encoding::BASE64;
use http::Request;
use http_body_util::Full;
use tempfile::TempDir;

pub(crate) use crate::answer::Answer;

pub(crate) const BOOK: &str = "/dav/addressbooks/me/contacts/";
pub(crate) const HOME_SET: &str = "/dav/addressbooks/me/";
pub(crate) const PRINCIPAL: &str = "/dav/principals/me/";

/// The device's password in all tests.
pub(crate) const PASSWORD: &str = "abcdefghijklmnopqrstuvwxyz";

/// The time of the server's clock: Sat, 01 Aug 2026 12:00:00.250 GMT.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_785_585_600_250)
}

/// A server with the users `me` and `you`, who have a device `phone` each.
pub(crate) struct Server {
    pub(crate) carddav: CardDav,
    pub(crate) store: Store,
    pub(crate) me: UserId,
    directory: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let at = Timestamp::from(now());
        let me = store.create_user("me", at).unwrap();
        store.create_user("you", at).unwrap();
        store
            .add_device("me", "phone", hash_password(PASSWORD), at)
            .unwrap();
        store
            .add_device("you", "phone", hash_password("yours"), at)
            .unwrap();
        let carddav = CardDav::new(store.clone(), Arc::new(now));
        Self {
            carddav,
            store,
            me,
            directory,
        }
    }

    /// Where the store lies.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Sends a request as `me`.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.send_as(Some(&basic("me", PASSWORD)), method, path, headers, body)
            .await
    }

    /// Sends a request with this `Authorization` header, or without one.
    pub(crate) async fn send_as(
        &self,
        authorization: Option<&str>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = request(method, path, headers, body);
        if let Some(authorization) = authorization {
            request
                .headers_mut()
                .insert("authorization", authorization.parse().unwrap());
        }
        Answer::read(self.carddav.respond(request).await).await
    }

    /// Sends a PROPFIND for these properties, named as in `D:getetag`.
    pub(crate) async fn propfind(&self, path: &str, depth: &str, properties: &[&str]) -> Answer {
        self.send("PROPFIND", path, &[("depth", depth)], propfind(properties))
            .await
    }

    /// Stores a card that needs to be there for a test.
    pub(crate) async fn put(&self, name: &str, body: impl Into<Bytes>) -> String {
        let path = format!("{BOOK}{name}");
        let answer = self
            .send("PUT", &path, &[("content-type", "text/vcard")], body)
            .await;
        assert!(matches!(answer.status, 201 | 204), "{answer:?}");
        answer.header("etag").to_owned()
    }

    pub(crate) fn book(&self) -> AddressBook {
        self.store
            .address_book(self.me, "contacts")
            .unwrap()
            .unwrap()
    }

    /// Stores many cards at once, past the service.
    pub(crate) fn fill(&self, cards: impl Iterator<Item = (String, Vec<u8>)>) {
        let book = self.book().id;
        let cards = cards
            .map(|(name, bytes)| NewCard {
                book,
                name,
                bytes,
                uid: None,
                full_name: None,
                index: Vec::new(),
                text: String::new(),
            })
            .collect();
        let actor = cloudless_store::Actor {
            device: None,
            at: Timestamp::from(now()),
        };
        self.store.put_cards(cards, actor).unwrap();
    }
}

/// A request that nobody signed.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// The `Authorization` header of a login.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64.encode(format!("{user}:{password}").as_bytes())
    )
}

/// The body of a PROPFIND for these properties, named as in `D:getetag`.
pub(crate) fn propfind(properties: &[&str]) -> String {
    format!(
        "<D:propfind {NAMESPACES}><D:prop>{}</D:prop></D:propfind>",
        elements(properties)
    )
}

/// The body of an addressbook-multiget.
pub(crate) fn multiget(properties: &[&str], hrefs: &[&str]) -> String {
    let hrefs: String = hrefs
        .iter()
        .map(|href| format!("<D:href>{href}</D:href>"))
        .collect();
    format!(
        "<C:addressbook-multiget {NAMESPACES}><D:prop>{}</D:prop>{hrefs}</C:addressbook-multiget>",
        elements(properties)
    )
}

/// The body of an addressbook-query with this filter, which may be followed by a limit.
pub(crate) fn query(properties: &[&str], filter: &str) -> String {
    format!(
        "<C:addressbook-query {NAMESPACES}><D:prop>{}</D:prop>{filter}</C:addressbook-query>",
        elements(properties)
    )
}

/// The body of a sync-collection with what else it holds.
pub(crate) fn sync_collection(properties: &[&str], token: &str, more: &str) -> String {
    format!(
        "<D:sync-collection {NAMESPACES}><D:sync-token>{token}</D:sync-token>\
         <D:sync-level>1</D:sync-level>{more}<D:prop>{}</D:prop></D:sync-collection>",
        elements(properties)
    )
}

/// A small card.
pub(crate) fn card(uid: &str, full_name: &str) -> String {
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{full_name}\r\nN:{full_name};;;;\r\n\
         END:VCARD\r\n"
    )
}

const NAMESPACES: &str = r#"xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"
    xmlns:CS="http://calendarserver.org/ns/" xmlns:X="urn:example""#;

fn elements(names: &[&str]) -> String {
    names.iter().map(|name| format!("<{name}/>")).collect()
}
