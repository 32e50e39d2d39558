//! `cloudless home certificate account`: the account that CAA records name.

mod export;
mod import;
mod show;

use clap::{Args, Subcommand};

/// What to say where there is none.
const NO_ACCOUNT: &str = "home has no account at a certificate authority yet; it makes one once a name has \
    certificate = \"acme\" in home.toml, and home runs";

/// The account at the certificate authority: show it, keep a copy of it, bring it back
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless home certificate account show
  cloudless home certificate account export acme-account.json
  cloudless home certificate account import acme-account.json

The CAA record of a name lets this account get certificates for it, and no other. So whoever loses
its key gets no certificate any more, not even for a new home, until the record in the DNS names
another account; and whoever else has it, and answers for the name as a relay does, gets one too.
Keep a copy where you keep passwords, and not on the relay. Home does not have to run."
)]
pub(super) struct Account {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    Show(show::Show),
    Export(export::Export),
    Import(import::Import),
}

impl Account {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            AccountCommand::Show(show) => show.run(),
            AccountCommand::Export(export) => export.run(),
            AccountCommand::Import(import) => import.run(),
        }
    }
}
