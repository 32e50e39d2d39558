//! Heads of messages and trailers as lists of fields (RFC 9113 section 8.3).

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};

use crate::error::Error;
use crate::frame::MAX_FRAME_SIZE_MIN;
use crate::hpack;

/// What a field takes beside its name and value (section 10.5.1).
const FIELD_OVERHEAD: usize = 32;

/// A list of fields as it is decoded.
#[derive(Debug)]
pub(crate) struct Fields {
    room: usize,
    is_malformed: bool,
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    status: Option<StatusCode>,
    map: HeaderMap,
}

impl Fields {
    /// Of at most this length.
    pub(crate) fn new(len_max: usize) -> Self {
        Self {
            room: len_max,
            is_malformed: false,
            method: None,
            scheme: None,
            authority: None,
            path: None,
            status: None,
            map: HeaderMap::new(),
        }
    }

    /// Adds a field, if there is room for it; of a malformed list it is only counted.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) -> bool {
        let len = name.len() + value.len() + FIELD_OVERHEAD;
        let Some(room) = self.room.checked_sub(len) else {
            return false;
        };
        self.room = room;
        if !self.is_malformed {
            let added = match name.strip_prefix(b":") {
                Some(name) => self.pseudo(name, value),
                None => self.field(name, value),
            };
            self.is_malformed = added.is_none();
        }
        true
    }

    /// Those stand before all others, once.
    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        fn once<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
            let value = value?;
            place.replace(value).is_none().then_some(())
        }
        if !self.map.is_empty() {
            return None;
        }
        match name {
            b"method" => once(&mut self.method, Method::from_bytes(value).ok()),
            b"scheme" => once(&mut self.scheme, Scheme::try_from(value).ok()),
            b"authority" => once(&mut self.authority, Authority::try_from(value).ok()),
            b"path" => once(&mut self.path, PathAndQuery::try_from(value).ok()),
            b"status" => once(&mut self.status, StatusCode::from_bytes(value).ok()),
            _ => None,
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let name = HeaderName::from_lowercase(name).ok()?;
        let value = HeaderValue::from_bytes(value).ok()?;
        self.map.try_append(name, value).ok().map(drop)
    }

    /// The head of a request; `None` when it is malformed.
    pub(crate) fn request(self) -> Option<Request<()>> {
        let method = self
            .method
            .filter(|_| !self.is_malformed && self.status.is_none())?;
        let is_whole = if method == Method::CONNECT {
            self.authority.is_some() && self.scheme.is_none() && self.path.is_none()
        } else {
            self.scheme.is_some() && self.path.is_some()
        };
        if !is_whole {
            return None;
        }
        let mut parts = http::uri::Parts::default();
        // A URI has both or neither.
        if self.authority.is_some() {
            parts.scheme = self.scheme;
        }
        parts.authority = self.authority;
        parts.path_and_query = self.path;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.map;
        Some(request)
    }

    /// The head of a response; `None` when it is malformed.
    pub(crate) fn response(self) -> Option<Response<()>> {
        let is_response = !self.is_malformed && self.method.is_none() && self.path.is_none();
        let status = self.status.filter(|_| is_response)?;
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = self.map;
        Some(response)
    }

    /// Trailers; `None` when they are malformed.
    pub(crate) fn trailers(self) -> Option<HeaderMap> {
        let has_pseudo = self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.status.is_some();
        (!self.is_malformed && !has_pseudo).then_some(self.map)
    }
}

/// The header block of a request.
pub(crate) fn request(request: &Request<()>) -> Result<Bytes, Error> {
    let uri = request.uri();
    let is_connect = request.method() == Method::CONNECT;
    let authority = uri.authority().map(Authority::as_str);
    if is_connect && authority.is_none() {
        return Err(Error::Head);
    }
    let mut pseudo = vec![(":method", request.method().as_str())];
    if !is_connect {
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        pseudo.push((":scheme", uri.scheme_str().unwrap_or("https")));
        pseudo.push((":path", path));
    }
    pseudo.extend(authority.map(|authority| (":authority", authority)));
    block(&pseudo, request.headers())
}

/// The header block of a response.
pub(crate) fn response(response: &Response<()>) -> Result<Bytes, Error> {
    block(
        &[(":status", response.status().as_str())],
        response.headers(),
    )
}

/// The header block of trailers.
pub(crate) fn trailers(trailers: &HeaderMap) -> Result<Bytes, Error> {
    block(&[], trailers)
}

/// A header block that fits into one frame for every peer.
fn block(pseudo: &[(&str, &str)], map: &HeaderMap) -> Result<Bytes, Error> {
    let pseudo = pseudo
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let map = map
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let mut block = Vec::new();
    hpack::encode(pseudo.chain(map), &mut block);
    // Room for the table size update that may stand before it.
    if block.len() >= MAX_FRAME_SIZE_MIN as usize {
        return Err(Error::Head);
    }
    Ok(block.into())
}
