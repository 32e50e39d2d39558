use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use cloudless_home::certificate::CertificateSource;
use cloudless_home::status::RelayState;
use cloudless_home::upstream::UpstreamServer;
use cloudless_home::{Config, Listeners, trust};
use cloudless_proto::UpstreamAddress;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::home::HomeFile;
use crate::metrics::{self, Metrics};
use crate::sandbox::{self, Needs};
use crate::state::{self, HomeState};
use crate::systemd::Pulse;
use crate::terminal;
use crate::{admin_socket, allocator, listen, open_files, parent, signals};

/// For a command that reads contacts while home starts.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// Time between two looks at whether the tunnel is up.
const TUNNEL_INTERVAL: Duration = Duration::from_millis(20);

/// Serve contacts to phones through the relay, and to programs on this machine, until stopped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home run
  CLOUDLESS_LOG=debug cloudless home run --state ~/contacts

home.toml is checked before a port is bound. SIGHUP reads its [[upstream]] again, as `cloudless home
reload` does. SIGTERM and Ctrl-C let running requests end, a second one stops at once. `cloudless service install home` has systemd run it.

In a network that lets nothing out but through an HTTP proxy, the relay is dialed through the one that
the environment names (HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT), unless NO_PROXY lists the relay.

All history is kept, unless home.toml says how long; and a device that deletes more than a fifth of
an address book at once raises an alarm, unless home.toml says how much:
  [history]
  keep = \"2y\"
  alarm_percent = 50

Clients are told that they may write vCard 3.0, which all of them read. DAVx5 and others write 4.0
where home.toml offers it:
  [carddav]
  offer_vcard_4 = true

A device that asks for it is told of changes through the push service that it names, which learns
when something changed, not what. A push service in your own network has to be allowed:
  [push]
  enabled = true
  contact = \"mailto:me@example.org\"
  private_hosts = [\"push.example.org\"]

A name on the internet is served only while its CAA records in the DNS keep everybody else from a
certificate for it; `cloudless home doctor` shows them. Home asks three resolvers, watches the public
logs of certificates, and tells a webhook of each alarm (docs/security.md). All of it can be changed:
  trust = \"honest-relay\"  # for all names, before the first [table], or for one below
                          # [hostname.\"NAME\"]: whoever runs the relay can then read everything
  [dns]
  resolvers = [\"9.9.9.9\", \"1.1.1.1\", \"8.8.8.8\"]
  [transparency]
  enabled = true
  webhook = \"https://alarm.example.org/cloudless\"
  no_relay_after = \"3h\"  # an alarm too; \"never\"

Home gives up what it does not need before it serves anybody: files outside of its state directory
(it still reads /etc and /usr, for the DNS, and the directories of certificate_file and key_file),
new privileges, other programs, and system calls that servers have no use for. Where that is in the
way:
  sandbox = false  # before the first [table]

Home signs each name's certificate with an authority of its own, which devices have to be told to
trust: ca-NAME.pem, and ca.pem has those of all names. With a public one they need nothing; who asks
it agrees to its terms of service, and another one than Let's Encrypt may be named:
  [hostname.\"contacts.example.org\"]
  certificate = \"acme\"          # \"own\": home's; \"pinned\": home's, the same for ten years
  [acme]
  directory = \"letsencrypt\"     # \"letsencrypt-staging\", or the URL of a directory
  contact = \"mailto:me@example.org\"
  profile = \"shortlived\"        # a kind that the authority offers; \"tlsserver\" where it does
  challenge = \"http-01\"         # proven on port 80, not by tls-alpn-01 on 443
  root_ca_file = \"root.pem\"     # who signed the authority's own certificate
  external_account = { key_id = \"ID\", hmac_key = \"KEY\" }
A certificate that another program renews is read again whenever the files change. Whether the relay
gets one for the name too, home does not know then, which is why it has to be told of the level:
  [hostname.\"mail.example.org\"]
  certificate_file = \"/etc/letsencrypt/live/mail.example.org/fullchain.pem\"
  key_file = \"/etc/letsencrypt/live/mail.example.org/privkey.pem\"
  trust = \"honest-relay\"

A name whose certificate and contents belong to a server that is there already is passed to it, TLS
and all; home ends the other names itself. It neither checks CAA records for such a name nor watches
the logs for it: what keeps the relay from a certificate is up to that server's owner
(docs/security.md):
  [hostname.\"nas.example.org\"]
  passthrough = \"127.0.0.1:443\"      # or \"unix:/run/web.sock\"
  passthrough_http = \"127.0.0.1:80\"  # for its ACME client: gets the ACME path and nothing else
  proxy_protocol = \"v2\"              # tells it the visitor's address, as the relay says

A plain SSH server can be the relay, with nothing of cloudless on it (docs/sshd.md):
  [[relay]]
  transport = \"ssh\"
  host = \"vps.example.org\"
  user = \"tunnel\"
  forward = \"127.0.0.1:8443\"         # or \"*:8443\", or \"unix:/run/cloudless/contacts.sock\"
  forward_http = \"127.0.0.1:8080\"    # port 80: certificate authorities alone are answered

A server that is there already gets the requests for a path, or for a name of its own; home ends
TLS and tells it who came (docs/upstreams.md):
  [[upstream]]
  path = \"/radicale/\"
  server = \"http://127.0.0.1:5232\"     # or \"unix:/run/radicale.sock\"
  strip_prefix = true                  # it gets the rest of the path, and X-Script-Name
  [[upstream]]
  hostname = \"cloud.example.org\"
  server = \"https://nas.lan:8443\"
  ca_file = \"nas-ca.pem\"              # who signed its certificate

A name where home demands a client certificate of every device, beside its password. Devices get one
with `cloudless device add USER NAME --client-certificate`, and are refused on all other names:
  [hostname.\"m.contacts.example.org\"]
  certificate = \"acme\"
  client_certificates = true

A device with such a certificate that does not come, or never came, although phones could, is named
by `cloudless home status`, after three days with a tunnel unless home.toml says how long, or \"never\".
Time with a tunnel is counted over restarts of home:
  [devices]
  silent_after = \"12h\"")]
pub(super) struct Run {
    #[command(flatten)]
    state: HomeState,
    /// Print a line of JSON to standard output once the ports are bound, and one more once the
    /// first tunnel is up
    #[arg(long, hide = true)]
    ready_json: bool,
    /// End when this process, the parent, ends
    #[arg(long, hide = true, value_name = "PID")]
    die_with: Option<u32>,
}

#[derive(Serialize)]
struct Ready<'a> {
    role: &'static str,
    local: &'a [SocketAddr],
    metrics: Option<SocketAddr>,
}

#[derive(Serialize)]
struct TunnelReady {
    role: &'static str,
    tunnel: &'static str,
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<()> {
        allocator::limit_arenas();
        if let Some(parent) = self.die_with {
            parent::die_with(parent)?;
        }
        let state = self.state.directory()?;
        let file = HomeFile::read(&state)?;
        let mut config = super::config(&state, &file)?;
        config.source = Some(super::reload::source(
            &state,
            super::reload::settings(&state)?,
        ));
        state::create(&state)?;
        config.push = super::push(&state, &file.push)?;
        if file.sandbox {
            // The store starts a thread.
            let (files, servers) = (certificate_files(&config), server_sockets(&config));
            sandbox::enter(&Needs::of_home(&state, &files, &servers))?;
        }
        let store = super::open(&state, STORE_WAIT).context("cannot open the contacts")?;
        store.set_alarm_share(file.history.alarm_percent)?;
        open_files::raise_limit();
        let port = super::public_port(&file);
        let unserved = trust::unserved(&config).context("cannot watch over the names")?;

        signals::block_on(async {
            let local = listen::bind(&file.local.0, "`local` in home.toml")?;
            let admin = admin_socket::bind(&state, admin_socket::HOME)
                .with_context(|| format!("cannot make the socket in {}", state.display()))?;
            let setting = "`metrics` in home.toml";
            let metrics = Metrics::bind(file.metrics, setting, &state, metrics::home)?;
            let metrics_address = metrics.address();
            let bound = listen::bound(&local)?;

            terminal::note("home is ready");
            for hostname in &file.hostnames {
                let url = super::public_url(hostname, port);
                terminal::note(format_args!("  for phones         {url}"));
            }
            for hostname in &unserved {
                terminal::note(format_args!(
                    "  not served yet     {hostname}: `cloudless home doctor` shows what to publish in \
                     the DNS first"
                ));
            }
            for address in &bound {
                terminal::note(format_args!("  for this machine   http://{address}/"));
            }
            if let Some(address) = metrics_address {
                terminal::note(format_args!(
                    "  metrics            http://{address}/metrics"
                ));
            }
            let shutdown = CancellationToken::new();
            let listeners = Listeners {
                local,
                admin: Some(admin),
            };
            let role = cloudless_home::run(config, store, listeners, shutdown.clone());
            let role = metrics.beside(role);
            let pulse = Pulse {
                state: state.clone(),
                report: summary,
                shutdown: shutdown.clone(),
            };
            let role = pulse.beside(role);
            let reload = async || super::reload::of_itself(&state).await;
            if !self.ready_json {
                return signals::run_until_signal(role, shutdown, reload)
                    .await?
                    .context("home failed");
            }
            terminal::json(&Ready {
                role: "home",
                local: &bound,
                metrics: metrics_address,
            })?;
            let mut role = std::pin::pin!(signals::run_until_signal(role, shutdown, reload));
            tokio::select! {
                ended = &mut role => return ended?.context("home failed"),
                tunnel = announce_tunnel(&state) => tunnel?,
            }
            role.await?.context("home failed")
        })
    }
}

/// The owner's files that home reads while it runs.
fn certificate_files(config: &Config) -> Vec<PathBuf> {
    let sources = config.certificates.values();
    let files = sources.filter_map(|source| match source {
        CertificateSource::Files(files) => Some([files.certificate.clone(), files.key.clone()]),
        _ => None,
    });
    files.flatten().collect()
}

/// The sockets in the file system of servers behind home.
fn server_sockets(config: &Config) -> Vec<PathBuf> {
    let passed = config.passthrough.values();
    let passed = passed.flat_map(|it| [&it.tls, &it.http].into_iter().flatten());
    let passed = passed.filter_map(|it| match it {
        UpstreamAddress::Unix(path) => Some(path.clone()),
        UpstreamAddress::Tcp(_) => None,
    });
    let asked = config.upstreams.iter().filter_map(|it| match &it.server {
        UpstreamServer::Unix(path) => Some(path.clone()),
        _ => None,
    });
    passed.chain(asked).collect()
}

/// The running home in a line, without names.
fn summary(state: &Path) -> anyhow::Result<String> {
    match admin_socket::ask(state, admin_socket::HOME, &Command::Summary)? {
        Some(Reply::Summary { relays: 0, .. }) => Ok("serves this machine alone".to_owned()),
        Some(Reply::Summary { connected: 0, .. }) => Ok("no tunnel to a relay yet".to_owned()),
        Some(Reply::Summary { relays, connected }) => {
            Ok(format!("tunnels to {connected} of {relays} relays are up"))
        }
        _ => bail!("home does not answer"),
    }
}

/// Prints a line once the first tunnel is up.
async fn announce_tunnel(state: &Path) -> anyhow::Result<()> {
    loop {
        let state = state.to_owned();
        let status = tokio::task::spawn_blocking(move || {
            admin_socket::ask(&state, admin_socket::HOME, &Command::Status)
        });
        let Some(Reply::Status(status)) = status.await?? else {
            bail!("home answered something else than its status");
        };
        if status
            .relays
            .iter()
            .any(|relay| relay.state == RelayState::Connected)
        {
            return terminal::json(&TunnelReady {
                role: "home",
                tunnel: "up",
            });
        }
        tokio::time::sleep(TUNNEL_INTERVAL).await;
    }
}
