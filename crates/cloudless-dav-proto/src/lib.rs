//! The XML of WebDAV and CardDAV without any I/O: request bodies become typed queries, answers
//! become bytes.
//!
//! - [`request`] parses the bodies of PROPFIND and REPORT into [`request::Propfind`] and
//!   [`request::Report`]. It pulls events from the body and never builds a tree; every count and
//!   every length is capped.
//! - [`filter`] decides which cards an addressbook-query is about.
//! - [`answer`] reads the `207 Multi-Status` body of another server.
//! - [`multistatus`] writes a `207 Multi-Status` body row by row.
//! - [`error`] writes the `DAV:error` body of a refused request.
//! - [`header`] reads the request headers that WebDAV adds to HTTP.
//! - [`push`] writes what WebDAV-Push adds: properties and messages.
//! - [`basic`] reads who asks, in HTTP's own `Authorization`.
//! - [`href`] turns a card's name into a path segment and a path back into names.
//!
//! Nothing here knows messages of HTTP, the store or vCard.

pub mod answer;
pub mod basic;
pub mod error;
pub mod filter;
pub mod header;
pub mod href;
mod markup;
pub mod multistatus;
mod name;
pub mod push;
pub mod request;

pub use name::{CALENDAR_SERVER, CARDDAV, DAV, Name, PUSH};
