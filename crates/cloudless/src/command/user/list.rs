use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};

use crate::clock;
use crate::command::home;
use crate::state::HomeState;
use crate::terminal;

/// List the users
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless user list
  cloudless user list --json")]
pub(super) struct List {
    #[command(flatten)]
    state: HomeState,
    /// Print one JSON array instead of a table
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let Reply::Users { users } = home::execute(&state, &Command::Users)? else {
            bail!("home answered something else than its users");
        };
        if self.json {
            return terminal::json(&users);
        }
        if users.is_empty() {
            terminal::note("there is no user yet; add one with: cloudless user add NAME");
            return Ok(());
        }
        let rows: Vec<_> = users
            .iter()
            .map(|user| [user.name.clone(), clock::utc_ms(user.created_at)])
            .collect();
        Ok(terminal::table(["USER", "ADDED"], &rows)?)
    }
}
