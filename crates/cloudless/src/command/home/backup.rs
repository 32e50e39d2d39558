use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use cloudless_home::certificate::known_accounts;
use serde::Serialize;
use tempfile::{NamedTempFile, TempPath};

use crate::atomic_file::directory_of;
use crate::state::{self, HomeState};
use crate::terminal;

/// Copy all contacts, with their history and all users, to a file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home backup contacts-backup.sqlite
  cloudless home backup \"/backup/contacts-$(date +%F).sqlite\"

Home may run meanwhile. Keep home.toml, home.key, push.key, relay-keys.json, trust.json and the directory
certificates from the state directory too, as far as they are there: without them phones have to trust
a new certificate authority, and devices with a client certificate are locked out. In certificates is
also the account that CAA records name, without which no public certificate is renewed before the
record in the DNS is changed; it fits in a file of its own: cloudless home certificate account export

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

/// What a home needs of its state directory beside the store, as far as it is there.
const BESIDE: [&str; 6] = [
    "home.toml",
    "home.key",
    "push.key",
    "relay-keys.json",
    "trust.json",
    "certificates",
];

#[derive(Serialize)]
struct BackedUp {
    file: PathBuf,
    bytes: u64,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let file = std::path::absolute(&self.file)
            .with_context(|| format!("cannot find {}", self.file.display()))?;
        if fs::exists(&file).unwrap_or(true) {
            bail!("{} exists: name a new file", file.display());
        }
        state::require(&state, super::JOIN_ADVICE)?;
        // A running home can write to its state directory alone, and may be another user.
        let name = format!(".backup-{}.sqlite", std::process::id());
        let copy = TempPath::try_from_path(std::path::absolute(state.join(name))?)?;
        let command = Command::Backup {
            path: copy.to_path_buf(),
        };
        let Reply::BackedUp { bytes } = super::execute(&state, &command)? else {
            bail!("home answered something else than a backup");
        };
        put(&copy, &file).with_context(|| {
            format!(
                "cannot write the backup {}: check its directory and the room on the disk",
                file.display()
            )
        })?;
        if self.json {
            return terminal::json(&BackedUp { file, bytes });
        }
        terminal::data(format_args!("{} has {bytes} bytes", file.display()))?;
        let kept: Vec<_> = BESIDE
            .into_iter()
            .filter(|name| state.join(name).exists())
            .collect();
        terminal::note(format_args!(
            "keep {} from {} too; how to restore it says:\n  cloudless home backup --help",
            kept.join(", "),
            state.display()
        ));
        if known_accounts(&state).is_ok_and(|accounts| !accounts.is_empty()) {
            terminal::note(
                "in certificates is the account that the CAA record in your DNS names: a home without \
                 it gets no public certificate",
            );
        }
        Ok(())
    }
}

/// Brings a copy to where it is wanted, whole or not at all, and never over another file.
fn put(copy: &Path, file: &Path) -> io::Result<()> {
    let directory = directory_of(file);
    if fs::hard_link(copy, file).is_err() {
        // Another file system, most likely.
        let mut new = NamedTempFile::new_in(directory)?;
        io::copy(&mut File::open(copy)?, &mut new)?;
        new.as_file().sync_all()?;
        new.persist_noclobber(file).map_err(|error| error.error)?;
    }
    File::open(directory)?.sync_all()
}
