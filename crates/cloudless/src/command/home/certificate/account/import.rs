use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use cloudless_home::certificate::import_accounts;
use zeroize::Zeroizing;

use crate::state::{self, HomeState};
use crate::terminal;

/// Take the account over from a copy, for a home that has lost it or was set up anew
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home certificate account import acme-account.json
  cloudless home certificate account import acme-account.json --replace

Home uses the account from its next order on; `cloudless home certificate renew` makes one now.")]
pub(super) struct Import {
    #[command(flatten)]
    state: HomeState,
    /// What `cloudless home certificate account export` made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Give up another account that this home has at the same authority
    #[arg(long)]
    replace: bool,
}

impl Import {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let path = self.file.display();
        let copy = fs::read_to_string(&self.file).with_context(|| format!("cannot read {path}"))?;
        let copy = Zeroizing::new(copy);
        state::create(&state)?;
        let accounts = state::as_owner(&state, || {
            import_accounts(&state, &copy, self.replace)
                .with_context(|| format!("cannot import {path}"))
        })?;
        for account in accounts {
            let uri = terminal::clean(&account.uri);
            terminal::note(format_args!("home has the account {uri}"));
        }
        Ok(())
    }
}
