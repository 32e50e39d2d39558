//! `cloudless book`: the address books of a user, and who shares them.

mod change;
mod list;

use clap::{Args, Subcommand};

/// Manage address books: several for one user, or one shared by several users
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless book list
  cloudless book add club --name \"Sailing club\"
  cloudless book share club bob --read-only"
)]
pub(super) struct Book {
    #[command(subcommand)]
    command: BookCommand,
}

#[derive(Debug, Subcommand)]
enum BookCommand {
    List(list::List),
    Add(change::Add),
    Rename(change::Rename),
    Remove(change::Remove),
    Restore(change::Restore),
    Share(change::Share),
    Unshare(change::Unshare),
}

impl Book {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            BookCommand::List(list) => list.run(),
            BookCommand::Add(add) => add.run(),
            BookCommand::Rename(rename) => rename.run(),
            BookCommand::Remove(remove) => remove.run(),
            BookCommand::Restore(restore) => restore.run(),
            BookCommand::Share(share) => share.run(),
            BookCommand::Unshare(unshare) => unshare.run(),
        }
    }
}
