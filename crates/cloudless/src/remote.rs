//! A CardDAV server of somebody else, whose address books are copied.
//!
//! It is a stranger: what it sends is bounded, and the password goes to the host that was named and
//! to those that were allowed, over TLS.

mod address;
mod books;
mod client;
mod discovery;
mod password;

pub(crate) use address::Address;
pub(crate) use books::{Card, Listed};
pub(crate) use client::{Client, Login};
pub(crate) use discovery::{Book, Server};
pub(crate) use password::password;
