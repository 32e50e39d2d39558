//! The whole product: processes of the binary, and real clients.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and one that cannot run says so"
)]

// The sessions of clients stand with the tests of the service. Here they go over TLS.
#[expect(dead_code, reason = "the tests of the service ask for more")]
#[path = "../../../cloudless-carddav/tests/it/answer.rs"]
mod answer;
#[expect(dead_code, reason = "the tests of the service ask for more")]
#[path = "../../../cloudless-carddav/tests/it/multistatus.rs"]
mod multistatus;
#[path = "../../../cloudless-carddav/tests/it/real_cards.rs"]
mod real_cards;
#[path = "../../../cloudless-carddav/tests/it/sessions/mod.rs"]
mod sessions;
#[path = "../../../cloudless-carddav/tests/it/writers/mod.rs"]
mod writers;

mod acme;
mod activation;
mod administration;
mod binary;
mod cadaver;
mod canary;
mod cards;
mod certificate_files;
mod cheating;
mod client;
mod client_certificates;
mod client_versions;
mod clients;
mod clones;
mod coalescing;
mod configuration;
mod contacts;
mod copies;
mod corpus;
mod debian_package;
mod demo;
mod desktop;
mod disk;
mod documented;
mod exported;
mod faults;
mod fronts;
mod help;
mod history;
mod khard;
mod libdav;
mod line;
mod litmus;
mod logs;
mod memory;
mod metrics;
mod network;
mod notification;
mod open_files;
mod pages;
mod pair;
mod pattern;
mod people;
mod push;
mod races;
mod reload;
mod revocation;
mod role;
mod rotation;
mod sandbox;
mod soak;
mod ssh;
mod ssh_homes;
mod status;
mod units;
mod upstreams;
mod vdirsyncer;

/// How often a test of chance goes round: more in `cargo xtask acceptance`.
fn rounds(few: usize) -> usize {
    if is_acceptance() { few * 10 } else { few }
}

/// Whether this is `cargo xtask acceptance`, where tests may take minutes.
fn is_acceptance() -> bool {
    std::env::var_os("CLOUDLESS_ACCEPTANCE").is_some()
}
