//! CardDAV (RFC 6352) over the types of the `http` crate.
//!
//! [`CardDav::respond`] answers one request. It opens no socket and spawns nothing that outlives
//! the request and its response: give it to any HTTP server, over TLS, as clients send their
//! password with each request.
//!
//! The code is laid out by method: `methods/put.rs` is PUT. A request goes through authentication,
//! the resource that its path names, and then its method; whatever says no on the way is a
//! `Refusal`, the one place where an error of the store becomes an HTTP status.
//!
//! | path | resource |
//! |---|---|
//! | `/.well-known/carddav` | redirects to `/dav/` without a login (RFC 6764) |
//! | `/`, `/dav/` | tell a client where its principal and address books are |
//! | `/dav/principals/USER/` | the user (RFC 3744) |
//! | `/dav/addressbooks/USER/` | the home set: the user's address books |
//! | `/dav/addressbooks/USER/BOOK/` | an address book |
//! | `/dav/addressbooks/USER/BOOK/NAME` | a card |

mod authentication;
mod blocking;
mod body;
mod card_properties;
mod clock;
mod conditions;
mod depth;
mod index;
mod methods;
mod multistatus;
mod password;
mod prefer;
mod properties;
mod refusal;
mod representation;
mod request;
mod request_body;
mod resource;
mod settings;
mod sync_token;
mod target;

use std::fmt::Display;
use std::time::Instant;

use bytes::Bytes;
use cloudless_store::{Store, Timestamp};
use http::request::Parts;
use http::{Method, Response};

pub use body::{Body, BodyError};
pub use clock::Clock;
pub use index::{index_cards, new_card};
pub use password::{generate_password, hash_password};
pub use settings::Settings;

use authentication::Credentials;
use refusal::Refusal;
use request::Request;
use resource::Resource;

/// The CardDAV service of one store. A clone is another handle on the same one.
#[derive(Clone)]
pub struct CardDav {
    store: Store,
    clock: Clock,
    settings: Settings,
}

impl CardDav {
    /// Serves the users of `store`, with default settings; `clock` gives the time that changes are
    /// recorded with.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            settings: Settings::default(),
        }
    }

    /// The same service with other settings.
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Answers a request.
    ///
    /// Call it inside a tokio runtime whose time is enabled. It always answers: what is wrong with
    /// the request or the store is told by the status. At most 10 MiB of a card and 16 MiB of
    /// another body are read, and nothing of it before the login is checked. When the returned body
    /// fails, reset the connection, so that the client does not take a part for the whole.
    pub async fn respond<B>(&self, request: http::Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Display,
    {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let method = head.method.clone();
        let resource = Resource::parse(head.uri.path());
        let kind = resource.as_ref().map_or("nothing", Resource::kind);
        let mut response = self
            .answer(head, resource, body)
            .await
            .unwrap_or_else(Response::from);
        if method == Method::HEAD {
            methods::leave_body_out(&mut response);
        }
        tracing::debug!(
            %method,
            resource = kind,
            status = response.status().as_u16(),
            duration = ?started.elapsed(),
            "answered"
        );
        response
    }

    async fn answer<B>(
        &self,
        head: Parts,
        resource: Option<Resource>,
        body: B,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Display,
    {
        if resource == Some(Resource::WellKnown) {
            return Ok(methods::well_known::redirect());
        }
        let Some(credentials) = Credentials::from_headers(&head.headers) else {
            return Ok(authentication::challenge());
        };
        let now = Timestamp::from((self.clock)());
        let store = self.store.clone();
        let login = blocking::run(move || Ok(credentials.check(&store, now)?)).await?;
        let Some(login) = login else {
            return Ok(authentication::challenge());
        };
        let visible =
            |resource: &Resource| resource.user().is_none_or(|user| user == login.user_name);
        let Some(resource) = resource.filter(visible) else {
            return Err(Refusal::not_found());
        };
        let request = Request {
            store: self.store.clone(),
            settings: self.settings,
            login,
            now,
            resource,
            headers: head.headers,
        };
        methods::respond(&head.method, request, body).await
    }
}

impl std::fmt::Debug for CardDav {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CardDav")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
