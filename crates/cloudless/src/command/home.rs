//! `cloudless home`: the owned machine that keeps the contacts.

mod backup;
mod certificate;
mod doctor;
mod join;
mod reload;
mod run;
mod ssh;
mod status;
mod trust;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use cloudless_home::admin::{self, Command, Facts, Reply};
use cloudless_home::upstream::Upstream;
use cloudless_home::{Config, PushConfig, PushTimings};
use cloudless_proto::Hostname;
use cloudless_store::{OpenError, Store, Timestamp};

use crate::admin_socket;
use crate::clock;
use crate::config::address::HTTPS_PORT;
use crate::config::home::HomeFile;
use crate::config::home_relay::SshTable;
use crate::config::proxy;
use crate::config::push::PushTable;
use crate::progress;
use crate::terminal;
use crate::{identity, push_key, state};

/// Home's key in its state directory.
const KEY_FILE: &str = "home.key";
const KEY_ADVICE: &str = "put the copy from your backup back, or make a new one: on the relay run \
    `cloudless relay invite --replace HOST`, here `cloudless home join CODE`";
const JOIN_ADVICE: &str = "make one with `cloudless home join CODE` or `cloudless user add NAME`";

/// Run home: the machine you own, which keeps the contacts
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cloudless home join CODE
  cloudless home run
  cloudless home status
  cloudless home doctor"
)]
pub(super) struct Home {
    #[command(subcommand)]
    command: HomeCommand,
}

#[derive(Debug, Subcommand)]
enum HomeCommand {
    Join(join::Join),
    Run(run::Run),
    Reload(reload::Reload),
    Status(status::Status),
    Ssh(ssh::Ssh),
    Certificate(certificate::Certificate),
    Trust(trust::Trust),
    Doctor(doctor::Doctor),
    Backup(backup::Backup),
}

impl Home {
    pub(super) fn is_role(&self) -> bool {
        matches!(self.command, HomeCommand::Run(_))
    }

    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            HomeCommand::Join(join) => join.run(),
            HomeCommand::Run(run) => run.run(),
            HomeCommand::Reload(reload) => reload.run(),
            HomeCommand::Status(status) => status.run(),
            HomeCommand::Ssh(ssh) => ssh.run(),
            HomeCommand::Certificate(certificate) => certificate.run(),
            HomeCommand::Trust(trust) => trust.run(),
            HomeCommand::Doctor(doctor) => doctor.run(),
            HomeCommand::Backup(backup) => backup.run(),
        }
    }
}

/// Lets the running home execute a command, or executes it on the store when none is running. One
/// that takes long is seen to be under way.
pub(crate) fn execute(state: &Path, command: &Command) -> anyhow::Result<Reply> {
    progress::while_waiting(|| execute_part(state, command))
}

/// [`execute`] for a part of work that shows its progress itself.
pub(crate) fn execute_part(state: &Path, command: &Command) -> anyhow::Result<Reply> {
    state::require(state, JOIN_ADVICE)?;
    let reply = admin_socket::ask_or_do(state, admin_socket::HOME, command, || {
        let facts = facts(state, HomeFile::read_if_there(state)?.as_ref());
        let store = match open(state, Duration::ZERO) {
            Err(OpenError::InUse { .. }) => return Ok(None),
            opened => opened.context("cannot open the contacts")?,
        };
        let mut random = [0; 16];
        getrandom::fill(&mut random).context("the system gives no random bytes")?;
        Ok(Some(admin::execute(
            &store,
            &facts,
            command.clone(),
            Timestamp(clock::unix_ms()),
            random,
        )))
    })?;
    match reply {
        Reply::Error { message } => bail!(message),
        reply => Ok(reply),
    }
}

/// Opens the contacts, for which it waits so long while another command has them, and tells where a
/// copy of before is when that changed their database.
fn open(state: &Path, wait: Duration) -> Result<Store, OpenError> {
    let store = Store::open_within(state, wait)?;
    if let Some(copy) = store.migration_copy() {
        terminal::note(format_args!(
            "this program keeps contacts in a newer kind of database; the one of before was copied \
             to {}",
            copy.display()
        ));
    }
    Ok(store)
}

/// The config of a home that has joined, with its key.
fn config(state: &Path, file: &HomeFile) -> anyhow::Result<Config> {
    let key_file = state.join(KEY_FILE);
    if file.relay.own.is_empty() {
        // SSH servers know home by another key, and nobody has joined with this one.
        state::create(state)?;
        state::as_owner(state, || identity::create(&key_file))?;
    }
    let identity = identity::read(&key_file, KEY_ADVICE)?;
    let relays = file.relay.own.iter().map(|relay| cloudless_home::Relay {
        addresses: relay
            .addresses
            .iter()
            .map(|address| address.with_default_port(HTTPS_PORT).to_string())
            .collect(),
        server_name: relay.server_name.clone(),
        key: relay.key,
    });
    let hostnames = file.hostnames.clone();
    let mut config = Config::new(relays.collect(), hostnames, identity, state.to_owned());
    let tables = file.relay.ssh.iter();
    config.ssh_relays = tables
        .map(|table| table.relay(state))
        .collect::<Result<_, _>>()?;
    let tables = file.hostname.iter();
    config.passthrough = tables
        .map(|(hostname, table)| (hostname.clone(), table.passthrough()))
        .collect();
    config.upstreams = upstreams(state, file)?;
    let tables = file.hostname.iter();
    config.certificates = tables
        .map(|(hostname, table)| (hostname.clone(), table.certificate(state)))
        .collect();
    if file.has_acme() {
        config.acme = Some(file.acme.config(state)?);
    }
    config.trust = Some(file.trust());
    config.client_certificates = file.client_certificates();
    config.silent_after = file.devices.silent_after;
    config.public_port = public_port(file);
    config.legs = file.legs;
    config.proxy = proxy::from_environment()?;
    config.probe = file.probe.config();
    config.keep_history = file.history.keep.duration();
    config.carddav = file.carddav.settings();
    Ok(config)
}

/// The servers behind home.
fn upstreams(state: &Path, file: &HomeFile) -> anyhow::Result<Vec<Upstream>> {
    let tables = file.upstream.iter();
    tables.map(|table| table.upstream(state)).collect()
}

/// How devices are told of changes, if they are; makes the key for that when there is none.
fn push(state: &Path, table: &PushTable) -> anyhow::Result<Option<PushConfig>> {
    if !table.enabled {
        return Ok(None);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        // Contacts are served all the same.
        tracing::info!(
            "This system has no certificates of authorities, so that no push service is trusted: \
             install ca-certificates"
        );
    }
    Ok(Some(PushConfig {
        key: push_key::read_or_create(state)?,
        contact: table.contact.clone(),
        private_hosts: table.private_hosts.clone(),
        roots: found.certs,
        timings: PushTimings::default(),
    }))
}

/// The port that phones use: the one that home dials, or that an SSH server listens on for all.
fn public_port(file: &HomeFile) -> u16 {
    let own = file.relay.own.first();
    let first = own.and_then(|relay| relay.addresses.first());
    let own = first.and_then(|address| address.port);
    let ssh = || file.relay.ssh.iter().find_map(SshTable::public_port);
    let port = if own.is_some() { own } else { ssh() };
    port.unwrap_or(HTTPS_PORT)
}

/// What is known of a home that does not run.
fn facts(state: &Path, file: Option<&HomeFile>) -> Facts {
    let Some(file) = file else {
        return Facts::default();
    };
    Facts {
        hostnames: file.hostnames.clone(),
        public_port: public_port(file),
        client_certificates: file.client_certificates(),
        state_dir: state.to_owned(),
        // Port 0 is chosen anew at each start.
        local: file
            .local
            .0
            .iter()
            .copied()
            .filter(|address| address.port() != 0)
            .collect(),
        ..Facts::default()
    }
}

/// Where phones connect.
fn public_url(hostname: &Hostname, port: u16) -> String {
    match port {
        HTTPS_PORT => format!("https://{hostname}/"),
        port => format!("https://{hostname}:{port}/"),
    }
}
