//! `cloudless device`: the passwords that phones and programs log in with.

mod add;
mod list;
mod revoke;

use clap::{Args, Subcommand};

/// Manage the phones and programs that log in, each with its own password
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless device add me phone
  cloudless device list
  cloudless device revoke me phone"
)]
pub(super) struct Device {
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    Add(add::Add),
    List(list::List),
    Revoke(revoke::Revoke),
}

impl Device {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            DeviceCommand::Add(add) => add.run(),
            DeviceCommand::List(list) => list.run(),
            DeviceCommand::Revoke(revoke) => revoke.run(),
        }
    }
}
