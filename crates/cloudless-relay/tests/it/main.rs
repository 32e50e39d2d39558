//! The relay as its peers see it: real sockets, a small home and a small web server beside it.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its support code too"
)]

mod admin;
mod client_hello;
mod fallback;
mod join;
mod limits;
mod liveness;
mod offline;
mod plain_http;
mod shutdown;
mod support;
mod takeover;
mod visitors;
