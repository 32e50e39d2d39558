//! `cloudless home certificate`: the certificates that visitors see.

mod account;
mod renew;
mod show;

use clap::{Args, Subcommand};

/// Look at the certificates that phones see, and renew them
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless home certificate show
  cloudless home certificate renew contacts.example.org
  cloudless home certificate account export acme-account.json

Where a name's certificate comes from is written in home.toml; `cloudless home run --help` tells how."
)]
pub(super) struct Certificate {
    #[command(subcommand)]
    command: CertificateCommand,
}

#[derive(Debug, Subcommand)]
enum CertificateCommand {
    Show(show::Show),
    Renew(renew::Renew),
    Account(account::Account),
}

impl Certificate {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            CertificateCommand::Show(show) => show.run(),
            CertificateCommand::Renew(renew) => renew.run(),
            CertificateCommand::Account(account) => account.run(),
        }
    }
}

fn labeled(label: &str, text: &str) -> String {
    format!("  {label:<22} {text}")
}
