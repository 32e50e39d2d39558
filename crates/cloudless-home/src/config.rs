//! What a home is told at its start.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cloudless_carddav::Settings;
use cloudless_proto::proxy_protocol::Version;
use cloudless_proto::redial::{Pace, Pings};
use cloudless_proto::{Hostname, PublicKey, UpstreamAddress};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, UnixListener};

use crate::certificate::{AcmeConfig, CertificateSource, Gate, HonestRelay};
use crate::probe::ProbeConfig;
use crate::proxy::Proxy;
use crate::push::PushConfig;
use crate::reload::Source;
use crate::trust::TrustConfig;
use crate::tunnel::ssh::SshRelay;
use crate::upstream::Upstream;

/// Tells the time of day; tests hand in one that they move.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Tells the time since the system was started, sleep included; tests hand in one that they move.
pub type BootClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The system's clock of that kind, where it has one; else one that stands still in sleep, of
/// which nothing is noticed then.
fn boot_clock() -> BootClock {
    #[cfg(target_os = "linux")]
    return Arc::new(|| {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(now).unwrap_or_default()
    });
    #[cfg(not(target_os = "linux"))]
    {
        let start = std::time::Instant::now();
        Arc::new(move || start.elapsed())
    }
}

/// The time as the store and the status tell it; times before 1970 count as 1970.
pub(crate) fn unix_ms(time: SystemTime) -> i64 {
    let elapsed = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// Everything [`run`](crate::run) needs to know. [`Config::new`] fills in what rarely differs.
pub struct Config {
    /// The relays to keep a tunnel to, one tunnel each.
    pub relays: Vec<Relay>,
    /// Plain SSH servers in the place of relays, one tunnel each.
    pub ssh_relays: Vec<SshRelay>,
    /// The names that this home answers for; any other server name is closed.
    pub hostnames: Vec<Hostname>,
    /// Those of `hostnames` whose connections go to other servers.
    pub passthrough: HashMap<Hostname, Passthrough>,
    /// Servers behind home that get some of the requests.
    pub upstreams: Vec<Upstream>,
    /// How `upstreams` are read again; `None` if they are not.
    pub source: Option<Source>,
    /// Where the certificates of `hostnames` come from; home's own authority where nothing is said.
    pub certificates: HashMap<Hostname, CertificateSource>,
    /// The public authority; needed when a certificate comes from one.
    pub acme: Option<AcmeConfig>,
    /// Asked before each order of a public certificate.
    pub gate: Arc<dyn Gate>,
    /// How the names are protected. Without it no name is watched, all are served, and `gate`
    /// decides about orders; with it the watch does.
    pub trust: Option<TrustConfig>,
    /// Those of `hostnames` where TLS demands a client certificate of a device.
    pub client_certificates: BTreeSet<Hostname>,
    /// After how much time with a tunnel, over all runs, a device with a client certificate that does
    /// not come any more is named by the status; `None` for never (default 3 days).
    pub silent_after: Option<Duration>,
    /// The home's Ed25519 key, which the relays know it by.
    pub identity: PrivatePkcs8KeyDer<'static>,
    /// Where the certificate authority and the certificates are kept (directory, must exist).
    pub state_dir: PathBuf,
    /// The port visitors reach the relay at, for the URLs that are shown; 443 unless testing.
    pub public_port: u16,
    /// The only way out, where a network has no other: relays are dialed through it, and legs are
    /// not made. There is no way around it: who sets one wants it.
    pub proxy: Option<Proxy>,
    /// Whether bulk bytes may go past the tunnel, on TCP connections of their own: see
    /// [`cloudless_proto::leg`].
    pub legs: bool,
    /// How long a version of a card is kept after it was replaced or deleted; `None` keeps all.
    pub keep_history: Option<Duration>,
    /// What clients are offered.
    pub carddav: Settings,
    /// How home tries its public names from outside; `None` if it does not.
    pub probe: Option<ProbeConfig>,
    /// How devices are told of changes; `None` if they are not.
    pub push: Option<PushConfig>,
    /// All waits and deadlines.
    pub timings: Timings,
    /// The time of day: certificates, last-seen times, status.
    pub clock: Clock,
    /// By which home notices that the machine has slept.
    pub boot_clock: BootClock,
}

impl Config {
    /// A config with public port 443, default timings and the system's clock.
    pub fn new(
        relays: Vec<Relay>,
        hostnames: Vec<Hostname>,
        identity: PrivatePkcs8KeyDer<'static>,
        state_dir: PathBuf,
    ) -> Self {
        Self {
            relays,
            ssh_relays: Vec::new(),
            hostnames,
            passthrough: HashMap::new(),
            upstreams: Vec::new(),
            source: None,
            certificates: HashMap::new(),
            acme: None,
            gate: Arc::new(HonestRelay::default()),
            trust: None,
            client_certificates: BTreeSet::new(),
            silent_after: Some(Duration::from_secs(3 * 24 * 60 * 60)),
            identity,
            state_dir,
            public_port: 443,
            proxy: None,
            legs: true,
            keep_history: None,
            carddav: Settings::default(),
            probe: None,
            push: None,
            timings: Timings::default(),
            clock: Arc::new(SystemTime::now),
            boot_clock: boot_clock(),
        }
    }
}

impl Config {
    /// Where home reaches all of its relays, `host:port` each.
    pub(crate) fn relay_addresses(&self) -> Vec<String> {
        let relays = self.relays.iter().flat_map(|relay| &relay.addresses);
        let ssh_relays = self.ssh_relays.iter().map(SshRelay::address);
        relays.cloned().chain(ssh_relays).collect()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("relays", &self.relays)
            .field("ssh_relays", &self.ssh_relays)
            .field("hostnames", &self.hostnames)
            .field("passthrough", &self.passthrough)
            .field("upstreams", &self.upstreams)
            .field("certificates", &self.certificates)
            .field("acme", &self.acme)
            .field("trust", &self.trust)
            .field("client_certificates", &self.client_certificates)
            .field("silent_after", &self.silent_after)
            .field("state_dir", &self.state_dir)
            .field("public_port", &self.public_port)
            .field("proxy", &self.proxy)
            .field("legs", &self.legs)
            .field("keep_history", &self.keep_history)
            .field("carddav", &self.carddav)
            .field("probe", &self.probe)
            .field("push", &self.push)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

/// A relay as the join code named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// `host:port`, each resolved anew for every dial; all are tried.
    pub addresses: Vec<String>,
    /// The name sent in the tunnel's ClientHello.
    pub server_name: Hostname,
    /// The key in the join code. The relay may prove no other, but for those that it announced in
    /// its place since ([`RelayKeys`](crate::RelayKeys)).
    pub key: PublicKey,
}

/// The servers that get a hostname's connections in place of home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passthrough {
    /// Gets its TLS connections as they came; home then needs no certificate for the name.
    pub tls: Option<UpstreamAddress>,
    /// Gets what certificate authorities ask for over plain HTTP (RFC 8555 section 8.3), and nothing
    /// else.
    pub http: Option<UpstreamAddress>,
    /// Puts a header with the visitor's address before its TLS connections, as the relay told it.
    pub proxy_protocol: Option<Version>,
}

/// Sockets that the caller has bound: tests bind port 0, systemd hands them over.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Plain HTTP for programs on this machine. Bind loopback addresses only.
    pub local: Vec<TcpListener>,
    /// The admin socket, created with mode 0600.
    pub admin: Option<UnixListener>,
}

/// Waits and deadlines. The defaults are for use; tests shrink them.
#[derive(Clone, Debug)]
pub struct Timings {
    /// From the start of a dial to the relay's welcome (default 20 s).
    pub dial: Duration,
    /// Between connection attempts to the addresses of one dial (default 150 ms, RFC 8305 §5).
    pub stagger: Duration,
    /// An address that takes longer for its handshake is given the time, and the others are tried
    /// beside it (default 4 s).
    pub handshake: Duration,
    /// When dials follow each other.
    pub redial: Pace,
    /// How a session proves that it still works.
    pub pings: Pings,
    /// A visitor's whole TLS handshake (default 10 s).
    pub tls_handshake: Duration,
    /// A request's head, the pause between two HTTP/1 requests, and a pause in a body that nobody
    /// wants (default 60 s).
    pub header_read: Duration,
    /// From a request's head to the head of its response, body upload included (default 5 min).
    pub request: Duration,
    /// A visitor's connection on which no byte moves either way (default 3 min).
    pub idle: Duration,
    /// How long running requests may take after the shutdown began (default 10 s).
    pub drain: Duration,
    /// Between looks at the certificates' remaining life (default 1 min).
    pub certificate_check: Duration,
    /// Between looks at the owner's certificate files; new ones are read when two looks in a row
    /// see the same (default 2 s).
    pub certificate_files: Duration,
    /// Between two looks at whether servers behind home can be reached (default 1 min).
    pub upstream_check: Duration,
    /// Between two looks at which devices came (default 1 min), which come more often where
    /// [`Config::silent_after`] is short.
    pub silence_check: Duration,
    /// Between two removals of old history (default 24 h).
    pub prune: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(20),
            stagger: Duration::from_millis(150),
            handshake: Duration::from_secs(4),
            redial: Pace::default(),
            pings: Pings::default(),
            tls_handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(60),
            request: Duration::from_secs(5 * 60),
            idle: Duration::from_secs(3 * 60),
            drain: Duration::from_secs(10),
            certificate_check: Duration::from_secs(60),
            certificate_files: Duration::from_secs(2),
            upstream_check: Duration::from_secs(60),
            silence_check: Duration::from_secs(60),
            prune: Duration::from_secs(24 * 60 * 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What docs/decisions/0006-timings.md says is shipped, and that it keeps what is promised.
    #[test]
    fn shipped_liveness_keeps_the_promises() {
        let timings = Timings::default();
        let pings = [
            timings.pings.idle,
            timings.pings.visited,
            timings.pings.doubt,
        ];
        assert_eq!(pings.map(|it| it.as_secs()), [20, 5, 2]);
        assert_eq!(
            (timings.pings.changed, timings.pings.dead),
            (SECOND, 45 * SECOND)
        );
        let redial = timings.redial;
        let gaps = [redial.min, redial.max, redial.backoff_max, redial.eager];
        assert_eq!(gaps.map(|it| it.as_millis()), [250, 500, 30_000, 300_000]);

        // A relay that listens again has its homes within a second, a dial and its jitter included.
        assert!(redial.max <= SECOND / 2);
        // A mapping that is lost is noticed and replaced within the ping interval and 3 s.
        assert!(timings.pings.doubt + redial.max < 3 * SECOND);
        // A change of the network that the session does not survive costs less than 2 s.
        assert!(timings.pings.changed + redial.max < 2 * SECOND);
        // A session in doubt is given up only after several dials beside it had their chance.
        assert!(timings.pings.dead > timings.pings.idle + timings.pings.doubt + timings.dial);
        // The relay holds a visitor for 5 s: that is enough for a relay that answers slowly.
        assert!(redial.patience + redial.max < 5 * SECOND);
        // A thousand homes of a relay that needs 12 s for them dial no more than three times each.
        assert_eq!(
            (redial.patience, redial.patience_max),
            (2 * SECOND, 8 * SECOND)
        );
        assert!(timings.dial >= 14 * SECOND);
    }
}
