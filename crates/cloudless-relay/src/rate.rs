//! How often something may happen, in total and per source, with memory that has a bound.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
const SOURCES_MAX: usize = 4096;

/// Counts events in windows of one minute.
#[derive(Debug)]
pub(crate) struct Rate {
    total_max: u32,
    per_source_max: u32,
    window_start: Instant,
    total: u32,
    sources: HashMap<IpAddr, u32>,
}

impl Rate {
    pub(crate) fn new(total_max: u32, per_source_max: u32, now: Instant) -> Self {
        Self {
            total_max,
            per_source_max,
            window_start: now,
            total: 0,
            sources: HashMap::new(),
        }
    }

    /// Counts one event of `source`, or says how long to wait until one is allowed.
    ///
    /// A refused event of one source does not count against the total, so that one source cannot
    /// use up what belongs to all.
    pub(crate) fn admit(&mut self, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed >= WINDOW {
            self.window_start = now;
            self.total = 0;
            self.sources.clear();
        }
        let wait = WINDOW.saturating_sub(now.saturating_duration_since(self.window_start));
        if self.total >= self.total_max {
            return Err(wait);
        }
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            return Err(wait);
        }
        let seen = self.sources.entry(source).or_default();
        if *seen >= self.per_source_max {
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
        let start = Instant::now();
        let mut rate = Rate::new(3, 2, start);
        let [noisy, other, late] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|address| address.parse::<IpAddr>().unwrap());
        assert_eq!(rate.admit(noisy, start), Ok(()));
        assert_eq!(rate.admit(noisy, start), Ok(()));
        for _ in 0..10 {
            assert_eq!(rate.admit(noisy, start), Err(WINDOW));
        }
        assert_eq!(rate.admit(other, start), Ok(()));
        assert_eq!(rate.admit(late, start), Err(WINDOW));
    }

    #[test]
    fn a_new_minute_starts_over() {
        let start = Instant::now();
        let mut rate = Rate::new(1, 1, start);
        let source = "2001:db8::".parse::<IpAddr>().unwrap();
        assert_eq!(rate.admit(source, start), Ok(()));
        assert_eq!(
            rate.admit(source, start + Duration::from_secs(59)),
            Err(Duration::from_secs(1))
        );
        assert_eq!(rate.admit(source, start + WINDOW), Ok(()));
    }
}
