//! The TLS 1.3 of a tunnel: many records with each read and each write of the socket.
//!
//! rustls makes the handshake and derives every key; AWS-LC, or ring where that is faster, has the
//! ciphers. What is here is what stands between those and a socket: which bytes are a record, when
//! one is full, when records leave, and what follows from the few messages that are no data (RFC
//! 8446 sections 4.6.3, 5 and 6).
//!
//! [`accept`] and [`connect`] make a [`Stream`], for which the configuration has to allow
//! `enable_secret_extraction`.

mod cipher;
mod handshake;
mod inbound;
mod keys;
mod outbound;
mod record;
mod state;
mod stream;
mod suites;

pub use handshake::{Peer, accept, connect};
pub use stream::Stream;
pub use suites::provider;

#[cfg(test)]
mod tests;
