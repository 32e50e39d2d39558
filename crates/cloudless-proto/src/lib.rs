//! The sans-IO cores of relay and tunnel.
//!
//! Nothing here opens a socket, reads a clock or draws a random number: bytes, time and randomness
//! are arguments. Both roles build on it, so that relay and home can never disagree about a rule.
//!
//! - [`Hostname`] and [`PublicKey`]: the two names everything is routed and trusted by.
//! - [`PinnedKeys`]: by which keys a home trusts a relay that rotates its own.
//! - [`caa`] and [`dns`]: who may get a certificate for a name, by its CAA records.
//! - [`client_hello`]: reads the server name out of the first bytes of a TLS connection.
//! - [`request_head`]: reads the host out of the first bytes of an HTTP/1 connection.
//! - [`join_code`]: the one line that lets a home join a relay.
//! - [`leg`]: how a visitor's bytes leave the tunnel for a connection of their own.
//! - [`lines`] and [`control`]: the messages on the control stream of a tunnel session.
//! - [`proxy_protocol`]: what a load balancer says of its client, and what servers are told.
//! - [`Redacted`]: secrets that are never shown, and wiped.
//! - [`redial`]: when a home dials, which of its sessions counts, and when that one is in doubt.
//! - [`response_head`]: reads what a proxy answers, or whoever is in a relay's place.
//! - [`rfc3339`]: moments in JSON.
//! - [`RoundTrip`] and [`exposition`]: what both roles measure, and how they tell it.
//! - [`ssh`]: whose keys a relay knows that listens for SSH, and what it forwards.
//! - [`takeover`]: which of two sessions with the same key stays.
//! - [`Told`]: when the log hears that a server is up or down.
//! - [`trust`]: how well a name is protected, and against whom.
//! - [`UpstreamAddress`]: where a server is that connections are passed to.

pub mod caa;
pub mod client_hello;
pub mod control;
pub mod dns;
pub mod exposition;
mod hex;
mod hostname;
pub mod join_code;
pub mod leg;
pub mod lines;
mod pinned_keys;
pub mod proxy_protocol;
mod public_key;
mod redacted;
pub mod redial;
pub mod request_head;
pub mod response_head;
pub mod rfc3339;
mod round_trip;
pub mod ssh;
pub mod takeover;
mod told;
pub mod trust;
mod upstream;

pub use hostname::{Hostname, InvalidHostname};
pub use pinned_keys::{InvalidPinnedKeys, PinnedKeys};
pub use public_key::{InvalidPublicKey, PublicKey};
pub use redacted::{Redacted, serialize_exposed};
pub use round_trip::RoundTrip;
pub use told::Told;
pub use upstream::{InvalidUpstreamAddress, UpstreamAddress};
