//! What holds for any input and any output.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod error;
mod hostile;
mod href;
mod multistatus;
mod xml;
