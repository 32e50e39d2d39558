use std::path::Path;

use anyhow::bail;
use clap::Args;
use cloudless_relay::admin::{Command, Reply};
use cloudless_relay::{Reread, Source};

use super::Bound;
use crate::admin_socket;
use crate::config::relay::RelayFile;
use crate::state::RelayState;
use crate::terminal;

/// Put changes of relay.toml and homes.toml in force, with no connection dropped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay reload

A file that cannot be used is refused, and what was in force before stays so. `systemctl reload` and
SIGHUP do the same; `cloudless relay status` shows what came of it.")]
pub(super) struct Reload {
    #[command(flatten)]
    state: RelayState,
}

impl Reload {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let Reply::Reloaded { waiting } = super::execute(&state, &Command::Reload)? else {
            bail!("the relay answered something else than a reload");
        };
        terminal::note("what the files say is in force");
        for sentence in waiting {
            terminal::note(format_args!("except: {sentence}"));
        }
        Ok(())
    }
}

/// How a running relay, which listens at `bound`, reads its files again.
pub(super) fn source(state: &Path, started_with: &RelayFile, bound: Bound) -> Source {
    let state = state.to_owned();
    let sandbox = started_with.sandbox;
    let listen = started_with.listen.clone();
    Source::new(move || {
        let file = RelayFile::read(&state)?;
        let config = super::config(&state, &file, Some(&bound))?;
        let settings = [
            ("listen.https", file.listen.https == listen.https),
            ("listen.http", file.listen.http == listen.http),
            ("listen.ssh", file.listen.ssh == listen.ssh),
            ("sandbox", file.sandbox == sandbox),
        ];
        let waiting = settings
            .into_iter()
            .filter(|(_, is_same)| !is_same)
            .map(|(name, _)| format!("`{name}` takes a restart"));
        Ok(Reread {
            config,
            waiting: waiting.collect(),
        })
    })
}

/// What SIGHUP does: the command of this process to itself, which logs what comes of it.
pub(super) async fn of_itself(state: &Path) {
    let state = state.to_owned();
    let reload = tokio::task::spawn_blocking(move || {
        admin_socket::ask::<_, Reply>(&state, admin_socket::RELAY, &Command::Reload)
    });
    if let Ok(Err(error)) = reload.await {
        tracing::warn!(%error, "SIGHUP was not heeded");
    }
}
