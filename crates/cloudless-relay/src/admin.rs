//! The commands that the relay's command line sends, and their execution with or without a running
//! relay.
//!
//! On the socket each request is one JSON line and gets one JSON line; a connection may carry many.

mod socket;

use std::sync::atomic::Ordering;
use std::time::Duration;

use cloudless_proto::join_code::JoinSecret;
use cloudless_proto::ssh::{AuthorizedKey, Port};
use cloudless_proto::{Hostname, UpstreamAddress};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::home_key::HomeKey;
use crate::keys::Keys;
use crate::reach::Looked;
use crate::registry::{AllowSshError, HomeRow, InviteTerms, Registry, RotationError};
use crate::run::Relay;
use crate::ssh::Ssh;
use crate::status::{HomeStatus, KeyStatus, ServerStatus, SshStatus, Status, Totals, unix_now};
use crate::{reload, routes};

pub(crate) use socket::serve;
pub use socket::{BindError, bind};

/// A request of the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Report on the relay; answered by [`Reply::Status`].
    Status,
    /// Show that the relay lives; answered by [`Reply::Summary`], without the disk.
    Summary,
    /// List the bound names; answered by [`Reply::Homes`].
    Homes,
    /// Make a join code; answered by [`Reply::Invited`].
    Invite {
        /// The name to bind.
        hostname: Hostname,
        /// How long the code may be redeemed, in seconds.
        ttl_s: u64,
        /// Whether it may take the name from the home that has it.
        replace: bool,
    },
    /// Bind a name to the key of an SSH client; answered by [`Reply::SshAllowed`].
    AllowSsh {
        /// The name.
        hostname: Hostname,
        /// The key, a line as `authorized_keys` has it.
        key: String,
        /// Whether the home that has the name now loses it.
        replace: bool,
    },
    /// Read `relay.toml`, `homes.toml` and `invites.toml` again; answered by [`Reply::Reloaded`].
    Reload,
    /// Begin to replace the relay's key, or move the end of that; answered by [`Reply::Key`].
    RotateKey {
        /// How long from now on the key of now goes on to be proven, in seconds. Without it 30 days,
        /// and an end is not moved.
        #[serde(default)]
        overlap_s: Option<u64>,
    },
    /// Let the relay's older key go at once; answered by [`Reply::Key`].
    FinishRotation {
        /// Also when homes do not know the other one yet, which have to join again then.
        force: bool,
    },
    /// Take a name from its home and cut its connections; answered by [`Reply::Revoked`].
    Revoke {
        /// The name.
        hostname: Hostname,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made and taken for each command"
)]
pub enum Reply {
    /// To [`Command::Status`].
    Status(Status),
    /// To [`Command::Summary`]; 0 when no relay runs.
    Summary {
        /// Tunnels that are up.
        tunnels: u64,
    },
    /// To [`Command::Homes`].
    Homes {
        /// Sorted by hostname.
        homes: Vec<HomeRow>,
    },
    /// To [`Command::Invite`]. The code cannot be shown a second time.
    Invited {
        /// The name.
        hostname: Hostname,
        /// The join code, one line.
        code: String,
        /// When the code ends, Unix time in seconds.
        #[serde(with = "cloudless_proto::rfc3339::seconds")]
        expires_at: u64,
        /// A web server beside the relay whose certificate covers the name: browsers may take it
        /// for the home.
        #[serde(default)]
        covered_by: Option<UpstreamAddress>,
        /// There are web servers whose certificates nobody has looked at, because no relay runs: a
        /// command looks itself ([`coverage`](crate::coverage)).
        #[serde(default)]
        not_looked: bool,
    },
    /// To [`Command::AllowSsh`].
    SshAllowed {
        /// The name.
        hostname: Hostname,
        /// The key that has it now.
        key: HomeKey,
        /// Where the client dials, and whom.
        relay: SshStatus,
        /// A web server beside the relay whose certificate covers the name.
        #[serde(default)]
        covered_by: Option<UpstreamAddress>,
    },
    /// To [`Command::RotateKey`] and [`Command::FinishRotation`].
    Key(KeyStatus),
    /// To [`Command::Revoke`].
    Revoked {
        /// The name.
        hostname: Hostname,
        /// Whether a live tunnel was closed for it.
        session_closed: bool,
    },
    /// To [`Command::Reload`]: what the files say is in force.
    Reloaded {
        /// What takes a restart to be in force, a sentence each.
        #[serde(default)]
        waiting: Vec<String>,
    },
    /// The command was not done.
    Error {
        /// What failed and what to do; one line, more only where a file is quoted.
        message: String,
    },
}

/// Executes a command while no relay runs on this state, which an open [`Registry`] proves.
/// Blocks on the disk.
pub fn execute_offline(config: &Config, registry: &Registry, command: Command) -> Reply {
    match Keys::new(&config.identity, registry) {
        Ok(keys) => execute(config, registry, &keys, None, command),
        Err(error) => error_reply(&error),
    }
}

/// Executes a command; on the sessions of `relay` too if there is one. Blocks on the disk.
pub(crate) fn execute(
    config: &Config,
    registry: &Registry,
    keys: &Keys,
    relay: Option<&Relay>,
    command: Command,
) -> Reply {
    match command {
        Command::Status => Reply::Status(status(config, registry, keys, relay)),
        Command::Summary => Reply::Summary {
            tunnels: relay.map_or(0, |relay| relay.sessions.count()),
        },
        Command::Homes => Reply::Homes {
            homes: registry.homes(),
        },
        Command::Invite {
            hostname,
            ttl_s,
            replace,
        } => {
            let mut random = [0; 16];
            if let Err(error) = getrandom::fill(&mut random) {
                return Reply::Error {
                    message: format!("the system gives no random bytes: {error}"),
                };
            }
            let terms = InviteTerms {
                hostname,
                ttl: Duration::from_secs(ttl_s),
                replace,
            };
            match registry.invite(
                config,
                keys.newest(),
                terms,
                JoinSecret::new(random),
                unix_now(),
            ) {
                Ok(code) => Reply::Invited {
                    covered_by: covered_by(relay, &code.hostname),
                    not_looked: relay.is_none()
                        && !routes::https(&config.fallback, &config.routes).is_empty(),
                    hostname: code.hostname.clone(),
                    code: code.to_string(),
                    expires_at: code.expires_at,
                },
                Err(error) => error_reply(&error),
            }
        }
        Command::AllowSsh {
            hostname,
            key,
            replace,
        } => match allow_ssh(config, registry, relay, &hostname, &key, replace) {
            Ok(reply) => reply,
            Err(error) => error_reply(&error),
        },
        Command::Reload => match relay {
            None => Reply::Error {
                message: "the relay is not running: it reads its files when it starts".to_owned(),
            },
            Some(relay) => match reload::reload(relay) {
                Ok(waiting) => Reply::Reloaded { waiting },
                Err(message) => Reply::Error { message },
            },
        },
        Command::RotateKey { overlap_s } => {
            let begun = keys.rotate(overlap_s.map(Duration::from_secs), unix_now());
            key_reply(keys, begun)
        }
        Command::FinishRotation { force } => key_reply(keys, keys.finish(force)),
        Command::Revoke { hostname } => match registry.revoke(&hostname) {
            Ok(key) => {
                let close = |relay: &Relay| {
                    relay.counters.forget(&hostname);
                    key.is_some_and(|key| relay.sessions.close(&key))
                };
                let session_closed = relay.is_some_and(close);
                Reply::Revoked {
                    hostname,
                    session_closed,
                }
            }
            Err(error) => error_reply(&error),
        },
    }
}

fn allow_ssh(
    config: &Config,
    registry: &Registry,
    relay: Option<&Relay>,
    hostname: &Hostname,
    key: &str,
    replace: bool,
) -> Result<Reply, AllowSshError> {
    let key: AuthorizedKey = key.parse().map_err(AllowSshError::Key)?;
    let ssh = config.ssh.as_ref().ok_or(AllowSshError::Off)?;
    let fingerprint = key.fingerprint;
    let bound = registry.allow_ssh(config, hostname, fingerprint, replace, unix_now())?;
    if let Some(relay) = relay {
        relay.coalescing.look();
        if let Some(replaced) = bound.replaced {
            relay.sessions.close(&replaced);
        }
    }
    Ok(Reply::SshAllowed {
        hostname: hostname.clone(),
        key: HomeKey::Ssh(fingerprint),
        relay: ssh_status(config, ssh),
        covered_by: covered_by(relay, hostname),
    })
}

fn ssh_status(config: &Config, ssh: &Ssh) -> SshStatus {
    let host = |address: &String| {
        let host = address
            .rsplit_once(':')
            .map_or(address.as_str(), |(host, _)| host);
        host.trim_matches(['[', ']']).to_owned()
    };
    SshStatus {
        hosts: config.addresses.iter().map(host).collect(),
        port: ssh.port,
        host_key: ssh.host_key.public(),
        fingerprint: ssh.host_key.fingerprint(),
    }
}

fn key_reply(keys: &Keys, done: Result<(), RotationError>) -> Reply {
    match done {
        Ok(()) => Reply::Key(keys.status()),
        Err(error) => error_reply(&error),
    }
}

fn servers(relay: &Relay, homes: &[HomeStatus]) -> Vec<ServerStatus> {
    let mut servers = relay.health.status();
    for server in &mut servers {
        let hostnames = homes.iter().map(|home| &home.hostname);
        server.covers = relay.coalescing.covered(&server.address, hostnames);
    }
    servers
}

/// The web server that is a danger to a home of this name.
fn covered_by(relay: Option<&Relay>, hostname: &Hostname) -> Option<UpstreamAddress> {
    relay?.coalescing.server_for(hostname)
}

fn status(config: &Config, registry: &Registry, keys: &Keys, relay: Option<&Relay>) -> Status {
    let key = keys.status();
    let home_status = |row: HomeRow| {
        let session = relay
            .and_then(|relay| relay.sessions.live(&row.key))
            .filter(|session| session.takes(&row.hostname, Port::Https));
        let probes = config.timings.ssh_probe.is_some();
        let looked = session.as_ref().map(|it| it.looked(&row.hostname, probes));
        let counters = relay
            .map(|relay| relay.counters.of(&row.hostname))
            .unwrap_or_default();
        HomeStatus {
            hostname: row.hostname,
            key: row.key,
            online: looked.as_ref().is_some_and(Looked::is_well),
            probe: looked.and_then(Looked::found),
            knows_next_key: key
                .rotation
                .as_ref()
                .and_then(|_| row.key.of_tunnel())
                .map(|home| registry.has_pinned(&home)),
            since: session.as_ref().map(|session| session.since),
            round_trip: session.and_then(|session| session.liveness.round_trip()),
            last_error: counters.last_error(),
            visitors_now: counters.visitors_now.load(Ordering::Relaxed),
            visitors_total: counters.visitors_total.load(Ordering::Relaxed),
            bytes_up: counters.bytes_up.load(Ordering::Relaxed),
            bytes_down: counters.bytes_down.load(Ordering::Relaxed),
            legs_now: counters.legs_now.load(Ordering::Relaxed),
            legs_total: counters.legs_total.load(Ordering::Relaxed),
            leg_bytes_up: counters.leg_bytes_up.load(Ordering::Relaxed),
            leg_bytes_down: counters.leg_bytes_down.load(Ordering::Relaxed),
            last_server_name: counters.last_server_name(),
        }
    };
    let homes: Vec<HomeStatus> = registry.homes().into_iter().map(home_status).collect();
    let sum = |field: fn(&HomeStatus) -> u64| homes.iter().map(field).sum();
    let totals = Totals {
        sessions_now: relay.map_or(0, |relay| relay.sessions.count()),
        visitors_now: sum(|home| home.visitors_now),
        visitors_total: sum(|home| home.visitors_total),
        bytes_up: sum(|home| home.bytes_up),
        bytes_down: sum(|home| home.bytes_down),
    };
    let servers = relay.map(|relay| servers(relay, &homes));
    let (reloads, reload) = relay.map(reload::status).unwrap_or_default();
    Status {
        running: relay.is_some(),
        server_name: config.server_name.clone(),
        software: crate::SOFTWARE.to_owned(),
        since: relay.map(|relay| relay.counters.since),
        reload,
        reloads,
        key: Some(key),
        ssh: config.ssh.as_ref().map(|ssh| ssh_status(config, ssh)),
        homes,
        totals,
        servers: servers.unwrap_or_default(),
        routes_idle: registry.routed(&config.routes),
        outcomes: relay
            .map(|relay| relay.counters.outcomes())
            .unwrap_or_default(),
    }
}

/// In one line: the command line has nothing but this text.
fn error_reply(error: &dyn std::error::Error) -> Reply {
    Reply::Error {
        message: chain(error).replace('\n', " "),
    }
}

/// An error with all of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}
