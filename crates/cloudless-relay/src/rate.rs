//! How often something may happen, in total and per source, with memory that has a bound.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
const SOURCES_MAX: usize = 4096;

/// How often something may happen in a minute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PerMinute {
    pub(crate) total: u32,
    pub(crate) per_source: u32,
}

/// Counts events in windows of one minute.
#[derive(Debug)]
pub(crate) struct Rate {
    window_start: Instant,
    total: u32,
    sources: HashMap<IpAddr, u32>,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            window_start: now,
            total: 0,
            sources: HashMap::new(),
        }
    }

    /// Counts one event of `source`, or says how long to wait until one is allowed.
    ///
    /// A refused event of one source does not count against the total, so that one source cannot
    /// use up what belongs to all.
    pub(crate) fn admit(
        &mut self,
        source: IpAddr,
        most: PerMinute,
        now: Instant,
    ) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed >= WINDOW {
            self.window_start = now;
            self.total = 0;
            self.sources.clear();
        }
        let wait = WINDOW.saturating_sub(now.saturating_duration_since(self.window_start));
        if self.total >= most.total {
            return Err(wait);
        }
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            return Err(wait);
        }
        let seen = self.sources.entry(source).or_default();
        if *seen >= most.per_source {
            return Err(wait);
        }
        *seen += 1;
        self.total += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_use_up_the_total() {
        const MOST: PerMinute = PerMinute {
            total: 3,
            per_source: 2,
        };
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let [noisy, other, late] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|address| address.parse::<IpAddr>().unwrap());
        assert_eq!(rate.admit(noisy, MOST, start), Ok(()));
        assert_eq!(rate.admit(noisy, MOST, start), Ok(()));
        for _ in 0..10 {
            assert_eq!(rate.admit(noisy, MOST, start), Err(WINDOW));
        }
        assert_eq!(rate.admit(other, MOST, start), Ok(()));
        assert_eq!(rate.admit(late, MOST, start), Err(WINDOW));
    }

    #[test]
    fn a_new_minute_starts_over() {
        const MOST: PerMinute = PerMinute {
            total: 1,
            per_source: 1,
        };
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let source = "2001:db8::".parse::<IpAddr>().unwrap();
        assert_eq!(rate.admit(source, MOST, start), Ok(()));
        assert_eq!(
            rate.admit(source, MOST, start + Duration::from_secs(59)),
            Err(Duration::from_secs(1))
        );
        assert_eq!(rate.admit(source, MOST, start + WINDOW), Ok(()));
    }
}
