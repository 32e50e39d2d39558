//! What a service manager is told of a role: that it is ready, lives, reloads and stops
//! (sd_notify(3)). Without `NOTIFY_SOCKET` in the environment nobody is told anything.

use std::convert::Infallible;
use std::env;
use std::future::{Future, pending};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two looks at a role where no watchdog asks for more.
const INTERVAL_MAX: Duration = Duration::from_secs(30);

/// A line about a role, from its state directory: the role has answered, so it lives.
pub(crate) type Report = fn(&Path) -> anyhow::Result<String>;

/// Tells that a role is ready once it answers on its admin socket, and then for as long as it does
/// so that it lives. A role that hangs answers nothing: the watchdog of the manager sees to it.
pub(crate) struct Pulse {
    pub(crate) state: PathBuf,
    pub(crate) report: Report,
    /// Once cancelled, the role need not answer any more: how long it may take to end is the
    /// manager's to say.
    pub(crate) shutdown: CancellationToken,
}

impl Pulse {
    /// Goes on for as long as the role does.
    pub(crate) async fn beside<T>(self, role: impl Future<Output = T>) -> T {
        tokio::select! {
            result = role => result,
            never = self.beat() => match never {},
        }
    }

    async fn beat(self) -> Infallible {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return pending().await;
        }
        let interval = interval(sd_notify::watchdog_enabled());
        let mut is_ready = false;
        loop {
            let (state, report) = (self.state.clone(), self.report);
            let answer = spawn_blocking(move || report(&state)).await;
            match answer.map_err(anyhow::Error::from).flatten() {
                _ if self.shutdown.is_cancelled() => tell(&[NotifyState::Watchdog]),
                Ok(status) => {
                    let status = NotifyState::Status(&status);
                    if is_ready {
                        tell(&[status, NotifyState::Watchdog]);
                    } else {
                        tell(&[NotifyState::Ready, status, NotifyState::Watchdog]);
                        is_ready = true;
                    }
                }
                Err(error) => tracing::debug!(error = format!("{error:#}"), "No sign of life"),
            }
            sleep(interval).await;
        }
    }
}

/// Tells that the role ends in order.
pub(crate) fn stopping() {
    let status = NotifyState::Status("stopping, once what is under way has ended");
    tell(&[NotifyState::Stopping, status]);
}

/// Tells that the role reads its files again; [`reloaded`] ends it.
pub(crate) fn reloading() {
    // The moment has to be in the same message (sd_notify(3)).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "No clock to reload by"),
    }
}

/// Tells that the role has read its files, whatever came of it.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// Three looks within the time after which the watchdog bites.
fn interval(watchdog: Option<Duration>) -> Duration {
    let third = watchdog.filter(|it| !it.is_zero()).map(|it| it / 3);
    third.map_or(INTERVAL_MAX, |it| it.min(INTERVAL_MAX))
}

fn tell(messages: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(messages) {
        tracing::debug!(%error, "The service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_fed_thrice_in_its_time() {
        let interval = |seconds| interval(Some(Duration::from_secs(seconds)));
        assert_eq!(interval(60), Duration::from_secs(20));
        assert_eq!(interval(3600), INTERVAL_MAX);
        assert_eq!(interval(0), INTERVAL_MAX);
        assert_eq!(super::interval(None), INTERVAL_MAX);
    }
}
