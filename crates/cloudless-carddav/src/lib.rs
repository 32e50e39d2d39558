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
//! | `/dav/push/NAME` | a push registration (WebDAV-Push) |
//! | `/dav/files/` | leads to the tree below |
//! | `/dav/files/USER/` and below | the user's plain collections, and anything that is no contact |

mod access;
mod authentication;
mod blocking;
mod body;
mod card_properties;
mod card_rows;
mod clock;
mod conditions;
mod depth;
mod destination;
mod guesses;
mod index;
mod methods;
mod multistatus;
mod password;
mod places;
mod prefer;
mod properties;
mod push;
mod refusal;
mod representation;
mod request;
mod request_body;
mod request_counts;
mod resource;
mod settings;
mod sync_token;
mod target;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cloudless_store::{KnownLogin, Login, Store, Timestamp};
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response};

pub use body::{Body, BodyError};
pub use clock::Clock;
pub use index::{index_cards, new_card};
pub use password::{generate_password, hash_password};
pub use push::Push;
pub use request_counts::RequestCounts;
pub use settings::Settings;

use authentication::Credentials;
use guesses::Guesses;
use places::Places;
use refusal::Refusal;
use request::Request;
use resource::Resource;

/// The CardDAV service of one store. A clone is another handle on the same one.
#[derive(Clone)]
pub struct CardDav {
    store: Store,
    clock: Clock,
    settings: Settings,
    push: Option<Arc<Push>>,
    places: Places,
    guesses: Guesses,
    counts: RequestCounts,
    /// The SHA-256 of the client certificate that the connection has proven.
    certificate_hash: Option<[u8; 32]>,
    scheme: &'static str,
}

impl CardDav {
    /// Serves the users of `store`, with default settings; `clock` gives the time that changes are
    /// recorded with.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            settings: Settings::default(),
            push: None,
            places: Places::default(),
            guesses: Guesses::default(),
            counts: RequestCounts::default(),
            certificate_hash: None,
            scheme: "https",
        }
    }

    /// The requests that this handle and all of its clones have answered.
    pub fn request_counts(&self) -> RequestCounts {
        self.counts.clone()
    }

    /// The same service with other settings.
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The same service with WebDAV-Push. Who gives this sends the messages.
    pub fn with_push(self, push: Push) -> Self {
        Self {
            push: Some(Arc::new(push)),
            ..self
        }
    }

    /// The same service for one connection, which has proven the client certificate of this SHA-256:
    /// the device that it belongs to may log in there, and nowhere else.
    pub fn with_client_certificate(self, hash: [u8; 32]) -> Self {
        Self {
            certificate_hash: Some(hash),
            ..self
        }
    }

    /// The same service for connections without TLS, as URLs in answers then say.
    pub fn without_tls(self) -> Self {
        Self {
            scheme: "http",
            ..self
        }
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
        self.counts.count(&method, response.status());
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
        let Some(login) = self.login(credentials, now).await? else {
            return Ok(authentication::challenge());
        };
        let Some(resource) = resource else {
            return methods::nothing(&head.method, head.uri.path());
        };
        let Some((login, resource)) = self.visible(login, resource).await? else {
            return Err(Refusal::not_found());
        };
        let place = self.places.take(login.device).await?;
        let request = Request {
            store: push::store(&self.store, &head.headers),
            settings: self.settings,
            push: self.push.clone(),
            origin: authority(&head).map(|authority| format!("{}://{authority}", self.scheme)),
            login,
            now,
            resource,
            host: host(&head),
            headers: head.headers,
            place: place.clone(),
        };
        let response = methods::respond(&head.method, request, body).await?;
        Ok(response.map(|body| body.holding(place)))
    }

    /// Who is asking. A right login is never kept waiting; a wrong one is, before it is told.
    async fn login(
        &self,
        credentials: Credentials,
        now: Timestamp,
    ) -> Result<Option<Login>, Refusal> {
        let user = credentials.user().to_owned();
        let login = match credentials.check_known(&self.store, now) {
            KnownLogin::Right(login) => Some(login),
            KnownLogin::Wrong => None,
            KnownLogin::Unread => {
                let store = self.store.clone();
                blocking::run(move || Ok(credentials.check(&store, now)?)).await?
            }
        };
        // A password alone is nothing where a certificate is asked for, and the reverse.
        let login = login.filter(|it| it.certificate_hash == self.certificate_hash);
        if login.is_none() {
            self.guesses.delay(&user).await?;
        }
        Ok(login)
    }

    /// Keeps a resource from all but its user. The owner of a shared address book is no secret to
    /// those that it is shared with: DAVx5 asks for the name.
    async fn visible(
        &self,
        login: Login,
        resource: Resource,
    ) -> Result<Option<(Login, Resource)>, Refusal> {
        if resource.user().is_none_or(|user| user == login.user_name) {
            return Ok(Some((login, resource)));
        }
        let Resource::Principal { user } = resource else {
            return Ok(None);
        };
        let store = self.store.clone();
        blocking::run(move || {
            let books = store.address_books(login.user)?;
            let shares = books.iter().any(|book| book.owner == user);
            Ok(shares.then_some((login, Resource::Principal { user })))
        })
        .await
    }
}

/// The name and port that the client calls this server by.
fn authority(head: &Parts) -> Option<Authority> {
    let header = || head.headers.get(HOST)?.to_str().ok()?.parse().ok();
    head.uri.authority().cloned().or_else(header)
}

/// The name that the client calls this server by, without a port.
fn host(head: &Parts) -> Option<String> {
    let from_uri = || Some(head.uri.host()?.to_owned());
    let header = || head.headers.get(HOST)?.to_str().ok();
    let from_header = || Some(header()?.parse::<Authority>().ok()?.host().to_owned());
    from_uri().or_else(from_header)
}

impl std::fmt::Debug for CardDav {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CardDav")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
