use anyhow::bail;
use clap::Args;
use cloudless_proto::Hostname;
use cloudless_relay::HomeKey;
use cloudless_relay::admin::{Command, Reply};
use serde::Serialize;

use super::ssh_key::{self, known_hosts};
use crate::state::RelayState;
use crate::terminal::{self, BOLD};

/// Give the name HOST to whoever has this SSH key, and no cloudless at home
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay allow-ssh contacts.example.org ssh-ed25519 AAAAC3Nza... laptop
  cloudless relay allow-ssh contacts.example.org --replace \"$(cat id_ed25519.pub)\"

KEY is the line in the .pub file at home, Ed25519 or ECDSA. `listen.ssh` in relay.toml turns SSH on.
Only the command for the machine at home goes to standard output. `cloudless relay revoke` takes the
name back, at once.")]
pub(super) struct AllowSsh {
    #[command(flatten)]
    state: RelayState,
    /// Bind this name
    #[arg(value_name = "HOST")]
    hostname: Hostname,
    /// To the home with this public key
    #[arg(value_name = "KEY", required = true)]
    key: Vec<String>,
    /// Take the name from the home that has it now
    #[arg(long)]
    replace: bool,
    /// Print one line of JSON with the name, the key and what to use at home
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    hostname: Hostname,
    key: HomeKey,
    known_hosts: Vec<String>,
    ssh: String,
    autossh: String,
}

impl AllowSsh {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let command = Command::AllowSsh {
            hostname: self.hostname,
            key: self.key.join(" "),
            replace: self.replace,
        };
        let Reply::SshAllowed {
            hostname,
            key,
            relay,
            covered_by,
        } = super::execute(&state, &command)?
        else {
            bail!("the relay answered something else than a binding");
        };
        let arguments = arguments(&hostname, &relay);
        let output = Output {
            known_hosts: known_hosts(&relay),
            ssh: format!("ssh {arguments}"),
            autossh: format!("AUTOSSH_GATETIME=0 AUTOSSH_POLL=5 autossh -M 0 {arguments}"),
            hostname,
            key,
        };
        terminal::note(format_args!(
            "{} belongs to the SSH key {}",
            output.hostname, output.key
        ));
        terminal::note("on the machine at home add to ~/.ssh/known_hosts:");
        for line in &output.known_hosts {
            terminal::note(format_args!("  {line}"));
        }
        terminal::note("and run, or the same with `ssh` instead of what comes before -N:");
        terminal::note(format_args!("  {BOLD}{}{BOLD:#}", output.autossh));
        if let Some(address) = covered_by {
            let advice = super::coalescing_advice(&address, &output.hostname);
            terminal::warning(format_args!("{advice}"));
        }
        if self.json {
            return terminal::json(&output);
        }
        Ok(terminal::data(&output.ssh)?)
    }
}

/// What `ssh` has to be told. Its defaults wait for minutes on a connection that is dead.
fn arguments(hostname: &Hostname, relay: &cloudless_relay::SshStatus) -> String {
    let options = [
        "ConnectTimeout=5",
        "ServerAliveInterval=2",
        "ServerAliveCountMax=2",
        "ExitOnForwardFailure=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
    ];
    let options: Vec<_> = options
        .iter()
        .map(|option| format!("-o {option}"))
        .collect();
    format!(
        "-N {} -i ~/.ssh/id_ed25519 -p {} -R {hostname}:443:localhost:443 -R \
         {hostname}:80:localhost:80 relay@{}",
        options.join(" "),
        relay.port,
        ssh_key::host(relay),
    )
}
