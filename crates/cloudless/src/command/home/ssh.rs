use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use cloudless_home::ssh::{HostKey, SshKey, host_key};

use crate::atomic_file;
use crate::config::home::HomeFile;
use crate::config::home_relay::{KNOWN_HOSTS, SshTable};
use crate::config::proxy;
use crate::exit::Usage;
use crate::signals;
use crate::state::{self, HomeState};
use crate::terminal;

/// Set up a plain SSH server as the relay ([[relay]] with transport = "ssh" in home.toml)
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless home ssh key
  cloudless home ssh trust
  cloudless home ssh trust SHA256:..."
)]
pub(super) struct Ssh {
    #[command(subcommand)]
    command: SshCommand,
}

#[derive(Debug, Subcommand)]
enum SshCommand {
    Key(Key),
    Trust(Trust),
}

/// Print the line for authorized_keys on the server, and make home's key if there is none
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home ssh key
  cloudless home ssh key | ssh root@server 'cat >> ~tunnel/.ssh/authorized_keys'

The line lets home's key have the server listen where home.toml says, and do nothing else.")]
struct Key {
    #[command(flatten)]
    state: HomeState,
}

/// Look at the server's key, or vouch for it once it is compared
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home ssh trust
  cloudless home ssh trust SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDYwEZ7m+BxTyBSEXY

Without a fingerprint it shows what the server has. Compare that on the server, with
`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`: who is in between can show another one. With the
fingerprint, a server that has that key is trusted from then on.")]
struct Trust {
    #[command(flatten)]
    state: HomeState,
    /// The fingerprint that the server itself has printed
    #[arg(value_name = "SHA256:...")]
    fingerprint: Option<String>,
}

impl Ssh {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            SshCommand::Key(key) => key.run(),
            SshCommand::Trust(trust) => trust.run(),
        }
    }
}

impl Key {
    fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        for table in tables(&state)? {
            make_key(&table, &state)?;
            let relay = table.relay(&state)?;
            terminal::note(format_args!(
                "put this line into ~{}/.ssh/authorized_keys on {}:",
                relay.user, relay.host
            ));
            terminal::data(relay.authorized_key())?;
        }
        Ok(())
    }
}

impl Trust {
    fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let proxy = proxy::from_environment()?;
        let mut has_vouched = false;
        for table in tables(&state)? {
            make_key(&table, &state)?;
            let relay = table.relay(&state)?;
            let shown = signals::block_on(async {
                let shown = host_key(&relay, proxy.as_ref()).await;
                shown.with_context(|| format!("cannot look at the key of {}", relay.name()))
            })?;
            match &self.fingerprint {
                None => {
                    terminal::data(format_args!("{} {}", relay.name(), shown.fingerprint))?;
                    terminal::note(format_args!(
                        "compare it on {}: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\nthen run: \
                         cloudless home ssh trust {}{}",
                        relay.host,
                        shown.fingerprint,
                        self.state.flag()
                    ));
                }
                Some(fingerprint) if *fingerprint == shown.fingerprint => {
                    state::as_owner(&state, || vouch(&state, &shown))?;
                    terminal::note(format_args!("{} is trusted by this key", relay.name()));
                    has_vouched = true;
                }
                Some(_) => terminal::warning(format_args!(
                    "{} has shown another key, {}",
                    relay.name(),
                    shown.fingerprint
                )),
            }
        }
        if self.fingerprint.is_some() && !has_vouched {
            bail!("no SSH server in home.toml has shown that key, so nothing was changed");
        }
        Ok(())
    }
}

/// The SSH servers in `home.toml`.
fn tables(state: &Path) -> anyhow::Result<Vec<SshTable>> {
    let file = HomeFile::read(state)?;
    if file.relay.ssh.is_empty() {
        return Err(Usage(
            "home.toml has no [[relay]] with transport = \"ssh\"; `cloudless home run --help` shows one"
                .to_owned(),
        )
        .into());
    }
    Ok(file.relay.ssh)
}

/// Makes home's key unless the owner has another one.
fn make_key(table: &SshTable, state: &Path) -> anyhow::Result<()> {
    if table.key_file.is_some() {
        return Ok(());
    }
    state::create(state)?;
    let path = table.key_path(state);
    if !path.exists() {
        let text = SshKey::generate("cloudless home").context("cannot make a key")?;
        state::as_owner(state, || atomic_file::create(&path, text.as_bytes()))?;
    }
    Ok(())
}

/// Adds the key to those that are trusted.
fn vouch(state: &Path, shown: &HostKey) -> anyhow::Result<()> {
    let path = state.join(KNOWN_HOSTS);
    let known = match std::fs::read_to_string(&path) {
        Ok(known) => known,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    if known.contains(&shown.line) {
        return Ok(());
    }
    let newline = if known.is_empty() || known.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    atomic_file::replace(&path, format!("{known}{newline}{}", shown.line).as_bytes())
}
