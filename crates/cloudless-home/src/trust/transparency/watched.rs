//! What the logs have shown of a name, over restarts of home.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Issuance, Look, Monitor};
use crate::config::unix_ms;
use crate::status::chain;

/// No more unknown certificates of one name are kept.
const UNKNOWN_MAX: usize = 50;

/// What the logs showed of one name so far; kept on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Watched {
    /// When a monitor last told everything, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub(crate) checked_at: Option<i64>,
    /// When one first did, by its own clock: what had ended by then could not be used any more, and
    /// is passed over.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub(crate) since: Option<i64>,
    /// How it stands with each that was asked.
    pub(crate) sources: BTreeMap<Monitor, Source>,
    /// Certificates whose keys home did not make. One that has ended stays until its owner has seen it.
    pub(crate) unknown: Vec<Issuance>,
    /// How far Cert Spotter has told.
    pub(crate) after: Option<String>,
    /// What crt.sh has told.
    pub(crate) seen: BTreeSet<i64>,
}

/// How it stands with one monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    /// When it last told everything, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub(crate) heard_at: Option<i64>,
    /// Since when it has not, in Unix milliseconds; `None` while it does.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub(crate) failing_since: Option<i64>,
    /// How often in a row.
    pub(crate) failures: u32,
    /// Why the last time.
    pub(crate) error: Option<String>,
}

impl Watched {
    /// Whether something that ended at this moment, in Unix milliseconds, had done so when the watch
    /// began.
    pub(crate) fn is_before(&self, not_after: i64) -> bool {
        self.since.is_some_and(|since| not_after <= since)
    }

    /// A certificate with which somebody can imitate the name now.
    pub(crate) fn in_use(&self) -> Option<&Issuance> {
        self.unknown.iter().find(|it| !it.has_ended)
    }

    /// Why those that failed the last time did; `None` if none did.
    pub(crate) fn error(&self) -> Option<String> {
        let errors: Vec<_> = self
            .sources
            .values()
            .filter_map(|it| it.error.as_deref())
            .collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    /// What an earlier version kept says less.
    pub(crate) fn upgrade(&mut self) {
        if self.sources.is_empty() {
            self.since = self.since.or(self.checked_at);
        }
    }

    fn heard(&mut self, monitor: Monitor, now: i64) {
        self.checked_at = Some(now);
        let heard_at = Some(now);
        let source = Source {
            heard_at,
            ..Source::default()
        };
        self.sources.insert(monitor, source);
    }

    fn failed(&mut self, monitor: Monitor, now: i64, error: String) {
        let source = self.sources.entry(monitor).or_default();
        source.failing_since = source.failing_since.or(Some(now));
        source.failures = source.failures.saturating_add(1);
        source.error = Some(error);
    }

    /// What has ended gives way to what has not, and the latest to the oldest, which raised the alarm.
    fn bound(&mut self) {
        while self.unknown.len() > UNKNOWN_MAX {
            let ended = self.unknown.iter().position(|it| it.has_ended);
            self.unknown.remove(ended.unwrap_or(UNKNOWN_MAX));
        }
    }
}

/// Takes in what a monitor brought, which had moved `cursor` on, and returns what is new and unknown.
/// `known`: the ledger. What has ended is judged by the monitor's clock: this machine's may be wrong,
/// and the monitor tells each certificate once.
pub(crate) fn take_in(
    watched: &mut Watched,
    (monitor, look, cursor): (Monitor, Look, Watched),
    known: &HashSet<String>,
    now: SystemTime,
) -> Vec<Issuance> {
    match monitor {
        Monitor::CertSpotter => watched.after = cursor.after,
        Monitor::CrtSh => watched.seen = cursor.seen,
    }
    let theirs = look.time.map(|it| it.told());
    // It cannot have begun later than now; what said so was wrong.
    watched.since = match (watched.since, theirs) {
        (Some(since), Some(theirs)) => Some(since.min(theirs)),
        (since, _) => since,
    };
    let passed_over = watched.since.or(theirs);
    let mut fresh = BTreeSet::new();
    for issuance in look.issuances {
        let is_before = passed_over.is_some_and(|since| issuance.not_after <= since);
        if is_before || known.contains(&issuance.key) {
            continue;
        }
        let told = watched.unknown.iter_mut().find(|it| it.key == issuance.key);
        match told {
            Some(told) if told.not_after >= issuance.not_after => continue,
            Some(told) => *told = issuance.clone(),
            None => watched.unknown.push(issuance.clone()),
        }
        fresh.insert(issuance.key);
    }
    watched.unknown.retain(|it| !known.contains(&it.key));
    let now = unix_ms(now);
    match look.result {
        Ok(()) => {
            watched.heard(monitor, now);
            if let Some(theirs) = theirs {
                watched.since = watched.since.or(Some(theirs));
                for issuance in &mut watched.unknown {
                    issuance.has_ended = issuance.not_after <= theirs;
                }
            }
        }
        Err(error) => watched.failed(monitor, now, chain(&error)),
    }
    watched.bound();
    let unknown = watched.unknown.iter();
    unknown
        .filter(|it| fresh.contains(&it.key))
        .cloned()
        .collect()
}
