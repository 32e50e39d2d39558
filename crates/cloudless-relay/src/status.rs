//! What the relay counts, and the report made of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use cloudless_proto::{Hostname, PublicKey, RoundTrip, UpstreamAddress};
use serde::{Deserialize, Serialize};

use crate::home_key::HomeKey;
use crate::home_share::HomeShare;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::strangers::Arrival;
use crate::visitors::Seat;

/// A report on the whole relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether a relay process answered; `false` when the report comes from the state files alone.
    pub running: bool,
    /// The relay's own name.
    pub server_name: Hostname,
    /// The relay's software, `cloudless/VERSION`.
    pub software: String,
    /// When the process started, Unix time in seconds. `None` when not running.
    #[serde(default, with = "cloudless_proto::rfc3339::seconds::option")]
    pub since: Option<u64>,
    /// What came of the last attempt to read the files again; `None` when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadStatus>,
    /// How often the files were read again since the start.
    #[serde(default)]
    pub reloads: Reloads,
    /// How homes know the relay.
    #[serde(default)]
    pub key: Option<KeyStatus>,
    /// How SSH clients reach the relay; `None` when it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshStatus>,
    /// Every bound hostname, sorted.
    pub homes: Vec<HomeStatus>,
    /// Sums over all homes.
    pub totals: Totals,
    /// The servers beside the relay that connections are passed to; empty when not running.
    #[serde(default)]
    pub servers: Vec<ServerStatus>,
    /// Names with a route of their own that belong to homes: no connection takes the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes_idle: Vec<Hostname>,
    /// How connections ended up, counted by class since the process started: see [`Outcome`].
    pub outcomes: BTreeMap<String, u64>,
}

/// How homes that are SSH clients reach the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshStatus {
    /// The hosts to dial.
    pub hosts: Vec<String>,
    /// The port to dial.
    pub port: u16,
    /// The relay's host key, algorithm and key as known_hosts has them.
    pub host_key: String,
    /// What `ssh` shows of it.
    pub fingerprint: String,
}

/// The keys that the relay proves to homes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// The one in force; while it is rotated the one that goes.
    pub key: PublicKey,
    /// The rotation that is under way.
    pub rotation: Option<RotationStatus>,
}

/// A change of the relay's key that is under way: both keys are proven to homes meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationStatus {
    /// The key that comes.
    pub next: PublicKey,
    /// When it was made, Unix time in seconds.
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    pub started: u64,
    /// When the other key goes, Unix time in seconds.
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    pub until: u64,
    /// How many homes there are, whatever the number of their names.
    pub homes: usize,
    /// How many of them are known to trust the relay by the next key.
    pub homes_aware: usize,
}

/// How often the relay's files were read again since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloads {
    /// And are in force.
    pub taken: u64,
    /// And could not be used.
    pub refused: u64,
}

/// An attempt to read the relay's files again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When it was, Unix time in seconds.
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    pub at: u64,
    /// Why the files were refused, so that what was in force before still is; `None` when they are
    /// in force.
    pub refused: Option<String>,
    /// What takes a restart to be in force, a sentence each.
    pub waiting: Vec<String>,
}

/// A report on a server beside the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Where it listens.
    pub address: UpstreamAddress,
    /// Since when it is reached, or is not, Unix time in seconds.
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    pub since: u64,
    /// Why it cannot be reached; `None` when it can.
    pub error: Option<String>,
    /// The homes' names that its certificate covers, so that browsers may ask it for them over a
    /// connection that they have for another name.
    #[serde(default)]
    pub covers: Vec<Hostname>,
}

/// A report on one hostname.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeStatus {
    /// The bound name.
    pub hostname: Hostname,
    /// The home's key, which tells by its form what reaches the relay.
    pub key: HomeKey,
    /// Whether the home's tunnel is up and, as far as somebody looks, visitors are answered under this
    /// name. The relay looks where the home is an SSH client; any other home tries its names from
    /// outside, and tells.
    pub online: bool,
    /// What came of the last look at that. `None` when there was none yet in this session, and when
    /// nobody looks. Beside an error a name is still online where only some of its addresses fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeStatus>,
    /// Whether the home is known to trust the relay by its next key. `None` while the relay's key is
    /// not rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knows_next_key: Option<bool>,
    /// Since when its tunnel is up and takes visitors of this name, Unix time in seconds; an SSH client
    /// may have had others forwarded. `None` when offline.
    #[serde(default, with = "cloudless_proto::rfc3339::seconds::option")]
    pub since: Option<u64>,
    /// How long a ping through the tunnel takes. `None` when offline, and before the first answer.
    #[serde(default)]
    pub round_trip: Option<RoundTrip>,
    /// Why the home's tunnel last ended or was refused, or an SSH client took no visitor, and when.
    /// `None` if it never was so.
    #[serde(default)]
    pub last_error: Option<PastError>,
    /// Visitors connected at this moment.
    pub visitors_now: u64,
    /// Visitors since the process started.
    pub visitors_total: u64,
    /// Ciphertext bytes from visitors to the home since the process started.
    pub bytes_up: u64,
    /// Ciphertext bytes from the home to visitors since the process started.
    pub bytes_down: u64,
    /// Legs at this moment, those included that are offered but not made yet.
    pub legs_now: u64,
    /// Legs that visitors went on on since the process started.
    pub legs_total: u64,
    /// Those of `bytes_up` that went past the tunnel, on legs.
    pub leg_bytes_up: u64,
    /// Those of `bytes_down` that came past the tunnel, on legs.
    pub leg_bytes_down: u64,
    /// The server name in the last visitor's ClientHello: all that the relay can read.
    pub last_server_name: Option<Hostname>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastError {
    /// What it was, in plain words.
    pub message: String,
    /// When it was last so, Unix time in seconds.
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    pub at: u64,
}

/// A look at whether a home answers visitors of a name, as one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// When it was, or since when a home tells so, Unix time in seconds.
    #[serde(with = "cloudless_proto::rfc3339::seconds")]
    pub at: u64,
    /// Why it does not, in plain words; `None` when it does.
    pub error: Option<String>,
}

/// Sums over all homes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tunnels that are up.
    pub sessions_now: u64,
    /// Visitors connected at this moment.
    pub visitors_now: u64,
    /// Visitors since the process started.
    pub visitors_total: u64,
    /// Ciphertext bytes from visitors to homes since the process started.
    pub bytes_up: u64,
    /// Ciphertext bytes from homes to visitors since the process started.
    pub bytes_down: u64,
}

/// The counters of a running relay.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) since: u64,
    outcomes: Mutex<BTreeMap<Outcome, u64>>,
    homes: Mutex<HashMap<Hostname, Arc<HomeCounters>>>,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            since: unix_now(),
            outcomes: Mutex::default(),
            homes: Mutex::default(),
        }
    }

    /// Counts one connection under the class of what became of it.
    pub(crate) fn count(&self, outcome: Outcome) {
        tracing::debug!(class = outcome.name(), "Connection classified");
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        *outcomes.entry(outcome).or_default() += 1;
    }

    /// The counters of a bound hostname. Never call this with a name that a peer made up.
    pub(crate) fn of(&self, hostname: &Hostname) -> Arc<HomeCounters> {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(homes.entry(hostname.clone()).or_default())
    }

    /// Drops what is known about a name that is bound no longer.
    pub(crate) fn forget(&self, hostname: &Hostname) {
        self.homes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(hostname);
    }

    pub(crate) fn outcomes(&self) -> BTreeMap<String, u64> {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes
            .iter()
            .map(|(outcome, count)| (outcome.name().to_owned(), *count))
            .collect()
    }
}

/// The counters of one hostname.
#[derive(Debug, Default)]
pub(crate) struct HomeCounters {
    pub(crate) visitors_now: AtomicU64,
    pub(crate) visitors_total: AtomicU64,
    pub(crate) bytes_up: AtomicU64,
    pub(crate) bytes_down: AtomicU64,
    pub(crate) legs_now: AtomicU64,
    pub(crate) legs_total: AtomicU64,
    pub(crate) leg_bytes_up: AtomicU64,
    pub(crate) leg_bytes_down: AtomicU64,
    last_server_name: Mutex<Option<Hostname>>,
    last_error: Mutex<Option<PastError>>,
}

impl HomeCounters {
    /// The home's tunnel ended or was refused, or a visitor was, for a reason that is put in plain words.
    /// Returns whether it is another one than the last time.
    pub(crate) fn failed(&self, message: &str) -> bool {
        let error = PastError {
            message: message.to_owned(),
            at: unix_now(),
        };
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_news = last.as_ref().is_none_or(|it| it.message != message);
        *last = Some(error);
        is_news
    }

    pub(crate) fn last_error(&self) -> Option<PastError> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Counts a leg until the guard is dropped.
    pub(crate) fn leg(self: &Arc<Self>) -> LegCount {
        self.legs_now.fetch_add(1, Ordering::Relaxed);
        LegCount(Arc::clone(self))
    }

    pub(crate) fn last_server_name(&self) -> Option<Hostname> {
        self.last_server_name
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// One counted visitor.
#[derive(Debug)]
pub(crate) struct Visit {
    counters: Arc<HomeCounters>,
    home: Arc<HomeShare>,
    seat: Seat,
    arrival: Arrival,
}

impl Visit {
    /// Counts a visitor of `server_name` until this is dropped.
    pub(crate) fn new(
        counters: Arc<HomeCounters>,
        server_name: &Hostname,
        home: Arc<HomeShare>,
        (seat, arrival): (Seat, Arrival),
    ) -> Self {
        counters.visitors_now.fetch_add(1, Ordering::Relaxed);
        counters.visitors_total.fetch_add(1, Ordering::Relaxed);
        *counters
            .last_server_name
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(server_name.clone());
        Self {
            counters,
            home,
            seat,
            arrival,
        }
    }

    /// Those of the name that was asked for.
    pub(crate) fn counters(&self) -> &Arc<HomeCounters> {
        &self.counters
    }

    /// What this and all other visitors of the home take together.
    pub(crate) fn home(&self) -> &HomeShare {
        &self.home
    }

    /// Waits until its home may be troubled with it, which is at once unless too many strangers begin;
    /// returns whether it had to.
    pub(crate) async fn begin(&self, relay: &Relay) -> bool {
        let has_waited = self.arrival.begin(relay).await;
        self.seat.begin();
        has_waited
    }

    /// Its home is not troubled with it after all.
    pub(crate) fn gives_up(&self) {
        self.arrival.gives_up();
    }

    /// Its home is troubled with it, for which it needs no turn.
    pub(crate) fn begins_at_once(&self) {
        self.seat.begin();
    }

    /// Counts bytes that went from the visitor to the home.
    pub(crate) fn moved_up(&self, n: u64) {
        self.counters.bytes_up.fetch_add(n, Ordering::Relaxed);
        self.seat.moved_up(n);
    }

    /// Counts bytes that went from the home to the visitor.
    pub(crate) fn moved_down(&self, n: u64) {
        self.counters.bytes_down.fetch_add(n, Ordering::Relaxed);
        if self.seat.moved_down(n) {
            self.arrival.talks();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.counters.visitors_now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One counted leg.
#[derive(Debug)]
pub(crate) struct LegCount(Arc<HomeCounters>);

impl Drop for LegCount {
    fn drop(&mut self) {
        self.0.legs_now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Unix time in seconds.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}
