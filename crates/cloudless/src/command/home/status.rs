mod screen;

use std::path::Path;

use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{self, Command, Reply};
use cloudless_home::status::{Reachability, RelayState};
use serde::Serialize;

use crate::admin_socket;
use crate::config::home::HomeFile;
use crate::state::HomeState;
use crate::terminal;
use crate::watch::{self, Show};

/// Show whether phones reach this home, tunnels, certificates, addresses and alarms
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home status
  cloudless home status --watch
  cloudless home status --json
  cloudless home status --check && echo phones get through

Home is called online once it has reached itself through its public names: every few minutes, and
soon after each new tunnel, it connects to every address that they lead to, and waits for that very
connection to come in through the relay. --check does it now and fails (exit status 1) unless all
names work.

--watch shows all of it anew each second until Ctrl-C; where standard output is no terminal, it
prints a line each time something has changed, and with --json a line of JSON each second.")]
pub(super) struct Status {
    #[command(flatten)]
    state: HomeState,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
    /// Show it anew each second
    #[arg(long)]
    watch: bool,
    /// Try now whether phones get through, and fail unless they do
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let flag = self.state.flag();
        if self.watch {
            return watch::run(self.json, || watched(&state, &flag));
        }
        let command = if self.check {
            Command::Check
        } else {
            Command::Status
        };
        let Reply::Status(status) = super::execute(&state, &command)? else {
            bail!("home answered something else than its status");
        };
        let shown = Shown { status, flag };
        if self.json {
            terminal::json(&shown.status)?;
        } else {
            terminal::prose(&shown.screen(false))?;
        }
        if self.check {
            require_online(&shown.status)?;
        }
        Ok(())
    }
}

/// A status, and the argument that leads to its home.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown {
    status: admin::Status,
    #[serde(skip)]
    flag: String,
}

/// The status of a home that runs. One that does not is left alone: a look at its store would keep
/// it from starting.
fn watched(state: &Path, flag: &str) -> anyhow::Result<Shown> {
    let status = match admin_socket::ask(state, admin_socket::HOME, &Command::Status)? {
        Some(Reply::Status(status)) => status,
        Some(Reply::Error { message }) => bail!(message),
        Some(_) => bail!("home answered something else than its status"),
        None => admin::Status {
            hostnames: HomeFile::read_if_there(state)?.map_or_else(Vec::new, |it| it.hostnames),
            ..admin::Status::default()
        },
    };
    Ok(Shown {
        status,
        flag: flag.to_owned(),
    })
}

fn require_online(status: &admin::Status) -> anyhow::Result<()> {
    if !status.running {
        bail!("home is not running; start it with `cloudless home run`");
    }
    if status.public.is_empty() {
        bail!("home does not test its names: remove `enabled = false` below [probe] in home.toml");
    }
    match status
        .public
        .iter()
        .find(|it| it.state != Reachability::Online)
    {
        None => Ok(()),
        Some(row) => {
            let offline = "no relay is connected".to_owned();
            let cause = row.message.clone().unwrap_or(offline);
            bail!("phones do not reach {}: {cause}", row.hostname)
        }
    }
}

/// How all names are together: the worst of them.
fn overall(status: &admin::Status) -> Reachability {
    let is_connected = |it: &cloudless_home::status::RelayStatus| it.state == RelayState::Connected;
    if !status.relays.iter().any(is_connected) {
        return Reachability::Offline;
    }
    let states = || status.public.iter().map(|row| row.state);
    [
        Reachability::Unreachable,
        Reachability::Partly,
        Reachability::Checking,
        Reachability::Untested,
        Reachability::Online,
    ]
    .into_iter()
    .find(|state| states().any(|it| it == *state))
    .unwrap_or(Reachability::Untested)
}
