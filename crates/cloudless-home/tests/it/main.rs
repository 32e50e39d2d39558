//! A home against a relay that the tests play, and visitors that come through it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod family;

mod admin;
mod alarm;
mod bodies;
mod book;
mod client_certificates;
mod duplicates;
mod fixture;
mod hostile;
mod join;
mod legs;
mod local;
mod offline;
mod passthrough;
mod probe;
mod proxy;
mod refusals;
mod relay;
mod restore;
mod rotation;
mod secrets;
mod slow_path;
mod tunnel;
mod upstream;
mod version;
mod visitor;
mod visitors;
