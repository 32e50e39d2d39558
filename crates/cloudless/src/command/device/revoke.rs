use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};

use crate::command::home;
use crate::state::HomeState;
use crate::terminal;

/// Refuse a device's password from now on
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless device revoke me phone

It is in force at once. What the device has synced stays on it.")]
pub(super) struct Revoke {
    #[command(flatten)]
    state: HomeState,
    /// Revoke a device of USER
    #[arg(value_name = "USER")]
    user: String,
    /// Revoke the device of this name
    #[arg(value_name = "NAME")]
    name: String,
}

impl Revoke {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::DeviceRevoke {
            user: self.user,
            name: self.name,
        };
        let Reply::DeviceRevoked { user, name } = home::execute(&state, &command)? else {
            bail!("home answered something else than a revocation");
        };
        terminal::note(format_args!(
            "revoked {name} of {user}: its password is refused from now on"
        ));
        Ok(())
    }
}
