use std::path::Path;

use anyhow::bail;
use clap::Args;
use cloudless_proto::Hostname;
use cloudless_relay::admin::{Command, Reply};
use cloudless_relay::{HomeKey, HomeRow};
use serde::Serialize;

use super::presence;
use crate::clock;
use crate::state::RelayState;
use crate::terminal;

/// List the names that homes have joined with, and which are online
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay homes
  cloudless relay homes --json")]
pub(super) struct Homes {
    #[command(flatten)]
    state: RelayState,
    /// Print one JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// A home as this listing shows it.
#[derive(Serialize)]
struct Row {
    hostname: Hostname,
    key: HomeKey,
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    joined_at: u64,
    online: bool,
    #[serde(skip)]
    presence: &'static str,
}

impl Homes {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let rows = rows(&state)?;
        if self.json {
            return terminal::json(&rows);
        }
        if rows.is_empty() {
            terminal::note("no home has joined; invite one with: cloudless relay invite HOST");
            return Ok(());
        }
        let cells = |row: &Row| {
            let joined_at = i64::try_from(row.joined_at).unwrap_or(i64::MAX);
            [
                row.hostname.to_string(),
                row.presence.to_owned(),
                clock::utc(joined_at),
                row.key.to_string(),
            ]
        };
        let rows: Vec<_> = rows.iter().map(cells).collect();
        Ok(terminal::table(["NAME", "STATE", "JOINED", "KEY"], &rows)?)
    }
}

/// The homes, with what the relay says about each at this moment.
fn rows(state: &Path) -> anyhow::Result<Vec<Row>> {
    let Reply::Homes { homes } = super::execute(state, &Command::Homes)? else {
        bail!("the relay answered something else than its homes");
    };
    let Reply::Status(status) = super::execute(state, &Command::Status)? else {
        bail!("the relay answered something else than its status");
    };
    let row = |home: HomeRow| {
        let now = status.homes.iter().find(|it| it.hostname == home.hostname);
        Row {
            online: now.is_some_and(|now| now.online),
            presence: now.map_or("offline", presence),
            hostname: home.hostname,
            key: home.key,
            joined_at: home.joined_at,
        }
    };
    Ok(homes.into_iter().map(row).collect())
}
