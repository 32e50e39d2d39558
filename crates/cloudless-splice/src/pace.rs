use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Bytes a second that one direction of one connection moves at most past the tunnel,
const RATE_ON_LEG: u64 = 128 * 1024 * 1024;
/// and in the tunnel, where each is encrypted once more at either end.
const RATE_IN_TUNNEL: u64 = 64 * 1024 * 1024;
/// How far it may be ahead of that before it waits,
const AHEAD: Duration = Duration::from_micros(500);
/// and how far it may have fallen behind to catch up: as late as its waits end while other connections
/// have the processors. With less, many at once are bound by it while processors are idle.
const BEHIND: Duration = Duration::from_millis(5);

/// A wait that ends so much later than it should says that others want the processors: a timer alone
/// is late by up to two milliseconds, as it is rounded up twice.
const LATE: Duration = Duration::from_micros(2_500);
/// So many waits that end in time bring the whole rate back from nothing.
const STEPS: u64 = 512;

/// Keeps one direction of one connection from taking the processors for itself.
///
/// Where the network does not bound them, bytes cost everybody on their way a processor for as long as
/// they flow, and what others ask for meanwhile waits for that. So none moves more than 128 MiB a
/// second, a little more than gigabit Ethernet carries, and in a tunnel half of that; and each only three
/// quarters of its own while the processors are wanted by so many that its waits end late.
#[derive(Debug)]
pub struct Pace {
    /// When all that was moved would have been at that rate.
    due: Instant,
    /// Bytes a second, at most and for now.
    rate_max: u64,
    rate: u64,
}

impl Pace {
    /// Of a direction that has moved nothing, past the tunnel.
    pub fn on_leg() -> Self {
        Self::of(RATE_ON_LEG)
    }

    /// Of one in the tunnel.
    pub fn in_tunnel() -> Self {
        Self::of(RATE_IN_TUNNEL)
    }

    fn of(rate: u64) -> Self {
        Self {
            due: Instant::now(),
            rate_max: rate,
            rate,
        }
    }

    /// Counts so many bytes as moved, and returns when the next may be.
    pub async fn moved(&mut self, n: u64) {
        if let Some(due) = self.count(n) {
            sleep_until(due).await;
            self.resumed(Instant::now().saturating_duration_since(due));
        }
    }

    /// A wait has ended so late: three quarters of the rate are left, until others leave the processors alone.
    fn resumed(&mut self, late: Duration) {
        self.rate = if late > LATE {
            self.rate_max / 4 * 3
        } else {
            (self.rate + self.rate_max / STEPS).min(self.rate_max)
        };
    }

    /// Counts so many bytes as moved; says when the next may be, if that is not now.
    pub fn count(&mut self, n: u64) -> Option<Instant> {
        let now = Instant::now();
        let earliest = now.checked_sub(BEHIND).unwrap_or(now);
        let spent = Duration::from_nanos(n.saturating_mul(1_000_000_000) / self.rate);
        self.due = self.due.max(earliest) + spent;
        (self.due > now + AHEAD).then_some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn whose_waits_end_late_moves_less_until_they_end_in_time() {
        let mut pace = Pace::on_leg();
        let mib_in_a_second = async |pace: &mut Pace| {
            let start = Instant::now();
            let mut n = 0;
            while start.elapsed() < Duration::from_secs(1) {
                pace.moved(MIB / 4).await;
                n += 1;
            }
            n / 4
        };
        pace.resumed(LATE);
        assert!((126..=130).contains(&mib_in_a_second(&mut pace).await));
        for _ in 0..3 {
            pace.resumed(2 * LATE);
        }
        let slow = mib_in_a_second(&mut pace).await;
        assert!((96..=126).contains(&slow), "{slow} MiB");
        assert!((126..=130).contains(&mib_in_a_second(&mut pace).await));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_late_wait_has_lost_is_caught_up_with() {
        let mut pace = Pace::on_leg();
        let start = Instant::now();
        let mut n = 0;
        while start.elapsed() < Duration::from_secs(1) {
            n += MIB / 4;
            if let Some(due) = pace.count(MIB / 4) {
                sleep_until(due + Duration::from_millis(4)).await;
            }
        }
        assert!((126..=130).contains(&(n / MIB)), "{} MiB", n / MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_takes_so_many_bytes_and_few_of_them_no_time() {
        for (mut pace, mib) in [(Pace::on_leg(), 128), (Pace::in_tunnel(), 64)] {
            let start = Instant::now();
            pace.moved(MIB / 64).await;
            assert_eq!(start.elapsed(), Duration::ZERO);
            for _ in 0..8 * mib {
                pace.moved(MIB / 4).await;
            }
            let elapsed = start.elapsed().as_millis();
            assert!((1990..=2010).contains(&elapsed), "{elapsed} ms");
            // A pause saves up no more than a moment's worth.
            tokio::time::sleep(Duration::from_secs(10)).await;
            let start = Instant::now();
            for _ in 0..4 * mib {
                pace.moved(MIB / 4).await;
            }
            let elapsed = start.elapsed().as_millis();
            assert!((990..=1010).contains(&elapsed), "{elapsed} ms");
        }
    }
}
