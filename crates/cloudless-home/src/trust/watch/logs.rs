//! What the logs of certificates are asked, and what time it is where they are.

use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::trust::zone::SKEW_MAX;
use tokio::time::Instant;

use super::{State, Trust, alarm};
use crate::status::chain;
use crate::trust::transparency::{Monitor, Transparency, take_in};

impl Trust {
    /// Asks one monitor about one name. `Err`: it failed, and how long it wants to be left alone.
    pub(super) async fn ask_logs(
        &self,
        transparency: &Transparency,
        monitor: Monitor,
        hostname: &Hostname,
    ) -> Result<(), Option<Duration>> {
        let _looking = self.looking[monitor as usize].lock().await;
        let before = self.kept(hostname);
        let mut cursor = before.watched;
        let look = transparency.look(monitor, hostname, &mut cursor).await;
        // Not earlier: home may have got a certificate meanwhile.
        let known = match (self.ledger)() {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(
                    error,
                    "The ledger of keys cannot be read, so what the logs told is of no use"
                );
                return Err(None);
            }
        };
        let failed = look.result.as_ref().err().map(|error| {
            tracing::debug!(error = chain(error), %monitor, "The logs told nothing");
            error.retry_after()
        });
        let mut state = self.state();
        state.time = look.time.or(state.time);
        if failed.is_none() {
            state.heard.insert(hostname.clone(), Instant::now());
        }
        drop(state);
        let now = (self.clock)();
        let mut fresh = Vec::new();
        self.keep_change(|kept| {
            let known = known.into_iter().chain(kept.accepted.iter().cloned());
            let name = kept.names.entry(hostname.clone()).or_default();
            if failed.is_none() {
                name.told_after = Some(before.breaks);
            }
            let brought = (monitor, look, cursor);
            fresh = take_in(&mut name.watched, brought, &known.collect(), now);
        });
        for issuance in fresh {
            alarm::log(hostname, &issuance);
        }
        self.news.notify_one();
        failed.map_or(Ok(()), Err)
    }

    /// Has the rounds ask about a name at once.
    pub(super) fn want(&self, transparency: &Transparency, hostname: &Hostname) {
        let wanted = transparency.monitors().map(|it| (it, hostname.clone()));
        self.state().wanted.extend(wanted);
        self.hurry.notify_waiters();
    }

    /// By how many seconds this machine's clock is ahead, as far as anybody has told the time.
    pub(super) fn skew(&self, state: &State) -> Option<i64> {
        let heard = state.time?;
        Some(heard.skew((self.clock)(), (self.boot_clock)()))
    }

    /// Whether it seems to be wrong.
    pub(super) fn is_clock_wrong(&self) -> bool {
        let skew = self.skew(&self.state());
        skew.is_some_and(|it| it.abs() > SKEW_MAX)
    }

    /// Asks again what time it is where this machine's clock seems to be wrong. So does one that was
    /// compared while a virtual machine was halted, or by somebody whose own was wrong.
    pub(super) async fn check_clock(&self) {
        let Some(transparency) = self.transparency.as_ref().filter(|_| self.is_clock_wrong())
        else {
            return;
        };
        if let Some(time) = transparency.time().await {
            self.state().time = Some(time);
        }
    }
}
