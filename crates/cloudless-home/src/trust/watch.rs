//! Keeps watch over the names while home runs, and lets certificates be ordered or not.

mod alarm;
mod kept;
mod logs;
mod order;
mod rounds;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cloudless_proto::Hostname;
use cloudless_proto::trust::zone::{self, Observation, RelaySite, Trap, Verdict};
use cloudless_proto::trust::{Level, is_special_use};
use cloudless_store::Device;
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::alarm::Alarm;
use self::alarm::Elsewhere;
use self::kept::{Kept, KeptName, accept, read, write};
pub use self::kept::{TrustError, accept_key};
use super::TrustConfig;
use super::dns::Dns;
use super::fetch::Fetcher;
use super::relays::Relays;
use super::report::{Findings, NameReport, assign, report, wanted};
use super::time_heard::TimeHeard;
use super::transparency::{Monitor, Transparency};
use crate::certificate::{CertificateSource, KeyRecord, read_ledger};
use crate::config::{BootClock, Clock, Config, unix_ms};
use crate::proxy::Proxy;
use crate::status::{Board, chain};

/// What is known while home runs.
#[derive(Default)]
struct State {
    kept: Kept,
    observed: BTreeMap<Hostname, Observation>,
    /// When the logs told everything of a name, on a clock that stands while the machine sleeps.
    heard: BTreeMap<Hostname, Instant>,
    relay: RelaySite,
    /// What time it is at whoever was asked last about the logs.
    time: Option<TimeHeard>,
    /// Who is to be asked at once about which name.
    wanted: BTreeSet<(Monitor, Hostname)>,
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
    boot_clock: BootClock,
    state: Mutex<State>,
    /// Nobody is asked twice at once. A look at crt.sh takes minutes, and nobody else waits for it.
    looking: [tokio::sync::Mutex<()>; Monitor::ALL.len()],
    /// Something is wanted of the rounds before its time.
    hurry: Notify,
    /// There may be something to tell the webhook.
    news: Notify,
    /// The webhook is told one thing after another, and each once.
    telling: tokio::sync::Mutex<()>,
    elsewhere: OnceLock<Elsewhere>,
    started: Instant,
}

/// What a look found.
struct Looked {
    /// What is wrong.
    traps: Vec<Trap>,
    verdict: Verdict,
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
    boot_clock: BootClock,
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
            boot_clock: config.boot_clock.clone(),
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
            boot_clock,
        } = parts;
        let path = kept::file_in(&state_dir);
        let kept = read(&path)?;
        let transparency = match config.transparency.clone() {
            Some(config) => {
                let (clock, boot_clock) = (clock.clone(), boot_clock.clone());
                let fetcher = Fetcher::new(&config.roots, proxy, clock, boot_clock);
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
            boot_clock,
            state: Mutex::new(State {
                kept,
                ..State::default()
            }),
            looking: Default::default(),
            hurry: Notify::new(),
            news: Notify::new(),
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
        self.check_clock().await;
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

    /// Looks at one name now; `None` where there is nothing to look at.
    async fn look(&self, hostname: &Hostname) -> Option<Looked> {
        let level = self.config.level(hostname);
        if is_special_use(hostname) || level == Level::HonestRelay {
            return None;
        }
        let (mut observation, relay) =
            tokio::join!(self.dns.observe(hostname), self.relays.site(&self.dns));
        let mut state = self.state();
        observation.clock_skew = self.skew(&state);
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
        Some(Looked { traps, verdict })
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
        let asked = |monitor: &Monitor| {
            self.transparency
                .as_ref()
                .is_some_and(|it| it.has(*monitor))
        };
        // The clock may have been set since.
        let observation = state.observed.get(hostname).map(|it| Observation {
            clock_skew: self.skew(state),
            ..it.clone()
        });
        let findings = Findings {
            account: kept.ordering(),
            before: kept.account.as_ref().filter(|_| kept.next.is_some()),
            is_protected: kept.is_protected,
            observation: observation.as_ref(),
            relay: &state.relay,
            demands: self.demanding.contains(hostname),
            trusted_alone: self.trusted_alone.contains(hostname),
            unheard: state.heard.get(hostname).unwrap_or(&self.started).elapsed(),
            watched: self.transparency.as_ref().map(|_| &kept.watched),
            asked: Monitor::ALL.into_iter().filter(asked).collect(),
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
