//! A plain sshd as the relay: home asks it to listen (RFC 4254 section 7), and each connection there
//! becomes a channel with a visitor's bytes. When to dial, what a silent session means and who
//! serves a visitor is the tunnel's matter, as for a relay of cloudless.

mod client;
mod closings;
mod cut;
mod forward;
mod handshake;
mod holders;
mod host_key;
mod inbox;
mod key;
mod known_hosts;
mod server;
mod session;
mod stream;
mod visit;

pub use forward::{Forward, ForwardParseError};
pub use handshake::HandshakeError;
pub use host_key::{HostKey, host_key};
pub use key::{SshKey, SshKeyError};
pub use known_hosts::Place;
pub use server::SshRelay;
pub use session::SshError;
pub(crate) use session::{Server, run};
pub(crate) use stream::Stream;
