//! `cloudless contacts`: cards in and out as files.

mod export;
mod import;

use clap::{Args, Subcommand};

/// Bring contacts in from files, and take them out again
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless contacts import contacts.vcf --user me
  cloudless contacts export --user me > contacts.vcf"
)]
pub(super) struct Contacts {
    #[command(subcommand)]
    command: ContactsCommand,
}

#[derive(Debug, Subcommand)]
enum ContactsCommand {
    Import(import::Import),
    Export(export::Export),
}

impl Contacts {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            ContactsCommand::Import(import) => import.run(),
            ContactsCommand::Export(export) => export.run(),
        }
    }
}
