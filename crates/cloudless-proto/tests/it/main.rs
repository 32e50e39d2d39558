//! Tests of the public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client_hello;
mod corpus;
mod differential;
mod leg;
mod linear;
mod pieces;
mod proxy_protocol;
mod request_head;
mod sni_proxies;
mod takeover;
mod trust;
