use anyhow::bail;
use clap::Args;
use cloudless_relay::SshStatus;
use cloudless_relay::admin::{Command, Reply};

use crate::state::RelayState;
use crate::terminal;

/// Print the lines of known_hosts by which SSH clients know the relay
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay ssh-key
  cloudless relay ssh-key >> ~/.ssh/known_hosts

The key is in ssh_host_ed25519_key in the relay's state. For another one remove that file, start the
relay anew, and give these lines to each home that comes by SSH.")]
pub(super) struct SshKey {
    #[command(flatten)]
    state: RelayState,
}

impl SshKey {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let Reply::Status(status) = super::execute(&state, &Command::Status)? else {
            bail!("the relay answered something else than its status");
        };
        let Some(ssh) = status.ssh else {
            bail!(
                "this relay does not listen for SSH: set `ssh = \"[::]:2222\"` below `[listen]` in \
                 relay.toml, and start it anew"
            );
        };
        terminal::note(format_args!("fingerprint {}", ssh.fingerprint));
        Ok(known_hosts(&ssh).iter().try_for_each(terminal::data)?)
    }
}

/// A line for each host that the relay is reached at.
pub(super) fn known_hosts(ssh: &SshStatus) -> Vec<String> {
    let line = |host: &String| match ssh.port {
        22 => format!("{host} {}", ssh.host_key),
        port => format!("[{host}]:{port} {}", ssh.host_key),
    };
    ssh.hosts.iter().map(line).collect()
}

/// The host that a client dials.
pub(super) fn host(ssh: &SshStatus) -> &str {
    ssh.hosts.first().map_or("RELAY", String::as_str)
}
