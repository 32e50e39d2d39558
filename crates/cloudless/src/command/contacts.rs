//! `cloudless contacts`: cards in and out as files, their history, and the way back.

mod difference;
mod duplicates;
mod export;
mod file_names;
mod history;
mod import;
mod merge;
mod prune;
mod restore;
mod search;
mod show;
mod undo_deletion;

use clap::{Args, Subcommand};

/// Bring contacts in and out as files, find them, see what happened to them, and bring them back
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless contacts import contacts.vcf
  cloudless contacts export > contacts.vcf
  cloudless contacts search ann
  cloudless contacts duplicates
  cloudless contacts history
  cloudless contacts restore --at \"2026-11-20 18:00\" --dry-run"
)]
pub(super) struct Contacts {
    #[command(subcommand)]
    command: ContactsCommand,
}

#[derive(Debug, Subcommand)]
enum ContactsCommand {
    Import(import::Import),
    Export(export::Export),
    History(history::History),
    Show(show::Show),
    Restore(restore::Restore),
    Search(search::Search),
    Duplicates(duplicates::Duplicates),
    Merge(merge::Merge),
    Prune(prune::Prune),
    UndoDeletion(undo_deletion::UndoDeletion),
}

impl Contacts {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            ContactsCommand::Import(import) => import.run(),
            ContactsCommand::Export(export) => export.run(),
            ContactsCommand::History(history) => history.run(),
            ContactsCommand::Show(show) => show.run(),
            ContactsCommand::Restore(restore) => restore.run(),
            ContactsCommand::Search(search) => search.run(),
            ContactsCommand::Duplicates(duplicates) => duplicates.run(),
            ContactsCommand::Merge(merge) => merge.run(),
            ContactsCommand::Prune(prune) => prune.run(),
            ContactsCommand::UndoDeletion(undo) => undo.run(),
        }
    }
}
