use anyhow::bail;
use clap::Args;
use cloudless_proto::Hostname;
use cloudless_relay::admin::{Command, Reply};

use crate::state::RelayState;
use crate::terminal;

/// Take the name HOST from its home, at once
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay revoke contacts.example.org

The tunnel is cut and an open join code for the name ends. The contacts stay at home; to give the
name again: cloudless relay invite HOST")]
pub(super) struct Revoke {
    #[command(flatten)]
    state: RelayState,
    /// Take this name
    #[arg(value_name = "HOST")]
    hostname: Hostname,
}

impl Revoke {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::Revoke {
            hostname: self.hostname,
        };
        let Reply::Revoked {
            hostname,
            session_closed,
        } = super::execute(&state, &command)?
        else {
            bail!("the relay answered something else than a revocation");
        };
        let tunnel = if session_closed {
            ", and its tunnel was cut"
        } else {
            ""
        };
        terminal::note(format_args!(
            "{hostname} belongs to no home any more{tunnel}"
        ));
        Ok(())
    }
}
