//! When a connection last moved a byte, and when it has been silent for too long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::Timings;

/// Watches one connection that is open in two directions.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    /// Milliseconds from `start` to the last byte that reached its destination.
    last_ms: AtomicU64,
    half_closed: AtomicBool,
    half_closing: Notify,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ms: AtomicU64::new(0),
            half_closed: AtomicBool::new(false),
            half_closing: Notify::new(),
        }
    }

    /// Notes that bytes have reached their destination.
    pub(crate) fn moved(&self) {
        let elapsed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed_ms, Ordering::Relaxed);
    }

    /// Notes that one direction has ended: from here on less silence is tolerated.
    pub(crate) fn half_closed(&self) {
        self.moved();
        self.half_closed.store(true, Ordering::Relaxed);
        self.half_closing.notify_one();
    }

    /// Whether one direction has ended.
    pub(crate) fn is_half_closed(&self) -> bool {
        self.half_closed.load(Ordering::Relaxed)
    }

    /// Returns once the connection has been silent for too long; that is soon when the relay drains.
    pub(crate) async fn silent(&self, timings: &Timings, draining: &CancellationToken) {
        let mut drains_since = None;
        loop {
            let limit = if self.is_half_closed() {
                timings.half_closed_silence
            } else {
                timings.idle
            };
            let deadline = match drains_since {
                None => self.last() + limit,
                Some(since) => self.last().max(since) + limit.min(timings.drain_idle),
            };
            if Instant::now() >= deadline {
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = self.half_closing.notified() => {}
                () = draining.cancelled(), if drains_since.is_none() => {
                    drains_since = Some(Instant::now());
                }
            }
        }
    }

    /// When bytes last reached their destination.
    pub(crate) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_moved_byte_puts_off_the_end() {
        let timings = Timings {
            idle: Duration::from_secs(100),
            ..Timings::default()
        };
        let activity = Activity::new();
        let start = Instant::now();
        let draining = CancellationToken::new();
        tokio::join!(activity.silent(&timings, &draining), async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            activity.moved();
        });
        assert_eq!(start.elapsed().as_secs(), 160);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_connection_gets_less_patience_at_once() {
        let timings = Timings::default();
        let activity = Activity::new();
        let start = Instant::now();
        let draining = CancellationToken::new();
        tokio::join!(activity.silent(&timings, &draining), async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            activity.half_closed();
        });
        assert_eq!(start.elapsed().as_secs(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_drain_whatever_moves_goes_on_and_the_rest_ends_soon() {
        let timings = Timings::default();
        let (activity, idle) = (Activity::new(), Activity::new());
        let draining = CancellationToken::new();
        let start = Instant::now();
        let ms = async |watched: &Activity| {
            watched.silent(&timings, &draining).await;
            start.elapsed().as_millis()
        };
        let (moving, idle, ()) = tokio::join!(ms(&activity), ms(&idle), async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            draining.cancel();
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(900)).await;
                activity.moved();
            }
        });
        assert_eq!((moving, idle), (104_600, 101_000));
    }
}
