//! What the owner is told without asking, in home's log once and at the webhook until that has taken it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::trust::Level;
use serde::Serialize;

use super::{Trust, random};
use crate::admin;
use crate::silence::SilentDevice;
use crate::status::{Board, CertificateStatus, RelayStatus, chain};
use crate::trust::report::{LogWatch, NameReport};
use crate::trust::transparency::{Issuance, Schedule};

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// Something that somebody has to look at, as the webhook gets it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Alarm {
    /// A device deleted a large share of an address book.
    CardsDeleted(admin::Alarm),
    /// A certificate of a public authority, or in the owner's files, ends soon, and no other one came.
    CertificateEnds {
        hostname: Hostname,
        #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
        expires_at: i64,
        /// Why it was not renewed, where home knows.
        error: Option<String>,
    },
    /// Nothing is heard from the logs of certificates.
    LogsSilent { hostname: Hostname },
    /// Home has no session with any relay for long: one that keeps it out may answer phones itself.
    NoRelay {
        /// In Unix milliseconds.
        #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
        since: i64,
        /// What each relay did to the last try.
        problems: Vec<String>,
    },
    /// A name that was protected is not any more: its CAA records are gone, say.
    NotProtected {
        hostname: Hostname,
        level: Level,
        /// What is wrong.
        problems: Vec<String>,
    },
    /// A device with a client certificate does not come any more, or never came.
    SilentDevice(SilentDevice),
    /// Somebody has a certificate whose key home did not make.
    UnknownCertificate {
        hostname: Hostname,
        #[serde(flatten)]
        issuance: Issuance,
    },
}

impl Alarm {
    /// What tells it from all others, over restarts. It is told once for as long as it lasts.
    fn key(&self) -> String {
        match self {
            Self::CardsDeleted(alarm) => format!("deletion {}", alarm.alarm),
            Self::CertificateEnds {
                hostname,
                expires_at,
                ..
            } => format!("ends {hostname} {expires_at}"),
            Self::LogsSilent { hostname } => format!("logs {hostname}"),
            Self::NoRelay { since, .. } => format!("relay {since}"),
            Self::NotProtected { hostname, .. } => format!("unprotected {hostname}"),
            Self::SilentDevice(device) => {
                let (user, name, since) = (&device.user, &device.name, device.since());
                format!("silent {user} {since} {name}")
            }
            Self::UnknownCertificate { hostname, issuance } => {
                format!("certificate {hostname} {}", issuance.key)
            }
        }
    }

    /// What is wrong with a name. `was_protected`: before it is set up, that it is not is no news.
    fn of_name(report: NameReport, was_protected: bool) -> Vec<Self> {
        let mut alarms = Vec::new();
        let hostname = || report.hostname.clone();
        if !report.is_served && was_protected {
            let red = report.checks.iter().filter(|it| it.is_bad());
            let problems = red.flat_map(|it| &it.problems);
            alarms.push(Self::NotProtected {
                hostname: hostname(),
                level: report.level,
                problems: problems.map(|it| it.message.clone()).collect(),
            });
        }
        if report.logs == LogWatch::Silent {
            alarms.push(Self::LogsSilent {
                hostname: hostname(),
            });
        }
        let unknown = report.unknown_certificates.iter().cloned();
        alarms.extend(unknown.map(|issuance| Self::UnknownCertificate {
            hostname: hostname(),
            issuance,
        }));
        alarms
    }

    /// That there is no relay for longer than `after`, if so.
    pub(crate) fn of_relays(board: &Board, after: Duration) -> Option<Self> {
        let since = board.alone_for(after)?;
        let problem = |row: RelayStatus| {
            let error = row.error.unwrap_or_else(|| "no answer".to_owned());
            format!("{}: {error}", row.server_name)
        };
        let problems = board.relays().into_iter().map(problem).collect();
        Some(Self::NoRelay { since, problems })
    }

    /// That a certificate ends, if it does. `now`: Unix milliseconds.
    pub(crate) fn of_certificate(status: CertificateStatus, now: i64) -> Option<Self> {
        let expires_at = status.expires_at.filter(|_| status.ends_soon(now))?;
        Some(Self::CertificateEnds {
            hostname: status.hostname,
            expires_at,
            error: status.error,
        })
    }
}

/// Gives the alarms of home's other parts. It may block.
pub(crate) type Elsewhere = Arc<dyn Fn() -> Vec<Alarm> + Send + Sync>;

impl Trust {
    /// Tells the alarms of home's other parts too, from now on. The first caller counts.
    pub(crate) fn tell_also(&self, elsewhere: Elsewhere) {
        // A second caller there is not.
        let _ = self.elsewhere.set(elsewhere);
    }

    /// Tells the webhook what it has not taken yet, also from before a restart. It ends with the
    /// first that is not taken: the rest waits for the next try.
    ///
    /// # Errors
    /// How long the webhook wants to be left alone, if it says so.
    pub(super) async fn tell(&self) -> Result<(), Option<Duration>> {
        let Some(transparency) = &self.transparency else {
            return Ok(());
        };
        let Some(webhook) = &transparency.config.webhook else {
            return Ok(());
        };
        let _telling = self.telling.lock().await;
        let alarms = self.alarms().await;
        let mut present = BTreeSet::new();
        for alarm in &alarms {
            let key = alarm.key();
            present.insert(key.clone());
            if self.state().kept.told.contains(&key) {
                continue;
            }
            let Ok(json) = serde_json::to_vec(alarm) else {
                continue;
            };
            if let Err(error) = transparency.fetcher.post(webhook.expose(), json).await {
                tracing::warn!(
                    "The webhook was not told of an alarm and is tried again; check `webhook` in \
                     home.toml, the log at DEBUG says what failed"
                );
                // Names the webhook's host.
                tracing::debug!(error = chain(&error), "The webhook");
                return Err(error.retry_after());
            }
            self.keep_change(|kept| {
                kept.told.insert(key);
            });
        }
        // What is over is told anew when it comes again.
        if self
            .state()
            .kept
            .told
            .iter()
            .any(|it| !present.contains(it))
        {
            self.keep_change(|kept| kept.told.retain(|it| present.contains(it)));
        }
        Ok(())
    }

    /// [`Self::tell`], unless it failed a moment ago. `now`: the time since the watch began.
    pub(super) async fn tell_when_due(&self, tries: &mut Schedule, now: Duration) {
        if !tries.is_due(now) {
            return;
        }
        match (self.tell().await, &self.transparency) {
            (Err(retry_after), Some(transparency)) => {
                let waits = (transparency.config.backoff, WAIT_MAX);
                // It may be somebody in between who asks for that.
                let retry_after = retry_after.map(|it| it.min(WAIT_MAX));
                tries.failed(now, waits, retry_after, random());
            }
            _ => *tries = Schedule::default(),
        }
    }

    /// Tells the log once when the logs of certificates tell nothing any more, and once when they do.
    pub(super) fn notice_silence(&self, was_silent: &mut bool) {
        let is_silent = self.reports().iter().any(|it| it.logs == LogWatch::Silent);
        match (*was_silent, is_silent) {
            (false, true) => tracing::warn!(
                "The logs of certificates tell nothing, so that nobody watches for those of somebody \
                 else; see `cloudless home doctor`"
            ),
            (true, false) => tracing::info!("The logs of certificates are watched again"),
            _ => {}
        }
        *was_silent = is_silent;
    }

    /// All of this moment.
    async fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for report in self.reports() {
            let was_protected = self.kept(&report.hostname).protected_at.is_some();
            alarms.extend(Alarm::of_name(report, was_protected));
        }
        if let Some(elsewhere) = self.elsewhere.get().cloned() {
            match tokio::task::spawn_blocking(move || elsewhere()).await {
                Ok(found) => alarms.extend(found),
                Err(error) => tracing::error!(%error, "Looking for alarms failed"),
            }
        }
        alarms
    }
}

/// Tells the log.
pub(super) fn log(hostname: &Hostname, issuance: &Issuance) {
    tracing::warn!(
        key = issuance.key,
        issuer = issuance.issuer,
        "A certificate was issued for one of the names whose key home did not make; see \
         `cloudless home doctor`"
    );
    tracing::debug!(%hostname, key = issuance.key, "The name of that certificate");
}
