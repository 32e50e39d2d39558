use anyhow::bail;
use clap::Args;
use cloudless_relay::admin::{Command, Reply};

use crate::clock;
use crate::state::RelayState;
use crate::terminal;

/// List the names that homes have joined with
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

impl Homes {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let Reply::Homes { homes } = super::execute(&state, &Command::Homes)? else {
            bail!("the relay answered something else than its homes");
        };
        if self.json {
            return terminal::json(&homes);
        }
        if homes.is_empty() {
            terminal::note("no home has joined; invite one with: cloudless relay invite HOST");
            return Ok(());
        }
        let rows: Vec<_> = homes
            .iter()
            .map(|home| {
                let joined_at = i64::try_from(home.joined_at).unwrap_or(i64::MAX);
                [
                    home.hostname.to_string(),
                    clock::utc(joined_at),
                    home.key.to_string(),
                ]
            })
            .collect();
        Ok(terminal::table(["NAME", "JOINED", "KEY"], &rows)?)
    }
}
