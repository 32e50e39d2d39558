//! `cloudless user`: whose contacts home keeps.

mod add;
mod list;

use clap::{Args, Subcommand};

/// Manage the people whose contacts this home keeps
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless user add me
  cloudless user list"
)]
pub(super) struct User {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    Add(add::Add),
    List(list::List),
}

impl User {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            UserCommand::Add(add) => add.run(),
            UserCommand::List(list) => list.run(),
        }
    }
}
