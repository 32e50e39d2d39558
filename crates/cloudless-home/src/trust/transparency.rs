//! Watches the logs of Certificate Transparency (RFC 6962) for certificates of this home's names.
//!
//! A CA has to log each certificate before browsers take it. Two services that read all logs are
//! asked, over connections of this machine's own that do not go through the relay. A certificate
//! whose key is not in the ledger was made for somebody else.

mod cert_spotter;
mod crt_sh;
mod schedule;
mod watched;

use std::fmt;
use std::time::Duration;

use cloudless_proto::{Hostname, Redacted};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::fetch::{FetchError, Fetcher};
use super::time_heard::TimeHeard;
pub(crate) use schedule::Schedule;
#[cfg(test)]
pub(crate) use watched::Source;
pub(crate) use watched::{Watched, take_in};

/// How the logs are watched.
#[derive(Clone, Debug)]
pub struct TransparencyConfig {
    /// Where the Cert Spotter API is, without `/v1`; `None` if it is not asked.
    pub cert_spotter: Option<String>,
    /// Where crt.sh is; `None` if it is not asked.
    pub crt_sh: Option<String>,
    /// Gets a POST with JSON for each certificate that raises an alarm.
    pub webhook: Option<Redacted<String>>,
    /// It is told when home has no session with any relay for so long, while this machine is awake;
    /// `None` if it is not (default 3 h).
    pub no_relay_after: Option<Duration>,
    /// Who vouches for these servers.
    pub roots: Vec<CertificateDer<'static>>,
    /// Between two looks at Cert Spotter (default 1 h).
    pub interval: Duration,
    /// Between two looks at crt.sh, which is slow (default 6 h).
    pub crt_sh_interval: Duration,
    /// Between two requests to crt.sh, which allows a few in a minute (default 15 s).
    pub crt_sh_pause: Duration,
    /// The first wait after a failure, doubled with each up to the interval (default 1 min).
    pub backoff: Duration,
}

impl Default for TransparencyConfig {
    fn default() -> Self {
        Self {
            cert_spotter: Some("https://api.certspotter.com".to_owned()),
            crt_sh: Some("https://crt.sh".to_owned()),
            webhook: None,
            no_relay_after: Some(Duration::from_secs(3 * 60 * 60)),
            roots: Vec::new(),
            interval: Duration::from_secs(60 * 60),
            crt_sh_interval: Duration::from_secs(6 * 60 * 60),
            crt_sh_pause: Duration::from_secs(15),
            backoff: Duration::from_secs(60),
        }
    }
}

/// Who reads the logs for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// SSLMate's Cert Spotter.
    CertSpotter,
    /// Sectigo's crt.sh.
    CrtSh,
}

impl Monitor {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::CertSpotter, Self::CrtSh];
}

impl fmt::Display for Monitor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::CertSpotter => "Cert Spotter",
            Self::CrtSh => "crt.sh",
        })
    }
}

/// A certificate that a log has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuance {
    /// SHA-256 of its SubjectPublicKeyInfo, in lower-case hexadecimal.
    pub key: String,
    /// Who issued it, as the monitor calls it.
    pub issuer: String,
    /// Start of validity, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub not_before: i64,
    /// End of validity, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub not_after: i64,
    /// Whether it had ended by the clock of whoever was last asked.
    #[serde(default)]
    pub has_ended: bool,
    /// Who told it.
    pub monitor: Monitor,
    /// The monitor's name for it.
    pub id: String,
}

impl fmt::Display for Issuance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |milliseconds: i64| {
            let seconds = milliseconds.div_euclid(1000);
            time::OffsetDateTime::from_unix_timestamp(seconds)
                .map_or_else(|_| "?".to_owned(), |it| it.date().to_string())
        };
        let Self {
            issuer,
            monitor,
            id,
            ..
        } = self;
        let (from, until) = (date(self.not_before), date(self.not_after));
        // It comes from outside.
        let issuer: String = issuer
            .chars()
            .filter(|it| !it.is_control())
            .take(100)
            .collect();
        write!(
            formatter,
            "{issuer} issued a certificate for the name, valid from {from} until {until} ({monitor}: {id})"
        )
    }
}

/// Why a look at the logs failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("{0} gave something else than was asked for")]
    Answer(Monitor, #[source] serde_json::Error),
    #[error("{0} could not be asked")]
    Fetch(Monitor, #[source] FetchError),
    #[error("{0} has more to tell than was asked for at once; the rest follows")]
    More(Monitor),
}

impl WatchError {
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Fetch(_, error) => error.retry_after(),
            _ => None,
        }
    }
}

/// What one look brought, also where it failed half-way.
pub(crate) struct Look {
    pub(crate) issuances: Vec<Issuance>,
    pub(crate) result: Result<(), WatchError>,
    /// What time it was at the monitor, when it began to tell.
    pub(crate) time: Option<TimeHeard>,
}

/// Asks monitors.
#[derive(Clone)]
pub(crate) struct Transparency {
    pub(crate) config: TransparencyConfig,
    pub(crate) fetcher: Fetcher,
}

impl Transparency {
    /// Whether a monitor is asked at all.
    pub(crate) fn has(&self, monitor: Monitor) -> bool {
        match monitor {
            Monitor::CertSpotter => self.config.cert_spotter.is_some(),
            Monitor::CrtSh => self.config.crt_sh.is_some(),
        }
    }

    /// Those that are asked, the quickest first.
    pub(crate) fn monitors(&self) -> impl Iterator<Item = Monitor> {
        Monitor::ALL.into_iter().filter(|it| self.has(*it))
    }

    /// What time it is, as the first says who says anything.
    pub(crate) async fn time(&self) -> Option<TimeHeard> {
        let urls = [&self.config.cert_spotter, &self.config.crt_sh];
        for url in urls.into_iter().flatten() {
            if let Ok(Some(time)) = self.fetcher.time(url).await {
                return Some(time);
            }
        }
        None
    }

    /// The time between two looks at a monitor.
    pub(crate) fn interval(&self, monitor: Monitor) -> Duration {
        match monitor {
            Monitor::CertSpotter => self.config.interval,
            Monitor::CrtSh => self.config.crt_sh_interval,
        }
    }

    /// What a monitor has to tell that it has not told yet. Moves `watched` on as far as it got.
    pub(crate) async fn look(
        &self,
        monitor: Monitor,
        hostname: &Hostname,
        watched: &mut Watched,
    ) -> Look {
        match monitor {
            Monitor::CertSpotter => cert_spotter::look(self, hostname, watched).await,
            Monitor::CrtSh => crt_sh::look(self, hostname, watched).await,
        }
    }
}

/// A moment as monitors write it (RFC 3339, or without a zone), in Unix milliseconds.
fn moment(text: &str) -> Option<i64> {
    use time::format_description::well_known::Rfc3339;
    let parse = |text: &str| time::OffsetDateTime::parse(text, &Rfc3339);
    let moment = parse(text).or_else(|_| parse(&format!("{text}Z"))).ok()?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
pub(crate) mod tests;
