mod screen;

use std::path::Path;

use anyhow::bail;
use clap::Args;
use cloudless_relay::admin::{Command, Reply};
use serde::Serialize;

use crate::admin_socket;
use crate::state::RelayState;
use crate::terminal;
use crate::watch::{self, Show};

/// Show which homes are online and what was forwarded
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay status
  cloudless relay status --watch
  cloudless relay status --json

Bytes are ciphertext: what visitors and homes say is never in clear on this machine.

--watch shows all of it anew each second until Ctrl-C; where standard output is no terminal, it
prints a line each time something has changed, and with --json a line of JSON each second.")]
pub(super) struct Status {
    #[command(flatten)]
    state: RelayState,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Show it anew each second
    #[arg(long)]
    watch: bool,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        if self.watch {
            return watch::run(self.json, || watched(&state));
        }
        let Reply::Status(status) = super::execute(&state, &Command::Status)? else {
            bail!("the relay answered something else than its status");
        };
        if self.json {
            return terminal::json(&status);
        }
        let is_empty = status.homes.is_empty();
        let shown = Shown::Status(Box::new(status));
        shown.screen(false).iter().try_for_each(terminal::data)?;
        if is_empty {
            terminal::note("no home has joined; invite one with: cloudless relay invite HOST");
        }
        Ok(())
    }
}

/// What is known of a relay.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Status(Box<cloudless_relay::Status>),
    NotRunning { running: bool },
}

/// The status of a relay that runs. One that does not is left alone: a look at its registry would
/// keep it from starting.
fn watched(state: &Path) -> anyhow::Result<Shown> {
    match admin_socket::ask(state, admin_socket::RELAY, &Command::Status)? {
        Some(Reply::Status(status)) => Ok(Shown::Status(Box::new(status))),
        Some(Reply::Error { message }) => bail!(message),
        Some(_) => bail!("the relay answered something else than its status"),
        None => Ok(Shown::NotRunning { running: false }),
    }
}
