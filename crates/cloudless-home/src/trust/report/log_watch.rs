//! Whether the logs are watched for certificates of a name that somebody else got.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CheckResult, CheckState, Findings, Problem, state};
use crate::trust::transparency::Issuance;

/// A log has a day to show a certificate; who has told nothing for as long, in milliseconds, may be
/// kept from it.
const HEARD_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// How long home has to have been awake with no answer: more than one interval, and the first tries
/// after a start.
const UNHEARD_MIN: Duration = Duration::from_secs(2 * 60 * 60);

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
    let mut state = state(!problems.is_empty(), CheckState::Bad);
    if logs != LogWatch::Heard {
        state = state.max(CheckState::Unknown);
        let message = match &watched.error {
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
    Problem {
        message: format!("{issuance}, and home did not make its key"),
        remedy: format!(
            "if you had it made yourself, say `cloudless home trust --accept {}`; otherwise whoever has \
             that key can imitate the name until the certificate ends: have it revoked by its CA, and \
             move to a name that was never used",
            issuance.key
        ),
    }
}
