use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};

use crate::command::home;
use crate::state::{self, HomeState};
use crate::terminal::{self, BOLD};

/// Create a user with an empty address book
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless user add me

A user logs in from devices, each with its own password: cloudless device add me phone")]
pub(super) struct Add {
    #[command(flatten)]
    state: HomeState,
    /// Name the user so: lower-case letters, digits, dots, dashes and underscores
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

impl Add {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let flag = self.state.flag();
        let state = self.state.directory()?;
        state::create(&state)?;
        let Reply::UserAdded { user } =
            home::execute(&state, &Command::UserAdd { name: self.name })?
        else {
            bail!("home answered something else than a new user");
        };
        if self.json {
            return terminal::json(&serde_json::json!({ "user": user }));
        }
        terminal::note(format_args!(
            "added the user {user}; next, a password for a phone:"
        ));
        terminal::note(format_args!(
            "  {BOLD}cloudless device add {user} phone{flag}{BOLD:#}"
        ));
        Ok(())
    }
}
