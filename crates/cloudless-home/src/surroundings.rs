//! What happens to this machine: its network changes, it wakes from sleep.
//!
//! Connections do not notice either by themselves. TCP waits for answers that will never come, and
//! timers stand still in sleep.

#[cfg(target_os = "linux")]
mod netlink;
#[cfg(not(target_os = "linux"))]
#[path = "surroundings/unwatched.rs"]
mod netlink;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::BootClock;
use netlink::Changes;

/// One change of the network is many messages: link, addresses, routes. They are taken for one.
const SETTLE: Duration = Duration::from_millis(100);
/// Between looks at the clock that goes on in sleep: with it a laptop that wakes redials in time.
const LOOK: Duration = Duration::from_secs(1);
/// A look that comes later than this was delayed by sleep; a busy machine delays it less.
const SLEPT: Duration = Duration::from_secs(10);

/// How often something has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    /// Links, addresses or routes have changed.
    pub(crate) changes: u64,
    /// The machine, or this process, has stood still for more than 10 s.
    pub(crate) wakes: u64,
}

/// Tells what happens until `shutdown`. Where the system does not tell of changes, only wakes.
pub(crate) async fn watch(
    clock: BootClock,
    happened: watch::Sender<Happened>,
    shutdown: CancellationToken,
) {
    let mut changes = Changes::listen();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = clock();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changes.next() => {
                sleep(SETTLE).await;
                changes.skip();
                tracing::debug!("The network has changed");
                happened.send_modify(|it| it.changes += 1);
            }
            _ = look.tick() => {
                let now = clock();
                if now.saturating_sub(looked) > LOOK + SLEPT {
                    tracing::debug!(slept = ?(now - looked), "This machine has woken up");
                    happened.send_modify(|it| it.wakes += 1);
                }
                looked = now;
            }
        }
    }
}

#[cfg(test)]
mod tests;
