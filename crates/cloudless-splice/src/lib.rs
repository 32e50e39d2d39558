//! Moves bytes from one socket to another, on Linux with splice(2) through a pipe: they never enter
//! this process, which halves the CPU time of a relay. Elsewhere, and when no pipe is to be had,
//! they are copied.
//!
//! [`forward`] is one direction of a connection, [`Pipes`] is what all of them share.

mod copy;
mod forward;
mod pipes;
mod socket;

pub use forward::{ForwardError, forward};
pub use pipes::Pipes;
pub use socket::Socket;
