use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Alarm, Command, Difference, Reply};
use serde::Serialize;

use super::difference;
use crate::command::choice::quoted;
use crate::command::home;
use crate::state::HomeState;
use crate::terminal;

/// Bring back what a device deleted all at once
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home status
  cloudless contacts undo-deletion 3

A device that deletes more than a fifth of an address book within ten minutes is served, and `home
status` shows an alarm with its number. Cards that somebody stored again meanwhile stay as they are.")]
pub(super) struct UndoDeletion {
    #[command(flatten)]
    state: HomeState,
    /// Undo the deletion that `home status` shows with this number
    #[arg(value_name = "ALARM")]
    alarm: i64,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Undone<'a> {
    alarm: &'a Alarm,
    difference: &'a Difference,
}

impl UndoDeletion {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::DeletionUndo { alarm: self.alarm };
        let Reply::DeletionUndone { alarm, difference } = home::execute(&state, &command)? else {
            bail!("home answered something else than what it brought back");
        };
        if self.json {
            return terminal::json(&Undone {
                alarm: &alarm,
                difference: &difference,
            });
        }
        difference::tell(&difference, false)?;
        terminal::note(format_args!(
            "devices sync it. If {device} deletes them again, take its password away with:\n  \
             cloudless device revoke {user} {device}{flag}",
            user = alarm.user,
            device = quoted(&alarm.device),
            flag = self.state.flag(),
        ));
        Ok(())
    }
}
