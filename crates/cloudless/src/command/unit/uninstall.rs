use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{Choice, systemctl};
use crate::exit::Usage;
use crate::terminal;
use crate::unit::{self, Found};

/// Stop a service and remove its unit files; keys and contacts stay
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo cloudless service uninstall relay
  cloudless service uninstall home --user

State directories and system users are never removed.")]
pub(super) struct Uninstall {
    #[command(flatten)]
    choice: Choice,
    /// Remove units that were edited too
    #[arg(long)]
    force: bool,
}

impl Uninstall {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.choice.require_rights("uninstall")?;
        let scope = self.choice.scope();
        let found = self.found()?;
        if found.is_empty() {
            terminal::note(format_args!(
                "there are no units of {} in {}: nothing to remove",
                self.choice.role.name(),
                self.choice.directory()?.display()
            ));
            return Ok(());
        }
        let is_live = self.choice.root.is_none() && systemctl::is_running();
        if is_live {
            for (name, _) in &found {
                // One that was never enabled nor started is no failure.
                if let Err(error) = systemctl::run(scope, &["disable", "--now", name]) {
                    terminal::warning(format_args!("{error:#}"));
                }
            }
        }
        for (_, path) in &found {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
            terminal::note(format_args!("removed    {}", path.display()));
        }
        if is_live {
            systemctl::run(scope, &["daemon-reload"])?;
        }
        terminal::note("what it kept in its state directory is still there");
        Ok(())
    }

    /// The units that are there: their names and files.
    fn found(&self) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        let directory = self.choice.directory()?;
        let mut found = Vec::new();
        for (name, _) in self.choice.role.shipped(self.choice.scope()) {
            let path = directory.join(name);
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            };
            if unit::look(&text) == Found::Edited && !self.force {
                return Err(Usage(format!(
                    "{} was written or edited by somebody else, and nothing is removed; --force \
                     removes it too",
                    path.display()
                ))
                .into());
            }
            found.push((*name, path));
        }
        Ok(found)
    }
}
