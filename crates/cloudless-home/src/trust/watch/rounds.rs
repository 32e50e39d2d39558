//! When what is looked at: names in the DNS, logs of certificates, and who is told.
//!
//! Each is a round of its own, since a look at some logs takes minutes. What is due goes by a clock
//! that goes on while the machine sleeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::trust::is_special_use;
use cloudless_proto::trust::zone::Verdict;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Trust, random};
use crate::surroundings::Happened;
use crate::trust::transparency::{Monitor, Schedule};

/// Between two looks at a name that is well protected, and at one that is not or could not be seen.
const LOOK: Duration = Duration::from_secs(60 * 60);
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Between two questions what time it is while the clock seems to be wrong.
const CLOCK: Duration = Duration::from_secs(10 * 60);
/// The longest sleep between two looks at what is due.
const PACE: Duration = Duration::from_secs(60);

impl Trust {
    /// Keeps watch until `shutdown`.
    pub(crate) async fn keep(
        self: Arc<Self>,
        happened: watch::Receiver<Happened>,
        shutdown: CancellationToken,
    ) {
        let [cert_spotter, crt_sh] = Monitor::ALL.map(|it| self.keep_asking(it, happened.clone()));
        let rounds = async {
            tokio::join!(
                self.keep_looking(happened),
                cert_spotter,
                crt_sh,
                self.keep_telling()
            )
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = rounds => {}
        }
    }

    /// Looks at the names in the DNS.
    async fn keep_looking(&self, mut happened: watch::Receiver<Happened>) {
        let names = self.watched().filter(|it| !self.is_free(it));
        let mut schedules: BTreeMap<_, _> = names.map(|it| (it, Schedule::default())).collect();
        let mut clock = Schedule::default();
        loop {
            if self.is_clock_wrong() && clock.is_due(self.now()) {
                self.check_clock().await;
                clock.succeeded(self.now(), CLOCK, random());
            }
            for (hostname, schedule) in &mut schedules {
                if !schedule.is_due(self.now()) {
                    continue;
                }
                let looked = self.look(hostname).await;
                let is_blind = looked.is_some_and(|it| it.verdict == Verdict::Unseen);
                let now = self.now();
                if !self.is_served(hostname) {
                    schedule.succeeded(now, LOOK_AGAIN, random());
                } else if is_blind {
                    schedule.failed(now, (LOOK_AGAIN, LOOK), None, random());
                } else {
                    schedule.succeeded(now, LOOK, random());
                }
            }
            tokio::select! {
                () = self.until_due(schedules.values()) => {}
                Ok(()) = happened.changed() => {
                    let now = self.now();
                    schedules.values_mut().for_each(|it| it.hurry(now));
                }
            }
        }
    }

    /// Asks one monitor about the names, if it is asked at all.
    async fn keep_asking(&self, monitor: Monitor, mut happened: watch::Receiver<Happened>) {
        let transparency = self.transparency.as_ref();
        let Some(transparency) = transparency.filter(|it| it.has(monitor)) else {
            return;
        };
        let names = self.watched();
        let mut schedules: BTreeMap<_, _> = names.map(|it| (it, Schedule::default())).collect();
        let interval = transparency.interval(monitor);
        let waits = (transparency.config.backoff, interval);
        loop {
            let mut hurried = std::pin::pin!(self.hurry.notified());
            // From here on it is heard.
            hurried.as_mut().enable();
            for (&hostname, schedule) in &mut schedules {
                let wanted = self.state().wanted.remove(&(monitor, hostname.clone()));
                if !wanted && !schedule.is_due(self.now()) {
                    continue;
                }
                let asked = self.ask_logs(transparency, monitor, hostname).await;
                match asked {
                    Ok(()) => schedule.succeeded(self.now(), interval, random()),
                    Err(after) => schedule.failed(self.now(), waits, after, random()),
                }
            }
            tokio::select! {
                () = self.until_due(schedules.values()) => {}
                () = hurried => {}
                Ok(()) = happened.changed() => {
                    let now = self.now();
                    schedules.values_mut().for_each(|it| it.hurry(now));
                }
            }
        }
    }

    /// Tells the webhook and the log.
    async fn keep_telling(&self) {
        let mut tries = Schedule::default();
        let mut is_silent = false;
        loop {
            self.tell_when_due(&mut tries, self.now()).await;
            self.notice_silence(&mut is_silent);
            let failed = tries.has_failed().then_some(&tries);
            tokio::select! {
                () = self.until_due(failed) => {}
                () = self.news.notified() => {}
            }
        }
    }

    /// Returns when the first is due, or earlier.
    async fn until_due(&self, schedules: impl IntoIterator<Item = &Schedule>) {
        let due = schedules.into_iter().map(Schedule::due).min();
        let wait = due.map_or(PACE, |it| it.saturating_sub(self.now()));
        sleep(wait.min(PACE)).await;
    }

    fn watched(&self) -> impl Iterator<Item = &Hostname> {
        self.hostnames.iter().filter(|it| !is_special_use(it))
    }

    /// The time since the system was started, sleep included.
    fn now(&self) -> Duration {
        (self.boot_clock)()
    }
}
