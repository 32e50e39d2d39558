//! Moves bytes from one socket to another, on Linux with splice(2) through a pipe: they never enter
//! this process, which halves the CPU time of a relay. Elsewhere, and when no pipe is to be had,
//! they are copied.
//!
//! [`forward`] is one direction of a connection, [`Pipes`] is what all of them share. Where bytes have
//! to be read after all, [`Chunk`] and [`write`] do it.

mod chunk;
mod copy;
mod forward;
mod pace;
mod pipes;
mod socket;

pub use chunk::Chunk;
pub use forward::{ForwardError, forward, forward_to_fin};
pub use pace::Pace;
pub use pipes::Pipes;
pub use socket::{Socket, finish, read_into, write, write_vectored};
