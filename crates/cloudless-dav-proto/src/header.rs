//! The request headers that WebDAV and CardDAV add to HTTP, and the entity tags of its own
//! preconditions.
//!
//! Each parser takes the value of a header as text, entity tags as bytes; where a header may come
//! several times it takes all of them in order. What a request without the header means is the caller's to know.

mod accept;
mod conditions;
mod entity_tags;
mod prefer;
mod push_dont_notify;

pub use accept::{Accepted, accepted_vcard};
pub use conditions::{If, IfError, List, State, StateCondition};
pub use entity_tags::{EntityTag, EntityTags};
pub use prefer::{Prefer, Return};
pub use push_dont_notify::PushDontNotify;

use thiserror::Error;

use crate::href::{HrefError, decode_path};

/// How far down a request reaches (RFC 4918 §10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// `0`: the resource alone.
    Zero,
    /// `1`: the resource and its members.
    One,
    /// `infinity`: everything below the resource.
    Infinity,
}

impl Depth {
    /// Reads the value of `Depth`; `None` for any other value.
    pub fn parse(value: &str) -> Option<Self> {
        match value.trim() {
            "0" => Some(Self::Zero),
            "1" => Some(Self::One),
            value if value.eq_ignore_ascii_case("infinity") => Some(Self::Infinity),
            _ => None,
        }
    }
}

/// Reads the value of `Overwrite` (RFC 4918 §10.6): whether COPY and MOVE may replace what is at
/// the destination. `None` for any other value; without the header they may.
pub fn parse_overwrite(value: &str) -> Option<bool> {
    match value.trim() {
        "T" | "t" => Some(true),
        "F" | "f" => Some(false),
        _ => None,
    }
}

/// Where COPY and MOVE put a resource (RFC 4918 §10.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Host and port as they are written, in lower case; `None` for a path. Another server than the
    /// request's own is the 502 of RFC 4918 §9.8.5.
    pub authority: Option<String>,
    /// The decoded segments of the path.
    pub segments: Vec<String>,
    /// Whether the path ends in a slash, as that of a collection should.
    pub is_collection: bool,
}

/// Why a `Destination` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DestinationError {
    /// Neither an absolute path nor an absolute URL, or a path that does not decode.
    #[error("the Destination header has no path that can be used")]
    Path(#[source] HrefError),
    /// A fragment or a query, which name no resource.
    #[error("the Destination header has a query or a fragment; send it without")]
    Query,
}

impl Destination {
    /// Reads the value of `Destination`.
    ///
    /// # Errors
    ///
    /// When it is neither an absolute path nor an absolute URL.
    pub fn parse(value: &str) -> Result<Self, DestinationError> {
        let value = value.trim();
        if value.contains(['?', '#']) {
            return Err(DestinationError::Query);
        }
        let segments = decode_path(value).map_err(DestinationError::Path)?;
        let authority = if value.starts_with('/') {
            None
        } else {
            let rest = value.split_once("://").map(|(_, rest)| rest);
            let authority = rest.and_then(|rest| rest.split('/').next());
            // Whoever is named before the host plays no part.
            let host = authority.and_then(|it| it.rsplit('@').next());
            host.map(str::to_ascii_lowercase)
        };
        Ok(Self {
            authority,
            segments,
            is_collection: value.ends_with('/'),
        })
    }
}

/// Splits a header at a separator outside quoted strings (RFC 9110 §5.6.4).
fn split_list(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |c| {
            if escaped {
                escaped = false;
                return false;
            }
            match c {
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => return c == separator && !quoted,
            }
            false
        })
        .map(str::trim)
}

fn unquote(value: &str) -> &str {
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests;
