//! Home reaches itself from outside: under its public names, at every address that they lead to,
//! through the relay. Only when that works is home called online.

mod arrivals;
mod attempt;
mod schedule;
mod verdict;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::control::Reach;
use rustls::ClientConfig;
use tokio::net::lookup_host;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use arrivals::Arrivals;
use schedule::Schedule;
use verdict::{Attempt, View, judge};

use crate::config::{Clock, unix_ms};
use crate::status::{Board, PublicStatus, Reachability};

/// More addresses of a name than this are left out.
const ADDRESSES_MAX: usize = 8;

/// How home tries its public names.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Where the names lead.
    pub resolver: Resolver,
    /// Between two rounds while all is well (default 5 min); a tenth of it otherwise.
    pub interval: Duration,
    /// A new session is tested within this time (default 2 s).
    pub soon: Duration,
    /// How long one address may take to be connected to, and as long again to answer (default
    /// 10 s, which is longer than a relay holds a visitor).
    pub limit: Duration,
    /// Whoever asks how it stands is told what was found out no longer ago than this (default 30 s).
    pub fresh: Duration,
    /// Nobody who asks waits longer for a new try (default 3 s).
    pub look: Duration,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            resolver: Resolver::System,
            interval: Duration::from_secs(5 * 60),
            soon: Duration::from_secs(2),
            limit: Duration::from_secs(10),
            fresh: Duration::from_secs(30),
            look: Duration::from_secs(3),
        }
    }
}

/// Who says where a public name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// The system's resolver, at the public port.
    System,
    /// All names lead to these addresses: for names that are not in the DNS.
    Fixed(Vec<SocketAddr>),
}

/// Tries the names in rounds and keeps what came of it.
pub(crate) struct Prober {
    config: ProbeConfig,
    hostnames: Vec<Hostname>,
    port: u16,
    is_proxied: bool,
    board: Board,
    clock: Clock,
    arrivals: Arc<Arrivals>,
    tls: Arc<ClientConfig>,
    rows: Mutex<BTreeMap<Hostname, PublicStatus>>,
    /// What the log said last of each name: a session that comes and goes is no news of it.
    told: Mutex<BTreeMap<Hostname, Reachability>>,
    asked: Notify,
    /// Counts the rounds that were begun and that are over.
    rounds: watch::Sender<Rounds>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    begun: u64,
    done: u64,
    /// When the last one was over.
    last: Option<Instant>,
}

impl Prober {
    pub(crate) fn new(
        config: ProbeConfig,
        hostnames: Vec<Hostname>,
        port: u16,
        is_proxied: bool,
        board: Board,
        clock: Clock,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            config,
            hostnames,
            port,
            is_proxied,
            board,
            clock,
            arrivals: Arc::default(),
            tls: attempt::client_config()?,
            rows: Mutex::default(),
            told: Mutex::default(),
            asked: Notify::new(),
            rounds: watch::Sender::default(),
        })
    }

    /// Who looks out for the probes among the visitors.
    pub(crate) fn arrivals(&self) -> Arc<Arrivals> {
        self.arrivals.clone()
    }

    /// A row for each name.
    pub(crate) fn status(&self) -> Vec<PublicStatus> {
        let rows = self.rows();
        let is_connected = self.board.is_connected();
        let row = |hostname: &Hostname| match rows.get(hostname) {
            Some(row) if is_connected => row.clone(),
            _ => PublicStatus {
                hostname: hostname.clone(),
                state: if is_connected {
                    Reachability::Checking
                } else {
                    Reachability::Offline
                },
                message: None,
                checked_at: None,
                addresses: Vec::new(),
            },
        };
        self.hostnames.iter().map(row).collect()
    }

    /// Asks for a round now and waits until it is over.
    pub(crate) async fn check(&self) {
        let mut rounds = self.rounds.subscribe();
        // A round that is under way may have looked before the question was asked.
        let wanted = rounds.borrow_and_update().begun + 1;
        self.asked.notify_one();
        // The sender is this prober's own.
        let _ = rounds.wait_for(|rounds| rounds.done >= wanted).await;
    }

    /// Somebody looks: what was found out a while ago is looked at again, for a moment at most. What
    /// takes longer than that is not known.
    pub(crate) async fn refresh(&self) {
        let last = self.rounds.borrow().last;
        let is_fresh = last.is_none_or(|last| last.elapsed() < self.config.fresh);
        if !is_fresh && timeout(self.config.look, self.check()).await.is_err() {
            // Nothing that a relay would have to know: it goes by the last round that came to its end.
            self.rows().clear();
        }
    }

    /// Tries the names when that is due, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut sessions = self.board.sessions();
        let mut schedule = Schedule::new(self.config.interval, self.config.soon);
        if self.board.is_connected() {
            schedule.connected(now(), random());
        }
        loop {
            let due = schedule.next().map(Instant::from_std);
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = sessions.changed() => {
                    // What was true of the sessions before is not known of these.
                    self.forget();
                    schedule.connected(now(), random());
                }
                () = self.asked.notified() => schedule.asked(now()),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.rounds.send_modify(|rounds| rounds.begun += 1);
                    let is_well = tokio::select! {
                        () = stop.cancelled() => return,
                        Ok(()) = sessions.changed() => {
                            self.forget();
                            schedule.connected(now(), random());
                            continue;
                        }
                        is_well = self.round() => is_well,
                    };
                    schedule.done(now(), is_well, random());
                    self.rounds.send_modify(|rounds| {
                        rounds.done = rounds.begun;
                        rounds.last = Some(Instant::now());
                    });
                }
            }
        }
    }

    /// Tries all names once; `None` without a session. Says whether all is well.
    async fn round(&self) -> Option<bool> {
        let mut is_well = true;
        for hostname in &self.hostnames {
            if !self.board.is_connected() {
                return None;
            }
            let attempts = self.attempts(hostname).await;
            let relays = self.relay_addresses();
            let verdict = judge(&View {
                hostname,
                relays: &relays,
                is_proxied: self.is_proxied,
                attempts: attempts.as_deref().map_err(String::as_str),
            });
            is_well &= verdict.state == Reachability::Online;
            let row = PublicStatus {
                hostname: hostname.clone(),
                state: verdict.state,
                message: verdict.message,
                checked_at: Some(unix_ms((self.clock)())),
                addresses: verdict.addresses,
            };
            self.rows().insert(hostname.clone(), row.clone());
            self.publish(&row);
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.insert(hostname.clone(), row.state) != Some(row.state) {
                tell(&row);
            }
        }
        Some(is_well)
    }

    /// Resolves a name and tries all of its addresses at once.
    async fn attempts(&self, hostname: &Hostname) -> Result<Vec<(SocketAddr, Attempt)>, String> {
        let limit = self.config.limit;
        let addresses: Vec<SocketAddr> = match &self.config.resolver {
            Resolver::Fixed(addresses) => addresses.clone(),
            Resolver::System => {
                let lookup = lookup_host((hostname.as_str(), self.port));
                let found = timeout(limit, lookup)
                    .await
                    .map_err(|_| "the DNS does not answer".to_owned())?;
                found.map_err(|error| error.to_string())?.collect()
            }
        };
        let mut attempts = JoinSet::new();
        for (index, address) in addresses.into_iter().take(ADDRESSES_MAX).enumerate() {
            let (hostname, arrivals, tls) =
                (hostname.clone(), self.arrivals.clone(), self.tls.clone());
            attempts.spawn(async move {
                let attempt = attempt::attempt(&hostname, address, &arrivals, tls, limit).await;
                (index, address, attempt)
            });
        }
        let mut attempts = attempts.join_all().await;
        attempts.sort_by_key(|(index, ..)| *index);
        let attempts = attempts.into_iter();
        Ok(attempts
            .map(|(_, address, attempt)| (address, attempt))
            .collect())
    }

    /// What was found out is not known any more.
    fn forget(&self) {
        self.rows().clear();
        let checking = |name: &Hostname| (name.clone(), (Reach::Checking, None));
        self.board
            .set_reaches(self.hostnames.iter().map(checking).collect());
    }

    /// Lets the relays know what was found out of a name.
    fn publish(&self, row: &PublicStatus) {
        let reach = match row.state {
            Reachability::Online => Reach::Works,
            Reachability::Partly => Reach::Partly,
            Reachability::Unreachable => Reach::Fails,
            Reachability::Untested => Reach::Untested,
            Reachability::Checking | Reachability::Offline => Reach::Checking,
        };
        // What else could be said of this network is not a relay's to know.
        let is_wrong = matches!(reach, Reach::Fails | Reach::Partly);
        let message = row.message.clone().filter(|_| is_wrong);
        let mut reaches = self.board.reaches().borrow().clone();
        reaches.insert(row.hostname.clone(), (reach, message));
        self.board.set_reaches(reaches);
    }

    fn relay_addresses(&self) -> Vec<IpAddr> {
        let rows = self.board.relays();
        let addresses = rows.iter().filter_map(|row| row.address);
        addresses
            .map(|address| address.ip().to_canonical())
            .collect()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<Hostname, PublicStatus>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(row: &PublicStatus) {
    match row.state {
        Reachability::Online => tracing::info!("A public name leads to this home"),
        Reachability::Unreachable | Reachability::Partly => {
            tracing::warn!("A public name does not lead to this home; see `cloudless home status`");
        }
        Reachability::Checking | Reachability::Offline | Reachability::Untested => {}
    }
    tracing::debug!(hostname = %row.hostname, state = ?row.state, message = row.message, "Probed");
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A number in `[0, 1)` for spreading out rounds, where nothing depends on its quality.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |random| {
        f64::from(random) / (f64::from(u32::MAX) + 1.0)
    })
}
