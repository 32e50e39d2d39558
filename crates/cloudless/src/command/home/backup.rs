use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use serde::Serialize;

use crate::state::HomeState;
use crate::terminal;

/// Copy all contacts, with their history and all users, to a file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home backup contacts-backup.sqlite
  cloudless home backup \"/backup/contacts-$(date +%F).sqlite\"

Home may run meanwhile. Keep home.toml, home.key, ca.pem and ca.key from the state directory too.

To restore it, stop home, remove store.sqlite, store.sqlite-wal and store.sqlite-shm from the state
directory, copy the file there as store.sqlite and start home. Home notices it, so that each device
syncs anew instead of trusting numbers from before.")]
pub(super) struct Backup {
    #[command(flatten)]
    state: HomeState,
    /// Write this new file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct BackedUp {
    file: PathBuf,
    bytes: u64,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        // A running home has a working directory of its own.
        let file = std::path::absolute(&self.file)
            .with_context(|| format!("cannot find {}", self.file.display()))?;
        let command = Command::Backup { path: file.clone() };
        let Reply::BackedUp { bytes } = super::execute(&state, &command)? else {
            bail!("home answered something else than a backup");
        };
        if self.json {
            return terminal::json(&BackedUp { file, bytes });
        }
        terminal::data(format_args!("{} has {bytes} bytes", file.display()))?;
        terminal::note(format_args!(
            "keep home.toml, home.key, ca.pem and ca.key from {} too; how to restore it says:\n  \
             cloudless home backup --help",
            state.display()
        ));
        Ok(())
    }
}
