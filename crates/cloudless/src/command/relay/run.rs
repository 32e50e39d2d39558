use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_relay::admin::{Command, Reply};
use cloudless_relay::{Listeners, Registry};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Bound;
use crate::activation::{self, Activated};
use crate::config::relay::{Listen, RelayFile};
use crate::metrics::{self, Metrics};
use crate::sandbox::{self, Needs};
use crate::state::{self, RelayState};
use crate::systemd::Pulse;
use crate::terminal;
use crate::{admin_socket, listen, open_files, parent, signals};

/// For a command that looks at the registry while the relay starts.
const REGISTRY_WAIT: Duration = Duration::from_secs(1);
const SSH_SETTING: &str = "`listen.ssh` in relay.toml";

/// Forward visitors to homes until stopped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless relay run
  CLOUDLESS_LOG=debug cloudless relay run --state /srv/relay

relay.toml is checked before a port is bound. SIGHUP reads it and homes.toml again, as `cloudless
relay reload` does. SIGTERM and Ctrl-C let running connections end, a second one stops at once.
Ports below 1024 need root, CAP_NET_BIND_SERVICE, or a systemd .socket unit that listens instead:
with that, no connection attempt is lost while the relay is started anew. `cloudless service install
relay` writes it.")]
pub(super) struct Run {
    #[command(flatten)]
    state: RelayState,
    /// Print a line of JSON to standard output once the ports are bound
    #[arg(long, hide = true)]
    ready_json: bool,
    /// End when this process, the parent, ends
    #[arg(long, hide = true, value_name = "PID")]
    die_with: Option<u32>,
}

#[derive(Serialize)]
struct Ready<'a> {
    role: &'static str,
    https: &'a [SocketAddr],
    http: &'a [SocketAddr],
    ssh: &'a [SocketAddr],
    metrics: Option<SocketAddr>,
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if let Some(parent) = self.die_with {
            parent::die_with(parent)?;
        }
        let state = self.state.directory()?;
        state::require(&state, super::INIT_ADVICE)?;
        let file = RelayFile::read(&state)?;
        super::config(&state, &file, None)?;
        if file.sandbox {
            sandbox::enter(&Needs::of_relay(&state))?;
        }
        let registry = Registry::open_within(&state, REGISTRY_WAIT);
        let registry = registry.context("cannot open the relay's registry")?;
        open_files::raise_limit();

        signals::block_on(async {
            let http_ports = activation::ports(&file.listen.http.0);
            let ssh_ports = activation::ports(&file.listen.ssh.0);
            let activated = activation::take(&http_ports, &ssh_ports)?;
            let Activated { https, http, ssh } = match activated {
                Some(activated) => with_ssh(activated, &file.listen)?,
                None => Activated {
                    https: listen::bind(&file.listen.https.0, "`listen.https` in relay.toml")?,
                    http: listen::bind(&file.listen.http.0, "`listen.http` in relay.toml")?,
                    ssh: listen::bind(&file.listen.ssh.0, SSH_SETTING)?,
                },
            };
            let admin = admin_socket::bind(&state, admin_socket::RELAY)
                .with_context(|| format!("cannot make the socket in {}", state.display()))?;
            let setting = "`metrics` in relay.toml";
            let metrics = Metrics::bind(file.metrics, setting, &state, metrics::relay)?;
            let metrics_address = metrics.address();
            let bound = Bound {
                https: listen::bound(&https)?,
                ssh: listen::bound(&ssh)?,
            };
            let bound_http = listen::bound(&http)?;
            let mut config = super::config(&state, &file, Some(&bound))?;
            config.source = Some(super::reload::source(&state, &file, bound.clone()));
            let n_listeners = https.len() + http.len() + ssh.len();
            let may_need = config.limits.open_files(n_listeners);
            if let Some(may_open) = open_files::too_few(may_need) {
                tracing::warn!(
                    may_need,
                    may_open,
                    "The relay may need more open files than it is allowed, and accepts nobody once it \
                     has so many: raise `LimitNOFILE=` of its unit (`ulimit -Hn` without one), or lower \
                     `visitors` and `homes` below `[limits]` in relay.toml"
                );
            }

            terminal::note(format_args!("relay {} is ready", file.server_name));
            for address in &bound.https {
                terminal::note(format_args!("  visitors and homes  {address}"));
            }
            for address in &bound_http {
                terminal::note(format_args!("  redirect to https   {address}"));
            }
            for address in &bound.ssh {
                terminal::note(format_args!("  homes by SSH        {address}"));
            }
            if let Some(address) = metrics_address {
                terminal::note(format_args!(
                    "  metrics             http://{address}/metrics"
                ));
            }
            if registry.homes().is_empty() {
                terminal::note("no home has a name here yet: cloudless relay invite HOST");
            }
            let shutdown = CancellationToken::new();
            let listeners = Listeners {
                https,
                http,
                ssh,
                admin: Some(admin),
            };
            let role = cloudless_relay::run(config, registry, listeners, shutdown.clone());
            let role = metrics.beside(role);
            let pulse = Pulse {
                state: state.clone(),
                report: summary,
                shutdown: shutdown.clone(),
            };
            let role = pulse.beside(role);
            if self.ready_json {
                terminal::json(&Ready {
                    role: "relay",
                    https: &bound.https,
                    http: &bound_http,
                    ssh: &bound.ssh,
                    metrics: metrics_address,
                })?;
            }
            let reload = async || super::reload::of_itself(&state).await;
            signals::run_until_signal(role, shutdown, reload)
                .await?
                .context("the relay failed")
        })
    }
}

/// What systemd handed over, and where `listen.ssh` says if that is not among it: the units that packages
/// bring know nothing of SSH.
fn with_ssh(mut activated: Activated, listen: &Listen) -> anyhow::Result<Activated> {
    if activated.ssh.is_empty() {
        activated.ssh = listen::bind(&listen.ssh.0, SSH_SETTING).with_context(|| {
            let addresses = listen.ssh.0.iter();
            let lines: Vec<_> = addresses.map(|it| format!("ListenStream={it}")).collect();
            format!(
                "systemd handed over no socket for SSH: `systemctl edit cloudless-relay.socket`, and \
                 below `[Socket]` write {}; or choose ports from 1024 on, which the relay takes itself",
                lines.join(" and ")
            )
        })?;
    }
    Ok(activated)
}

/// The running relay in a line, without names.
fn summary(state: &Path) -> anyhow::Result<String> {
    match admin_socket::ask(state, admin_socket::RELAY, &Command::Summary)? {
        Some(Reply::Summary { tunnels: 1 }) => Ok("1 tunnel is up".to_owned()),
        Some(Reply::Summary { tunnels }) => Ok(format!("{tunnels} tunnels are up")),
        _ => bail!("the relay does not answer"),
    }
}
