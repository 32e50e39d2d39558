use anyhow::bail;
use clap::Args;
use cloudless_relay::KeyStatus;
use cloudless_relay::admin::{Command, Reply};

use crate::clock;
use crate::config::period::Period;
use crate::state::RelayState;
use crate::terminal::{self, BOLD};

/// Replace the relay's key, with a time in which homes may use both
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay rotate-key
  cloudless relay rotate-key --overlap 7d
  cloudless relay rotate-key --finish

Homes that are online learn the next key at once, the others when they come back; each keeps it on its
disk. `cloudless relay status` shows which know it. Then the key of now goes: with --finish, or by
itself at the end of the overlap, which another --overlap moves. A home that was never online in
between has to join again, and says so. Join codes made before work until the end of the overlap.

If somebody may have the key of now, rotate it and finish as soon as the homes know the next one: who
has a key can pose as this relay, which reads nothing, until that key is gone.")]
pub(super) struct RotateKey {
    #[command(flatten)]
    state: RelayState,
    /// Let the key of now go TIME from now, such as 12h [default: 30d]; while the key is being
    /// rotated this moves the end
    #[arg(long, value_name = "TIME", conflicts_with = "finish")]
    overlap: Option<Period>,
    /// Let the older key go now
    #[arg(long)]
    finish: bool,
    /// Finish although some homes do not know the next key, and lock them out until they join again
    #[arg(long, requires = "finish")]
    force: bool,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

impl RotateKey {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = if self.finish {
            Command::FinishRotation { force: self.force }
        } else {
            Command::RotateKey {
                overlap_s: self.overlap.map(|it| it.0.as_secs()),
            }
        };
        let Reply::Key(status) = super::execute(&state, &command)? else {
            bail!("the relay answered something else than its key");
        };
        if self.json {
            return terminal::json(&status);
        }
        tell(&status, &self.state.flag());
        Ok(())
    }
}

/// Says what was done and what comes next.
fn tell(status: &KeyStatus, flag: &str) {
    let Some(rotation) = &status.rotation else {
        terminal::note(format_args!("the relay's key is {} alone now", status.key));
        return;
    };
    let until = clock::utc(i64::try_from(rotation.until).unwrap_or(i64::MAX));
    terminal::note(format_args!("the next key is    {}", rotation.next));
    terminal::note(format_args!("the key of now is  {}", status.key));
    terminal::note(format_args!(
        "homes may use both until {until}; those that are online learn the next one now\nwhich know it \
         and which do not:\n  {BOLD}cloudless relay status{flag}{BOLD:#}\nto end it sooner:\n  \
         {BOLD}cloudless relay rotate-key --finish{flag}{BOLD:#}"
    ));
}
