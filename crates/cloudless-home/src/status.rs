//! What a running home knows about itself: tunnels and certificates.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudless_proto::control::Reach;
use cloudless_proto::{Hostname, PinnedKeys, PublicKey, RoundTrip, UpstreamAddress};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::certificate::{CertificateSource, SpkiHash};
use crate::config::{Clock, Relay, unix_ms};
use crate::tunnel::ssh::SshRelay;

/// How a home and one of its relays stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    /// A session is welcomed: visitors come through.
    Connected,
    /// No session; dials are being made.
    Dialing,
    /// The relay answered and refused; the error says what to do.
    Refused,
}

/// How a home and one of its relays speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    /// As relays of cloudless do.
    #[default]
    Tunnel,
    /// By SSH, with a server that knows nothing of cloudless.
    Ssh,
}

/// One relay's row of the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    /// The relay's own name; for an SSH server the name that it has in `known_hosts`.
    pub server_name: String,
    /// How home and relay speak.
    #[serde(default)]
    pub transport: TransportKind,
    /// Connected or not.
    pub state: RelayState,
    /// Since when, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub since: i64,
    /// What is wrong now, and what to do about it. `None` once connected, unless that is in doubt.
    pub error: Option<String>,
    /// What last went wrong, kept when it is over.
    #[serde(default)]
    pub last_error: Option<PastError>,
    /// What needs somebody's attention although it does not concern the connection of now.
    #[serde(default)]
    pub warning: Option<PastError>,
    /// Where the relay was reached; `None` while it is not, and through a proxy, which alone knows.
    #[serde(default)]
    pub address: Option<SocketAddr>,
    /// The proxy through which the relay is dialed, at some of its addresses at least, `host:port`;
    /// `None` where there is none.
    #[serde(default)]
    pub proxy: Option<String>,
    /// The keys by which home trusts the relay, the newest first; several while the relay rotates
    /// its key.
    #[serde(default)]
    pub keys: Vec<PublicKey>,
    /// When the next dial is due, in Unix milliseconds; `None` while none is wanted.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub next_dial: Option<i64>,
    /// How long a ping through the session takes; `None` before the first answer.
    #[serde(default)]
    pub round_trip: Option<RoundTrip>,
    /// The names that the relay says it routes to this home.
    pub hostnames: Vec<Hostname>,
    /// Visitors in this relay's sessions at this moment.
    pub visitors_now: usize,
    /// Visitors since the start.
    pub visitors_total: u64,
    /// Ciphertext bytes from visitors since the start.
    #[serde(default)]
    pub bytes_up: u64,
    /// Ciphertext bytes to visitors since the start.
    #[serde(default)]
    pub bytes_down: u64,
    /// Those of `bytes_up` that came past the tunnel, on legs.
    #[serde(default)]
    pub leg_bytes_up: u64,
    /// Those of `bytes_down` that went past the tunnel, on legs.
    #[serde(default)]
    pub leg_bytes_down: u64,
}

/// An attempt to read home's file again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When it was, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub at: i64,
    /// Why the file was refused, so that what was in force before still is; `None` when it is in
    /// force.
    pub refused: Option<String>,
    /// What takes a restart to be in force, a sentence each.
    pub waiting: Vec<String>,
}

/// CardDAV requests of one kind since the start, local ones included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestStatus {
    /// The method, such as `REPORT`; `other` for those that nobody has heard of.
    pub method: String,
    /// The first digit of the status of the answers.
    pub class: u8,
    /// How many were answered.
    pub count: u64,
}

/// Whether phones reach home under a public name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// Home has reached itself through the relay.
    Online,
    /// Some addresses of the name lead to home and some do not.
    Partly,
    /// Connected to the relay, and no visitor gets here.
    Unreachable,
    /// It cannot be tested from this machine.
    Untested,
    /// Connected a moment ago; the test is under way.
    Checking,
    /// Not connected to a relay.
    Offline,
}

/// One public name's row of the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicStatus {
    /// The name.
    pub hostname: Hostname,
    /// Whether phones reach home.
    pub state: Reachability,
    /// What is wrong and what to do about it.
    pub message: Option<String>,
    /// When it was last tested, in Unix milliseconds.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub checked_at: Option<i64>,
    /// Every address that the name leads to.
    pub addresses: Vec<AddressStatus>,
}

/// One address of a public name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressStatus {
    /// Where a phone connects to.
    pub address: SocketAddr,
    /// Whether that leads to home.
    pub state: Reachability,
    /// What is wrong and what to do about it.
    pub message: Option<String>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastError {
    /// What it was, and what to do about it.
    pub message: String,
    /// When it was last so, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub at: i64,
}

/// The bytes of all visitors of one relay, counted as they move.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
    leg_up: AtomicU64,
    leg_down: AtomicU64,
}

impl Traffic {
    /// So many bytes came from a visitor.
    pub(crate) fn came(&self, length: u64, is_on_leg: bool) {
        self.up.fetch_add(length, Ordering::Relaxed);
        if is_on_leg {
            self.leg_up.fetch_add(length, Ordering::Relaxed);
        }
    }

    /// So many bytes went to a visitor.
    pub(crate) fn went(&self, length: u64, is_on_leg: bool) {
        self.down.fetch_add(length, Ordering::Relaxed);
        if is_on_leg {
            self.leg_down.fetch_add(length, Ordering::Relaxed);
        }
    }
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateKind {
    /// A public authority, by ACME.
    Acme,
    /// The owner's files.
    Files,
    /// Home's own authority.
    #[default]
    Own,
    /// Home's own authority, for devices that trust this very certificate.
    Pinned,
}

impl CertificateKind {
    pub(crate) fn of(source: &CertificateSource) -> Self {
        match source {
            CertificateSource::Acme => Self::Acme,
            CertificateSource::Files(_) => Self::Files,
            CertificateSource::Own => Self::Own,
            CertificateSource::Pinned => Self::Pinned,
        }
    }
}

/// One certificate's row of the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The name it is for.
    pub hostname: Hostname,
    /// Where it comes from.
    #[serde(default)]
    pub kind: CertificateKind,
    /// Start of validity in Unix milliseconds; `None` while there is no valid one.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub valid_from: Option<i64>,
    /// End of validity in Unix milliseconds; `None` while there is no valid one.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub expires_at: Option<i64>,
    /// Who signed it, as it says itself (RFC 4514).
    #[serde(default)]
    pub issuer: Option<String>,
    /// Its serial number, in hexadecimal.
    #[serde(default)]
    pub serial: Option<String>,
    /// Its SHA-256 fingerprint in hexadecimal, to compare with what a device shows.
    #[serde(default)]
    pub sha256: Option<String>,
    /// SHA-256 of its public key, as Certificate Transparency monitors show it.
    #[serde(default)]
    pub spki_sha256: Option<SpkiHash>,
    /// Why there is none, or why it could not be renewed.
    pub error: Option<String>,
    /// How the orders stand, of one from a public authority.
    #[serde(default)]
    pub acme: Option<AcmeStatus>,
}

impl CertificateStatus {
    /// Whether it ends soon and nothing renewed it: home does so with a third of its life left, and who
    /// renews files of their own usually too. What home signs itself, it renews by itself. `now`: Unix
    /// milliseconds.
    pub fn ends_soon(&self, now: i64) -> bool {
        let is_from_outside = matches!(self.kind, CertificateKind::Acme | CertificateKind::Files);
        let (Some(from), Some(until)) = (self.valid_from, self.expires_at) else {
            return false;
        };
        let (life, left) = (until.saturating_sub(from), until.saturating_sub(now));
        is_from_outside && left < life / 6
    }
}

/// How a name's orders at a public authority stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeStatus {
    /// The authority's directory.
    pub directory: String,
    /// The account's URL, for a CAA record's `accounturi`; `None` before there is one.
    pub account: Option<String>,
    /// How the name is proven: `tls-alpn-01` or `http-01`.
    pub method: String,
    /// Whether an order is under way.
    pub is_ordering: bool,
    /// When the next order is planned, in Unix milliseconds.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub next_order: Option<i64>,
    /// Orders that have failed since the last certificate.
    pub failures: u32,
}

/// The row of a hostname whose TLS another server ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthroughStatus {
    /// The name.
    pub hostname: Hostname,
    /// Where its connections go.
    pub address: UpstreamAddress,
    /// Why the last one did not get there; `None` when it did, and before the first.
    pub error: Option<String>,
}

/// The row of a server behind home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// The name whose requests it gets; `None` for all names that home answers itself.
    pub hostname: Option<Hostname>,
    /// Where in the name's paths it begins.
    pub path: String,
    /// Where it is.
    pub server: String,
    /// Why it was not reached the last time; `None` when it was, and before the first.
    pub error: Option<String>,
    /// What last went wrong, kept when it is over.
    pub last_error: Option<PastError>,
    /// Requests and WebSockets under way.
    pub requests_now: usize,
    /// Requests since the start.
    pub requests_total: u64,
    /// Those that the server did not answer, or not to the end.
    pub failures_total: u64,
}

/// The rows as they are now, written by the tunnels and the certificate timer.
#[derive(Clone)]
pub(crate) struct Board {
    relays: Arc<Mutex<BTreeMap<usize, RelayStatus>>>,
    traffic: Arc<Vec<Arc<Traffic>>>,
    /// Changes with each new session, and each time that one is lost or in doubt or trusted again.
    sessions: Arc<watch::Sender<()>>,
    /// Whether phones get here, for the relays' status, too.
    reaches: Arc<watch::Sender<Reaches>>,
    /// Since when there is no session with any relay.
    alone: Arc<Mutex<Option<Alone>>>,
    clock: Clock,
}

/// What a relay is told of each name.
pub(crate) type Reaches = BTreeMap<Hostname, (Reach, Option<String>)>;

/// When the last session with a relay ended, or home started.
#[derive(Clone, Copy)]
struct Alone {
    /// In Unix milliseconds.
    since: i64,
    /// On a clock that stands while the machine sleeps.
    begun: Instant,
}

impl Board {
    pub(crate) fn new(relays: &[Relay], ssh_relays: &[SshRelay], clock: Clock) -> Self {
        let since = unix_ms(clock());
        let own = |relay: &Relay| (relay.server_name.to_string(), TransportKind::Tunnel);
        let ssh = |relay: &SshRelay| (relay.name(), TransportKind::Ssh);
        let relays = relays.iter().map(own).chain(ssh_relays.iter().map(ssh));
        let relays: Vec<_> = relays.collect();
        let traffic = relays.iter().map(|_| Arc::default()).collect();
        let rows = relays
            .into_iter()
            .map(|(server_name, transport)| RelayStatus {
                server_name,
                transport,
                state: RelayState::Dialing,
                since,
                error: None,
                last_error: None,
                warning: None,
                address: None,
                proxy: None,
                keys: Vec::new(),
                next_dial: None,
                round_trip: None,
                hostnames: Vec::new(),
                visitors_now: 0,
                visitors_total: 0,
                bytes_up: 0,
                bytes_down: 0,
                leg_bytes_up: 0,
                leg_bytes_down: 0,
            });
        Self {
            relays: Arc::new(Mutex::new(rows.enumerate().collect())),
            traffic: Arc::new(traffic),
            sessions: Arc::default(),
            reaches: Arc::default(),
            alone: Arc::new(Mutex::new(Some(Alone {
                since,
                begun: Instant::now(),
            }))),
            clock,
        }
    }

    /// The relay at `index` is in `state`, whose `since` is kept if it was before. Returns whether
    /// this is worth telling: another state, or the first error in it.
    pub(crate) fn set(&self, index: usize, state: RelayState, error: Option<String>) -> bool {
        let now = unix_ms((self.clock)());
        let is_well = |row: &RelayStatus| row.state == RelayState::Connected && row.error.is_none();
        let (mut is_news, mut was_well, mut is_well_now) = (false, false, false);
        self.change(index, |row| {
            is_news = row.state != state || (row.error.is_none() && error.is_some());
            was_well = is_well(row);
            if row.state != state {
                row.since = now;
                row.state = state;
            }
            if state != RelayState::Connected {
                row.address = None;
                row.round_trip = None;
            }
            if let Some(message) = error.clone() {
                row.last_error = Some(PastError { message, at: now });
            }
            row.error = error;
            is_well_now = is_well(row);
        });
        if was_well != is_well_now {
            self.sessions.send_replace(());
        }
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        *alone = match *alone {
            _ if self.is_connected() => None,
            None => Some(Alone {
                since: now,
                begun: Instant::now(),
            }),
            known => known,
        };
        is_news
    }

    /// Since when there is no session with any relay, in Unix milliseconds, where this machine has been
    /// awake for so long without one.
    pub(crate) fn alone_for(&self, time: Duration) -> Option<i64> {
        let alone = *self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = alone.filter(|it| it.begun.elapsed() >= time && !self.lock().is_empty());
        alone.map(|it| it.since)
    }

    /// Home trusts the relay by these keys.
    pub(crate) fn keys(&self, index: usize, keys: &PinnedKeys) {
        self.change(index, |row| row.keys = keys.keys().to_owned());
    }

    /// The relay is dialed through the proxy at `address`, a `host:port`.
    pub(crate) fn proxied(&self, index: usize, address: &str) {
        self.change(index, |row| row.proxy = Some(address.to_owned()));
    }

    /// Something is wrong that leaves the connection as it is. Returns whether it is worth telling:
    /// something else than before.
    pub(crate) fn warn(&self, index: usize, message: &str) -> bool {
        let at = unix_ms((self.clock)());
        let mut is_news = false;
        self.change(index, |row| {
            is_news = row.warning.as_ref().is_none_or(|it| it.message != message);
            let message = message.to_owned();
            row.warning = Some(PastError { message, at });
        });
        is_news
    }

    /// Nothing of that kind is wrong any more.
    pub(crate) fn calm(&self, index: usize) {
        self.change(index, |row| row.warning = None);
    }

    /// The session now goes to `address`.
    pub(crate) fn reached(&self, index: usize, address: Option<SocketAddr>) {
        self.change(index, |row| {
            row.address = address;
            row.round_trip = None;
        });
        self.sessions.send_replace(());
    }

    /// Tells of each new session, and of each that is lost or in doubt or trusted again.
    pub(crate) fn sessions(&self) -> watch::Receiver<()> {
        self.sessions.subscribe()
    }

    /// What each relay is to know of the names. None where home does not try them.
    pub(crate) fn reaches(&self) -> watch::Receiver<Reaches> {
        self.reaches.subscribe()
    }

    /// Lets the relays know.
    pub(crate) fn set_reaches(&self, reaches: Reaches) {
        self.reaches.send_if_modified(|before| {
            let is_news = *before != reaches;
            *before = reaches;
            is_news
        });
    }

    /// Whether visitors come through any relay.
    pub(crate) fn is_connected(&self) -> bool {
        let is_connected = |row: &RelayStatus| row.state == RelayState::Connected;
        self.lock().values().any(is_connected)
    }

    /// A ping was answered after this time.
    pub(crate) fn measured(&self, index: usize, time: Duration) {
        self.change(index, |row| {
            row.round_trip = Some(RoundTrip::after(row.round_trip, time));
        });
    }

    /// The next dial is due after this time, if one is wanted.
    pub(crate) fn next_dial(&self, index: usize, wait: Option<Duration>) {
        let now = unix_ms((self.clock)());
        let at = wait
            .map(|wait| now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
        self.change(index, |row| row.next_dial = at);
    }

    /// Where the bytes of the relay's visitors are counted.
    pub(crate) fn traffic(&self, index: usize) -> Arc<Traffic> {
        self.traffic.get(index).cloned().unwrap_or_default()
    }

    pub(crate) fn hostnames(&self, index: usize, hostnames: Vec<Hostname>) {
        self.change(index, |row| row.hostnames = hostnames);
    }

    /// Counts a visitor until the returned value is dropped.
    pub(crate) fn visitor(&self, index: usize) -> VisitorCount {
        self.change(index, |row| {
            row.visitors_now += 1;
            row.visitors_total += 1;
        });
        VisitorCount {
            board: self.clone(),
            index,
        }
    }

    pub(crate) fn relays(&self) -> Vec<RelayStatus> {
        let mut rows: Vec<RelayStatus> = self.lock().values().cloned().collect();
        for (row, traffic) in rows.iter_mut().zip(self.traffic.iter()) {
            row.bytes_up = traffic.up.load(Ordering::Relaxed);
            row.bytes_down = traffic.down.load(Ordering::Relaxed);
            row.leg_bytes_up = traffic.leg_up.load(Ordering::Relaxed);
            row.leg_bytes_down = traffic.leg_down.load(Ordering::Relaxed);
        }
        rows
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut RelayStatus)) {
        if let Some(row) = self.lock().get_mut(&index) {
            change(row);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, RelayStatus>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct VisitorCount {
    board: Board,
    index: usize,
}

impl Drop for VisitorCount {
    fn drop(&mut self) {
        self.board.change(self.index, |row| row.visitors_now -= 1);
    }
}

/// The error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(if text.ends_with('?') { " " } else { ": " });
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
