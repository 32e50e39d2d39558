//! Whether the logs are watched for certificates of a name that somebody else got.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CheckResult, CheckState, Findings, Problem, state};
use crate::trust::transparency::{Issuance, Monitor};

/// A log has a day to show a certificate; who has told nothing for as long, in milliseconds, may be
/// kept from it.
const HEARD_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// How long home has to have been awake with no answer: more than one interval, and the first tries
/// after a start.
const UNHEARD_MIN: Duration = Duration::from_secs(2 * 60 * 60);

/// A source that fails for as long, in milliseconds, and so many times in a row, is told: crt.sh is often
/// overloaded for hours, and a machine that was off has asked nobody.
const SOURCE_MAX_MS: u64 = 3 * 24 * 60 * 60 * 1000;
const FAILURES_MIN: u32 = 8;

/// A source of what the logs have that has told nothing for days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentSource {
    /// Which.
    pub monitor: Monitor,
    /// Since when it fails, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds")]
    pub since: i64,
    /// Why the last time.
    pub error: String,
}

/// How the watch of the logs stands for a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogWatch {
    /// Not needed: no CA may issue for the name.
    #[default]
    Unneeded,
    /// A source has told everything within a day.
    Heard,
    /// None has, and home has not been up for long.
    Waiting,
    /// None has for a day, or for long since the start: somebody may keep them from home.
    Silent,
    /// Turned off in the config.
    Off,
}

impl LogWatch {
    /// Whether somebody else's certificate would go unnoticed for good.
    pub fn is_nobodys(self) -> bool {
        matches!(self, Self::Silent | Self::Off)
    }
}

pub(super) fn log_watch(is_special_use: bool, findings: &Findings<'_>) -> LogWatch {
    let Some(watched) = findings.watched else {
        return match is_special_use {
            true => LogWatch::Unneeded,
            false => LogWatch::Off,
        };
    };
    // A clock that was wrong may have noted a moment that is still to come.
    let is_recent = |at: i64| findings.now.abs_diff(at) < HEARD_MAX_MS;
    if is_special_use {
        LogWatch::Unneeded
    } else if watched.checked_at.is_some_and(is_recent) {
        LogWatch::Heard
    } else if findings.unheard < UNHEARD_MIN {
        LogWatch::Waiting
    } else {
        LogWatch::Silent
    }
}

pub(super) fn silent_sources(findings: &Findings<'_>) -> Vec<SilentSource> {
    let silent = |monitor: &Monitor| {
        let source = findings.watched?.sources.get(monitor)?;
        let since = source.failing_since?;
        let is_long = findings.now.abs_diff(since) >= SOURCE_MAX_MS;
        (is_long && source.failures >= FAILURES_MIN).then(|| SilentSource {
            monitor: *monitor,
            since,
            error: source.error.clone().unwrap_or_default(),
        })
    };
    findings.asked.iter().filter_map(silent).collect()
}

pub(super) fn log_check(findings: &Findings<'_>, logs: LogWatch) -> CheckResult {
    let title = "the logs of certificates show only keys of this home".to_owned();
    let Some(watched) = findings.watched else {
        return CheckResult {
            title,
            state: CheckState::Advice,
            problems: vec![Problem {
                message:
                    "nobody watches the logs, so that a certificate of somebody else goes unnoticed"
                        .to_owned(),
                remedy: "remove `enabled = false` below [transparency] in home.toml".to_owned(),
            }],
        };
    };
    let mut problems: Vec<_> = watched.unknown.iter().map(unknown).collect();
    let mut state = match watched.in_use() {
        Some(_) => CheckState::Bad,
        None => state(!problems.is_empty(), CheckState::Advice),
    };
    let silent = silent_sources(findings);
    if logs == LogWatch::Heard && !silent.is_empty() {
        state = state.max(CheckState::Advice);
        problems.extend(silent.into_iter().map(silence));
    }
    if logs != LogWatch::Heard {
        state = state.max(CheckState::Unknown);
        let message = match watched.error() {
            Some(cause) => format!("the logs could not be asked: {cause}"),
            None if watched.checked_at.is_some() => {
                "the logs have not been asked for a day".to_owned()
            }
            None => "the logs have not been asked yet".to_owned(),
        };
        let remedy = match logs {
            LogWatch::Silent => {
                "nobody watches them meanwhile: see to it that home reaches these services, which \
                 somebody may block"
            }
            _ => "see to it that home runs and reaches the internet",
        };
        problems.push(Problem {
            message,
            remedy: remedy.to_owned(),
        });
    }
    CheckResult {
        title,
        state,
        problems,
    }
}

fn unknown(issuance: &Issuance) -> Problem {
    let key = &issuance.key;
    let (message, harm) = match issuance.has_ended {
        false => (
            format!("{issuance}, and home did not make its key"),
            "whoever has that key can imitate the name until the certificate ends: have it revoked by its \
             CA, and move to a name that was never used",
        ),
        true => (
            format!("{issuance}, which has ended, and home did not make its key"),
            "whoever has that key could imitate the name until then: find out who could get it (your \
             account at the DNS provider, an earlier owner of the name), give the devices new passwords, \
             and say the same to end this alarm",
        ),
    };
    Problem {
        message,
        remedy: format!(
            "if you had it made yourself, say `cloudless home trust --accept {key}`; otherwise {harm}"
        ),
    }
}

fn silence(source: SilentSource) -> Problem {
    let SilentSource { monitor, error, .. } = source;
    let cost = match monitor {
        Monitor::CertSpotter => "somebody else's certificate is noticed hours later",
        Monitor::CrtSh => {
            "somebody else's certificate that begins and ends while home is off is not noticed"
        }
    };
    Problem {
        message: format!("{monitor} has told nothing for days, the last time because {error}"),
        remedy: format!(
            "without it {cost}: see to it that home reaches it, or name another server of the kind below \
             [transparency] in home.toml"
        ),
    }
}
