//! Keeps watch over the names while home runs, and lets certificates be ordered or not.

mod alarm;
mod kept;
mod order;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::trust::zone::{self, Observation, RelaySite, Trap, Verdict};
use cloudless_proto::trust::{Level, is_special_use};
use cloudless_store::Device;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(crate) use self::alarm::Alarm;
use self::alarm::Elsewhere;
use self::kept::{Kept, KeptName, accept, read, write};
pub use self::kept::{TrustError, accept_key};
use super::TrustConfig;
use super::dns::Dns;
use super::fetch::Fetcher;
use super::relays::Relays;
use super::report::{Findings, NameReport, assign, report, wanted};
use super::transparency::{Monitor, Schedule, Transparency, take_in};
use crate::certificate::{CertificateSource, KeyRecord, read_ledger};
use crate::config::{Clock, Config, unix_ms};
use crate::proxy::Proxy;
use crate::status::{Board, chain};

/// Between two looks at a name that is well protected, and at one that is not.
const LOOK: Duration = Duration::from_secs(60 * 60);
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The longest sleep between two looks at what is due.
const PACE: Duration = Duration::from_secs(60);

/// What is known while home runs.
#[derive(Default)]
struct State {
    kept: Kept,
    observed: BTreeMap<Hostname, Observation>,
    /// When the logs told everything of a name, on a clock that stands while the machine sleeps.
    heard: BTreeMap<Hostname, Instant>,
    relay: RelaySite,
    skew: Option<i64>,
}

/// Gives the hashes of the keys that home has made, in lower-case hexadecimal.
type Ledger = Arc<dyn Fn() -> Result<HashSet<String>, String> + Send + Sync>;

/// The watch over all names.
pub(crate) struct Trust {
    config: TrustConfig,
    hostnames: Vec<Hostname>,
    /// Those of them that demand a client certificate.
    demanding: BTreeSet<Hostname>,
    /// Those whose very certificate devices trust.
    trusted_alone: BTreeSet<Hostname>,
    relays: Relays,
    dns: Dns,
    transparency: Option<Transparency>,
    ledger: Ledger,
    path: PathBuf,
    clock: Clock,
    state: Mutex<State>,
    /// Two looks at the logs at once would lose what one of them found.
    looking: tokio::sync::Mutex<()>,
    /// The webhook is told one thing after another, and each once.
    telling: tokio::sync::Mutex<()>,
    elsewhere: OnceLock<Elsewhere>,
    started: Instant,
}

/// Everything a [`Trust`] is made of.
struct Parts {
    config: TrustConfig,
    hostnames: Vec<Hostname>,
    demanding: BTreeSet<Hostname>,
    trusted_alone: BTreeSet<Hostname>,
    relays: Relays,
    state_dir: PathBuf,
    proxy: Option<Proxy>,
    ledger: Ledger,
    clock: Clock,
}

impl Trust {
    /// The watch that a home's config asks for, if it does. Names whose certificate is on another
    /// server are that server's matter. Blocks on the disk.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, TrustError> {
        let Some(trust) = config.trust.clone() else {
            return Ok(None);
        };
        let is_own = |hostname: &&Hostname| {
            let elsewhere = config.passthrough.get(*hostname);
            elsewhere.is_none_or(|it| it.tls.is_none())
        };
        let is_pinned = |hostname: &&Hostname| {
            let source = config.certificates.get(*hostname);
            matches!(source, Some(CertificateSource::Pinned))
        };
        let state_dir = config.state_dir.clone();
        let ledger = move || {
            let keys = read_ledger(&state_dir).map_err(|error| chain(&error))?;
            let hash = |key: KeyRecord| key.spki_sha256.as_str().to_owned();
            Ok(keys.into_iter().map(hash).collect())
        };
        let trust = Self::new(Parts {
            config: trust,
            hostnames: config.hostnames.iter().filter(is_own).cloned().collect(),
            demanding: config.client_certificates.clone(),
            trusted_alone: config.hostnames.iter().filter(is_pinned).cloned().collect(),
            relays: Relays::of(config),
            state_dir: config.state_dir.clone(),
            proxy: config.proxy.clone(),
            ledger: Arc::new(ledger),
            clock: config.clock.clone(),
        })?;
        let is_ordered = |hostname: &&Hostname| {
            let source = config.certificates.get(*hostname);
            matches!(source, Some(CertificateSource::Acme))
        };
        if let Some(acme) = &config.acme {
            let names = trust.hostnames.iter().filter(is_ordered);
            names.for_each(|hostname| trust.catch_up(hostname, &config.state_dir, acme));
        }
        Ok(Some(trust))
    }

    /// Reads what is kept. Blocks on the disk.
    fn new(parts: Parts) -> Result<Self, TrustError> {
        let Parts {
            config,
            hostnames,
            demanding,
            trusted_alone,
            relays,
            state_dir,
            proxy,
            ledger,
            clock,
        } = parts;
        let path = kept::file_in(&state_dir);
        let kept = read(&path)?;
        let transparency = match config.transparency.clone() {
            Some(config) => {
                let fetcher = Fetcher::new(&config.roots, proxy, clock.clone());
                let fetcher = fetcher.map_err(TrustError::Tls)?;
                Some(Transparency { config, fetcher })
            }
            None => None,
        };
        Ok(Self {
            dns: Dns::new(&config.dns)?,
            config,
            hostnames,
            demanding,
            trusted_alone,
            relays,
            transparency,
            ledger,
            path,
            clock,
            state: Mutex::new(State {
                kept,
                ..State::default()
            }),
            looking: tokio::sync::Mutex::new(()),
            telling: tokio::sync::Mutex::new(()),
            elsewhere: OnceLock::new(),
            started: Instant::now(),
        })
    }

    /// Takes a relay that cannot be looked up to be where its session goes, from now on.
    pub(crate) fn follow(&self, board: Board) {
        self.relays.follow(board);
    }

    /// Whether visitors are served under a name. A name whose level does not hold is not; a look
    /// that saw nothing, such as without a network, changes nothing.
    pub(crate) fn is_served(&self, hostname: &Hostname) -> bool {
        if self.is_free(hostname) {
            return true;
        }
        let state = self.state();
        state
            .kept
            .names
            .get(hostname)
            .is_some_and(|it| it.is_protected)
    }

    /// What is known of all names, without a look.
    pub(crate) fn reports(&self) -> Vec<NameReport> {
        let state = self.state();
        let report = |hostname| self.report(&state, hostname);
        self.hostnames.iter().map(report).collect()
    }

    /// Looks at all names now.
    pub(crate) async fn look_at_all(&self) {
        for hostname in &self.hostnames {
            self.look(hostname).await;
        }
    }

    /// Says that a key is the owner's.
    pub(crate) fn accept(&self, key: &str) -> Result<(), TrustError> {
        let mut state = self.state();
        accept(&mut state.kept, key);
        write(&self.path, &state.kept)
    }

    /// Keeps watch until `shutdown`.
    pub(crate) async fn keep(self: Arc<Self>, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep_watch() => {}
        }
    }

    async fn keep_watch(&self) {
        let start = Instant::now();
        let mut looks: BTreeMap<&Hostname, Instant> = BTreeMap::new();
        let mut schedules: BTreeMap<(&Hostname, Monitor), Schedule> = BTreeMap::new();
        let mut tells = Schedule::default();
        let mut is_silent = false;
        let watched = || self.hostnames.iter().filter(|it| !is_special_use(it));
        loop {
            for hostname in watched().filter(|it| !self.is_free(it)) {
                if looks.get(hostname).is_none_or(|due| *due <= Instant::now()) {
                    self.look(hostname).await;
                    let pace = if self.is_served(hostname) {
                        LOOK
                    } else {
                        LOOK_AGAIN
                    };
                    looks.insert(hostname, Instant::now() + pace);
                }
            }
            for hostname in watched() {
                for monitor in Monitor::ALL {
                    let Some(transparency) = self.transparency.as_ref() else {
                        continue;
                    };
                    if !transparency.has(monitor) {
                        continue;
                    }
                    let schedule = schedules.entry((hostname, monitor)).or_default();
                    if !schedule.is_due(start.elapsed()) {
                        continue;
                    }
                    let failed = self.ask_logs(transparency, monitor, hostname).await;
                    let (now, random) = (start.elapsed(), random());
                    let interval = transparency.interval(monitor);
                    match failed {
                        Ok(()) => schedule.succeeded(now, interval, random),
                        Err(retry_after) => {
                            let waits = (transparency.config.backoff, interval);
                            schedule.failed(now, waits, retry_after, random);
                        }
                    }
                    self.tell_when_due(&mut tells, start.elapsed()).await;
                }
            }
            self.tell_when_due(&mut tells, start.elapsed()).await;
            self.notice_silence(&mut is_silent);
            let now = Instant::now();
            let next_look = looks.values().min().copied();
            let next_asked = schedules.values().map(Schedule::due).min();
            let next = next_look
                .into_iter()
                .chain(next_asked.map(|due| start + due))
                .chain(tells.has_failed().then(|| start + tells.due()))
                .map(|due| due.saturating_duration_since(now))
                .min();
            sleep(next.unwrap_or(PACE).min(PACE)).await;
        }
    }

    /// Asks one monitor about one name. `Err`: it failed, and how long it wants to be left alone.
    async fn ask_logs(
        &self,
        transparency: &Transparency,
        monitor: Monitor,
        hostname: &Hostname,
    ) -> Result<(), Option<Duration>> {
        let _looking = self.looking.lock().await;
        let mut watched = self.kept(hostname).watched;
        let known = match (self.ledger)() {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(
                    error,
                    "The ledger of keys cannot be read, so the logs are not asked"
                );
                return Err(None);
            }
        };
        let look = transparency.look(monitor, hostname, &mut watched).await;
        let failed = look.result.as_ref().err().map(|error| {
            tracing::debug!(error = chain(error), %monitor, "The logs told nothing");
            error.retry_after()
        });
        if look.skew.is_some() {
            self.state().skew = look.skew;
        }
        let accepted = self.state().kept.accepted.clone();
        let known = known.into_iter().chain(accepted).collect();
        let fresh = take_in(&mut watched, look, &known, (self.clock)());
        self.change(hostname, |name| name.watched = watched);
        for issuance in fresh {
            alarm::log(hostname, &issuance);
        }
        if failed.is_none() {
            let mut state = self.state();
            state.heard.insert(hostname.clone(), Instant::now());
        }
        failed.map_or(Ok(()), Err)
    }

    /// Looks at one name now, and returns what is wrong; `None` where there is nothing to look at.
    async fn look(&self, hostname: &Hostname) -> Option<Vec<Trap>> {
        let level = self.config.level(hostname);
        if is_special_use(hostname) || level == Level::HonestRelay {
            return None;
        }
        let (mut observation, relay) =
            tokio::join!(self.dns.observe(hostname), self.relays.site(&self.dns));
        let mut state = self.state();
        observation.clock_skew = state.skew;
        state.observed.insert(hostname.clone(), observation.clone());
        state.relay = relay.clone();
        drop(state);
        let kept = self.kept(hostname);
        let wanted_of = |account| wanted(level, account);
        let wanted = wanted_of(kept.ordering())?;
        let traps = zone::examine(&observation, &wanted, &relay);
        let mut verdict = zone::judge(&observation, &traps);
        if kept.next.is_some() {
            if verdict == Verdict::Protected {
                self.change(hostname, |name| name.settle(kept.next));
            } else if let Some(old) = wanted_of(kept.account.as_ref()) {
                verdict = zone::judge_change(&observation, &old, &wanted, &relay);
            }
        }
        self.note(hostname, verdict);
        Some(traps)
    }

    /// Notes whether a name is protected, unless nothing could be seen.
    fn note(&self, hostname: &Hostname, verdict: Verdict) {
        let is_protected = match verdict {
            Verdict::Unseen => return,
            verdict => verdict == Verdict::Protected,
        };
        let was = self.is_served(hostname);
        if was != is_protected {
            tracing::debug!(%hostname, is_protected, "A name's protection has changed");
            if is_protected {
                tracing::info!("A name is protected and served");
            } else {
                tracing::warn!(
                    "A name is not protected and not served; see `cloudless home doctor`"
                );
            }
        }
        let now = unix_ms((self.clock)());
        self.change(hostname, |name| name.see(is_protected, now));
    }

    fn report(&self, state: &State, hostname: &Hostname) -> NameReport {
        let none = KeptName::default();
        let kept = state.kept.names.get(hostname).unwrap_or(&none);
        let findings = Findings {
            account: kept.ordering(),
            before: kept.account.as_ref().filter(|_| kept.next.is_some()),
            is_protected: kept.is_protected,
            observation: state.observed.get(hostname),
            relay: &state.relay,
            demands: self.demanding.contains(hostname),
            trusted_alone: self.trusted_alone.contains(hostname),
            unheard: state.heard.get(hostname).unwrap_or(&self.started).elapsed(),
            watched: self.transparency.as_ref().map(|_| &kept.watched),
            now: unix_ms((self.clock)()),
        };
        report(hostname, self.config.level(hostname), &findings)
    }

    /// Nothing is looked at before such a name is served.
    fn is_free(&self, hostname: &Hostname) -> bool {
        is_special_use(hostname) || self.config.level(hostname) == Level::HonestRelay
    }

    fn change(&self, hostname: &Hostname, change: impl FnOnce(&mut KeptName)) {
        self.keep_change(|kept| change(kept.names.entry(hostname.clone()).or_default()));
    }

    fn keep_change(&self, change: impl FnOnce(&mut Kept)) {
        let mut state = self.state();
        change(&mut state.kept);
        if let Err(error) = write(&self.path, &state.kept) {
            tracing::warn!(
                error = chain(&error),
                "What is known of the names is not kept"
            );
        }
    }

    fn kept(&self, hostname: &Hostname) -> KeptName {
        let state = self.state();
        state.kept.names.get(hostname).cloned().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names that home will not serve before a look has found them protected, by what is known from
/// before. Blocks on the disk.
///
/// # Errors
/// [`TrustError`].
pub fn unserved(config: &Config) -> Result<Vec<Hostname>, TrustError> {
    let reports = Trust::of(config)?.map_or(Vec::new(), |trust| trust.reports());
    let unserved = reports.into_iter().filter(|report| !report.is_served);
    Ok(unserved.map(|report| report.hostname).collect())
}

/// Looks at all names of a home that does not run, and has these devices. Blocks on the disk too.
///
/// # Errors
/// [`TrustError`]; what is wrong with a name is in its report.
pub async fn examine(config: &Config, devices: &[Device]) -> Result<Vec<NameReport>, TrustError> {
    let Some(trust) = Trust::of(config)? else {
        return Ok(Vec::new());
    };
    trust.look_at_all().await;
    let mut reports = trust.reports();
    assign(&mut reports, devices);
    Ok(reports)
}

/// In `[0, 1)`; in the middle when the system gives no random bytes.
fn random() -> f64 {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests;
