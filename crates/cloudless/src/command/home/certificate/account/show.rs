use anyhow::bail;
use clap::Args;
use cloudless_home::certificate::{account_file, known_accounts};

use super::super::labeled;
use crate::state::HomeState;
use crate::terminal::{self, BOLD};

/// Show the account's URI, which CAA records name
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home certificate account show
  cloudless home certificate account show --json

The records with it, as they are to be published, are shown by `cloudless home doctor`.")]
pub(super) struct Show {
    #[command(flatten)]
    state: HomeState,
    /// Print one JSON array instead of text
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let accounts = known_accounts(&state)?;
        if self.json {
            return terminal::json(&accounts);
        }
        if accounts.is_empty() {
            bail!(super::NO_ACCOUNT);
        }
        for account in accounts {
            let directory = terminal::clean(&account.directory);
            terminal::data(format_args!("{BOLD}{directory}{BOLD:#}"))?;
            terminal::data(labeled("account", &terminal::clean(&account.uri)))?;
            let file = account_file(&state).display().to_string();
            terminal::data(labeled("its key is in", &terminal::clean(&file)))?;
        }
        Ok(())
    }
}
