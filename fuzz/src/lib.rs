//! What holds of every input, for cargo-fuzz to look for one of which it does not.
//!
//! `seeds/TARGET/` has inputs to begin with, and each that a target ever failed on. `cargo xtask test`
//! runs all of them, so that what was found once stays found.

pub mod answers;
pub mod basic;
pub mod caa;
pub mod client_hello;
pub mod content_lines;
pub mod control;
pub mod convert;
pub mod filters;
pub mod headers;
pub mod hostname;
pub mod hrefs;
pub mod http2;
pub mod join_code;
pub mod leg;
pub mod proxy_protocol;
pub mod request_head;
pub mod response_head;
pub mod ssh;
pub mod tls;
pub mod xml_bodies;

#[cfg(test)]
mod tests;
