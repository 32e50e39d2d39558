//! The relay as its peers see it: real sockets, a small home and a small web server beside it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, its support code too, and says loudly what it lacks"
)]

#[macro_use]
mod support;

mod admin;
mod client_hello;
mod coalescing;
mod congestion;
mod fallback;
mod hello_table;
mod hostile;
mod join;
mod limits;
mod liveness;
mod load_balancer;
mod offline;
mod outcomes;
mod plain_http;
mod reach;
mod reload;
mod rotation;
mod routes;
mod shutdown;
mod ssh;
mod strangers;
mod takeover;
mod visitors;
