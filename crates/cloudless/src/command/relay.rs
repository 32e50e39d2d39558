//! `cloudless relay`: the machine with a public address.

mod allow_ssh;
mod doctor;
mod homes;
mod init;
mod invite;
mod reload;
mod revoke;
mod rotate_key;
mod run;
mod ssh_key;
mod status;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use cloudless_proto::{Hostname, UpstreamAddress};
use cloudless_relay::admin::{self, Command, Reply};
use cloudless_relay::{
    Config, Coverage, HomeStatus, HostKey, KEY_FILE, Registry, RegistryError, Ssh,
};

use crate::admin_socket;
use crate::config::address::{Address, HTTPS_PORT};
use crate::config::relay::RelayFile;
use crate::exit::Usage;
use crate::identity;
use crate::signals;
use crate::state;

const INIT_ADVICE: &str = "make one with `cloudless relay init`";

/// Run the relay: the server with a public address, which forwards and cannot read
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless relay init --address relay.example.org
  cloudless relay invite contacts.example.org
  cloudless relay run"
)]
pub(super) struct Relay {
    #[command(subcommand)]
    command: RelayCommand,
}

#[derive(Debug, Subcommand)]
enum RelayCommand {
    Init(init::Init),
    Invite(invite::Invite),
    AllowSsh(allow_ssh::AllowSsh),
    Run(run::Run),
    Homes(homes::Homes),
    Status(status::Status),
    Reload(reload::Reload),
    Revoke(revoke::Revoke),
    RotateKey(rotate_key::RotateKey),
    SshKey(ssh_key::SshKey),
    Doctor(doctor::Doctor),
}

impl Relay {
    pub(super) fn is_role(&self) -> bool {
        matches!(self.command, RelayCommand::Run(_))
    }

    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            RelayCommand::Init(init) => init.run(),
            RelayCommand::Invite(invite) => invite.run(),
            RelayCommand::AllowSsh(allow_ssh) => allow_ssh.run(),
            RelayCommand::Run(run) => run.run(),
            RelayCommand::Homes(homes) => homes.run(),
            RelayCommand::Status(status) => status.run(),
            RelayCommand::Reload(reload) => reload.run(),
            RelayCommand::Revoke(revoke) => revoke.run(),
            RelayCommand::RotateKey(rotate_key) => rotate_key.run(),
            RelayCommand::SshKey(ssh_key) => ssh_key.run(),
            RelayCommand::Doctor(doctor) => doctor.run(),
        }
    }
}

/// What to do about a web server that browsers may take for a home.
fn coalescing_advice(address: &UpstreamAddress, hostname: &Hostname) -> String {
    format!(
        "the certificate of the server at {address} covers {hostname}: a browser that has visited \
         it may ask it for that name over the same HTTP/2 connection; give the server a certificate \
         with its own names and no wildcard, or no HTTP/2, or let it answer 421 for {hostname}"
    )
}

/// Whether visitors reach a home under one of its names, in a word or two.
fn presence(home: &HomeStatus) -> &'static str {
    match (home.since, &home.probe) {
        (Some(_), Some(probe)) if home.online && probe.error.is_some() => "partly",
        (Some(_), _) if home.online => "online",
        (Some(_), Some(_)) => "no answer",
        (Some(_), None) => "checking",
        (None, _) => "offline",
    }
}

/// Lets the running relay execute a command, or executes it on the state when none is running.
fn execute(state: &Path, command: &Command) -> anyhow::Result<Reply> {
    state::require(state, INIT_ADVICE)?;
    let reply = admin_socket::ask_or_do(state, admin_socket::RELAY, command, || {
        let file = RelayFile::read(state)?;
        let config = config(state, &file, None)?;
        if matches!(command, Command::Invite { .. }) && has_open_port(&file) {
            let message =
                "the relay's port is 0 in relay.toml, chosen when it starts; start it first";
            return Err(Usage(message.to_owned()).into());
        }
        let registry = match Registry::open(state) {
            Err(RegistryError::InUse { .. }) => return Ok(None),
            opened => opened.context("cannot open the relay's registry")?,
        };
        let mut reply = admin::execute_offline(&config, &registry, command.clone());
        // A relay that starts meanwhile need not wait for web servers.
        drop(registry);
        look(&config, &mut reply);
        Ok(Some(reply))
    })?;
    match reply {
        Reply::Error { message } => bail!(message),
        reply => Ok(reply),
    }
}

/// Looks at the certificates of web servers for a name that has just been given away, as a running
/// relay does. The name is given away in any case.
fn look(config: &Config, reply: &mut Reply) {
    let (Reply::Invited {
        hostname,
        covered_by,
        ..
    }
    | Reply::SshAllowed {
        hostname,
        covered_by,
        ..
    }) = reply
    else {
        return;
    };
    let coverage = signals::block_on(async {
        let coverage = cloudless_relay::coverage(config, hostname).await;
        Ok(coverage?)
    });
    let is_known = match coverage {
        Ok(Coverage::By(address)) => {
            *covered_by = Some(address);
            true
        }
        Ok(Coverage::No) => true,
        Ok(Coverage::Unknown) | Err(_) => false,
    };
    if let Reply::Invited { not_looked, .. } = reply {
        *not_looked = !is_known;
    }
}

/// The addresses that the relay listens on in fact.
#[derive(Clone, Debug)]
struct Bound {
    https: Vec<SocketAddr>,
    ssh: Vec<SocketAddr>,
}

/// The relay's config, with its keys and with what it is bound to.
fn config(state: &Path, file: &RelayFile, bound: Option<&Bound>) -> anyhow::Result<Config> {
    let identity = identity::read(&state.join(KEY_FILE), INIT_ADVICE)?;
    let listening = bound.map_or(&file.listen.https.0, |bound| &bound.https);
    let port = listening.first().map_or(HTTPS_PORT, SocketAddr::port);
    let addresses = file
        .addresses
        .iter()
        .map(|address| reachable(address, port).to_string());
    let mut config = Config::new(file.server_name.clone(), identity, addresses.collect());
    config.legs = file.legs;
    config.hold = file.hold.0;
    let load_balancers = &file.listen.proxy_protocol_from;
    config.load_balancers = load_balancers.iter().map(|network| network.0).collect();
    config.fallback = file.fallback.servers();
    config.routes = file.routes.routes();
    config.limits = file.limits.limits();
    let by_ssh = bound.map_or(&file.listen.ssh.0, |bound| &bound.ssh);
    if let Some(address) = by_ssh.first() {
        config.ssh = Some(Ssh {
            host_key: HostKey::open(state).context("there is no SSH host key")?,
            port: address.port(),
        });
    }
    Ok(config)
}

/// Whether only a running relay knows where it is reached.
fn has_open_port(file: &RelayFile) -> bool {
    let listens_anywhere = file.listen.https.0.first().is_some_and(|it| it.port() == 0);
    listens_anywhere && file.addresses.iter().any(|it| it.port.unwrap_or(0) == 0)
}

/// An address with the port it is reached at: the one that was bound, unless the file says another.
fn reachable(address: &Address, bound: u16) -> Address {
    let port = address.port.filter(|port| *port != 0).unwrap_or(bound);
    Address {
        host: address.host.clone(),
        port: Some(port),
    }
}
