//! What the owner is told without asking: each certificate whose key home did not make, in home's log
//! once and at the webhook until that has taken it, and that the watch hears nothing.

use std::time::Duration;

use cloudless_proto::Hostname;
use serde::Serialize;

use super::{Trust, random};
use crate::status::chain;
use crate::trust::report::LogWatch;
use crate::trust::transparency::{Issuance, Schedule};

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// What the webhook gets.
#[derive(Serialize)]
struct Alarm<'a> {
    event: &'static str,
    hostname: &'a Hostname,
    #[serde(flatten)]
    issuance: &'a Issuance,
}

impl Trust {
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
        for (hostname, issuance) in self.untold() {
            let alarm = Alarm {
                event: "unknown_certificate",
                hostname: &hostname,
                issuance: &issuance,
            };
            let Ok(json) = serde_json::to_vec(&alarm) else {
                continue;
            };
            if let Err(error) = transparency.fetcher.post(webhook, json).await {
                tracing::warn!(
                    error = chain(&error),
                    "The webhook was not told of a certificate; it is tried again"
                );
                return Err(error.retry_after());
            }
            self.change(&hostname, |name| {
                name.told.insert(issuance.key);
                let unknown = &name.watched.unknown;
                name.told
                    .retain(|key| unknown.iter().any(|it| it.key == *key));
            });
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

    fn untold(&self) -> Vec<(Hostname, Issuance)> {
        let state = self.state();
        let names = self.hostnames.iter().filter_map(|hostname| {
            let name = state.kept.names.get(hostname)?;
            let unknown = name.watched.unknown.iter();
            let untold = unknown.filter(|it| !name.told.contains(&it.key));
            Some(untold.map(|it| (hostname.clone(), it.clone())))
        });
        names.flatten().collect()
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
