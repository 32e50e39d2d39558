//! The whole product: processes of the binary, and real clients.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and one that cannot run says so"
)]

mod administration;
mod binary;
mod cards;
mod client;
mod configuration;
mod contacts;
mod corpus;
mod demo;
mod disk;
mod exported;
mod faults;
mod help;
mod history;
mod litmus;
mod logs;
mod network;
mod pair;
mod people;
mod push;
mod role;
mod vdirsyncer;

/// How often a test of chance goes round: more in `cargo xtask acceptance`.
fn rounds(few: usize) -> usize {
    if std::env::var_os("CLOUDLESS_ACCEPTANCE").is_some() {
        few * 10
    } else {
        few
    }
}
