use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Bytes a second that one direction of one connection moves at most.
const RATE_MAX: u64 = 128 * 1024 * 1024;
/// How far it may be ahead of that before it waits,
const AHEAD: Duration = Duration::from_micros(500);
/// and how far it may have fallen behind to catch up: as long as a timer may be late.
const BEHIND: Duration = Duration::from_millis(1);

/// Keeps one direction of one connection from taking the processors for itself.
///
/// Where the network does not bound them, bytes cost everybody on their way a processor for as long as
/// they flow, and what others ask for meanwhile waits for that. So none moves more than 128 MiB a
/// second, a little more than gigabit Ethernet carries.
#[derive(Debug)]
pub struct Pace {
    /// When all that was moved would have been at that rate.
    due: Instant,
}

impl Pace {
    /// Of a direction that has moved nothing.
    pub fn new() -> Self {
        Self {
            due: Instant::now(),
        }
    }

    /// Counts so many bytes as moved, and returns when the next may be.
    pub async fn moved(&mut self, n: u64) {
        let now = Instant::now();
        let earliest = now.checked_sub(BEHIND).unwrap_or(now);
        let spent = Duration::from_nanos(n.saturating_mul(1_000_000_000) / RATE_MAX);
        self.due = self.due.max(earliest) + spent;
        if self.due > now + AHEAD {
            sleep_until(self.due).await;
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn a_second_takes_so_many_bytes_and_few_of_them_no_time() {
        let start = Instant::now();
        let mut pace = Pace::new();
        pace.moved(MIB / 16).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..8 * 128 {
            pace.moved(MIB / 4).await;
        }
        let elapsed = start.elapsed().as_millis();
        assert!((1990..=2010).contains(&elapsed), "{elapsed} ms");
        // A pause saves up no more than a moment's worth.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let start = Instant::now();
        for _ in 0..4 * 128 {
            pace.moved(MIB / 4).await;
        }
        let elapsed = start.elapsed().as_millis();
        assert!((990..=1010).contains(&elapsed), "{elapsed} ms");
    }
}
