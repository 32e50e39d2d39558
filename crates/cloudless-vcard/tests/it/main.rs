//! The published interface of the crate against real exports and generated ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod convert;
mod corpus;
mod duplicates;
mod hostile;
mod partial;
mod properties;
mod tolerance;
