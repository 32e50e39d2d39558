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
    let started_with = started_with.clone();
    Source::new(move || {
        let file = RelayFile::read(&state)?;
        let config = super::config(&state, &file, Some(&bound))?;
        let waiting = waiting(&file, &started_with);
        Ok(Reread { config, waiting })
    })
}

/// What a file says otherwise than the one that the relay has started with, and that counts only from
/// the next start on, a sentence each.
fn waiting(file: &RelayFile, started_with: &RelayFile) -> Vec<String> {
    let (listen, listening) = (&file.listen, &started_with.listen);
    let metrics = |file: &RelayFile| file.metrics.map(|address| address.0);
    let settings = [
        ("metrics", metrics(file) == metrics(started_with)),
        ("listen.https", listen.https == listening.https),
        ("listen.http", listen.http == listening.http),
        ("listen.ssh", listen.ssh == listening.ssh),
        ("sandbox", file.sandbox == started_with.sandbox),
    ];
    let changed = settings
        .into_iter()
        .filter(|(_, is_same)| !is_same)
        .map(|(name, _)| format!("`{name}` takes a restart"));
    // The threads for strangers have room for as many as the limits of the start let in.
    let (limits, at_start) = (file.limits.limits(), started_with.limits.limits());
    let limits = [
        (
            "handshakes",
            limits.handshakes,
            at_start.handshakes,
            "tunnels from where no home has come",
        ),
        (
            "visitors",
            limits.visitors,
            at_start.visitors,
            "visitors of web servers beside the relay",
        ),
    ];
    let raised = limits
        .into_iter()
        .filter(|(_, now, at_start, _)| now > at_start)
        .map(|(name, _, at_start, whom)| {
            format!("`limits.{name}` above {at_start} takes a restart for {whom}")
        });
    changed.chain(raised).collect()
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
