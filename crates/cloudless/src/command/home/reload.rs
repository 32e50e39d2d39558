use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use cloudless_home::{Reread, Source};

use crate::admin_socket;
use crate::config::home::{FILE, HomeFile};
use crate::state::HomeState;
use crate::terminal;

/// What a running home takes over; all else waits for a restart.
const RELOADED: &str = "upstream";

/// Put changes of [[upstream]] in home.toml in force, with no connection dropped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home reload

A file that cannot be used is refused, and what was in force before stays so. All settings but
[[upstream]] take a restart, and are named. `systemctl reload` and SIGHUP do the same; `cloudless home
status` shows what came of it.")]
pub(super) struct Reload {
    #[command(flatten)]
    state: HomeState,
}

impl Reload {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let Reply::Reloaded { waiting } = super::execute(&state, &Command::Reload)? else {
            bail!("home answered something else than a reload");
        };
        terminal::note("what home.toml says is in force");
        for sentence in waiting {
            terminal::note(format_args!("except: {sentence}"));
        }
        Ok(())
    }
}

/// All settings in home.toml.
pub(super) fn settings(state: &Path) -> anyhow::Result<toml::Table> {
    let path = state.join(FILE);
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let settings = text.parse();
    settings.with_context(|| format!("{} is no TOML", path.display()))
}

/// How a running home reads its file again.
pub(super) fn source(state: &Path, started_with: toml::Table) -> Source {
    let state = state.to_owned();
    Source::new(move || {
        let file = HomeFile::read(&state)?;
        let upstreams = super::upstreams(&state, &file)?;
        let now = settings(&state)?;
        let names: std::collections::BTreeSet<_> = started_with.keys().chain(now.keys()).collect();
        let waiting = names
            .into_iter()
            .filter(|name| *name != RELOADED && started_with.get(*name) != now.get(*name))
            .map(|name| format!("`{name}` takes a restart"));
        Ok(Reread {
            upstreams,
            waiting: waiting.collect(),
        })
    })
}

/// What SIGHUP does: the command of this process to itself, which logs what comes of it.
pub(super) async fn of_itself(state: &Path) {
    let state = state.to_owned();
    let reload = tokio::task::spawn_blocking(move || {
        admin_socket::ask::<_, Reply>(&state, admin_socket::HOME, &Command::Reload)
    });
    if let Ok(Err(error)) = reload.await {
        tracing::warn!(%error, "SIGHUP was not heeded");
    }
}
