use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::certificate::export_accounts;

use crate::state::HomeState;
use crate::terminal;

/// Copy the account with its key to a new file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home certificate account export acme-account.json

Only its owner can read the file. It changes only when home gets another account.")]
pub(super) struct Export {
    #[command(flatten)]
    state: HomeState,
    /// Write this new file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let Some(text) = export_accounts(&state)? else {
            bail!(super::NO_ACCOUNT);
        };
        let path = self.file.display();
        let mut options = OpenOptions::new();
        let opened = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file);
        let mut file = match opened {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{path} exists: name a new file")
            }
            opened => opened.with_context(|| format!("cannot make {path}"))?,
        };
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {path}: check the room on the disk"))?;
        terminal::note(format_args!(
            "{path} has the account's key: keep it where you keep passwords, and not on the relay. A \
             home that has lost it gets it back with\n  cloudless home certificate account import FILE"
        ));
        Ok(())
    }
}
