//! What holds of every input, for cargo-fuzz to look for one of which it does not.
//!
//! `seeds/TARGET/` has inputs to begin with, and each that a target ever failed on. `cargo xtask test`
//! runs all of them, so that what was found once stays found.

pub mod content_lines;
pub mod convert;
pub mod filters;
pub mod headers;
pub mod hrefs;
pub mod proxy_protocol;
pub mod xml_bodies;

#[cfg(test)]
mod tests;
