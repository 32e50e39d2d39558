//! `cloudless`: contacts sync between your own machine and your phone, through a relay that cannot
//! read them.
//!
//! The binary is the only part that reads config files and the environment. It parses the command
//! line, validates everything it was given, binds the ports and hands them to the roles.

mod activation;
mod admin_socket;
mod allocator;
mod atomic_file;
mod clock;
mod command;
mod config;
mod demo;
mod exit;
mod figures;
mod identity;
mod listen;
mod metrics;
mod moment;
mod open_files;
mod parent;
mod patience;
mod progress;
mod push_key;
mod remote;
mod sandbox;
mod signals;
mod state;
mod systemd;
mod telemetry;
mod terminal;
mod unit;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = match command::Cloudless::try_parse() {
        Ok(arguments) => arguments,
        Err(refused) => return exit::refused_arguments(&refused),
    };
    telemetry::init(arguments.is_role());
    exit::report(arguments.run())
}
