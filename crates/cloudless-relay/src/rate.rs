//! How often each source may do something, with memory that has a bound.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
const SOURCES_MAX: usize = 4096;

/// Counts events by source in windows of one minute.
#[derive(Debug)]
pub(crate) struct Rate {
    window_start: Instant,
    sources: HashMap<IpAddr, u32>,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            window_start: now,
            sources: HashMap::new(),
        }
    }

    /// Counts one event of `source`, or says how long to wait until one is allowed.
    ///
    /// Nothing is counted for all sources together, and sources beyond those that are remembered
    /// are let through: whoever has many addresses could otherwise keep everybody else out.
    pub(crate) fn admit(
        &mut self,
        source: IpAddr,
        per_source_max: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed >= WINDOW {
            self.window_start = now;
            self.sources.clear();
        }
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            return Ok(());
        }
        let seen = self.sources.entry(source).or_default();
        if *seen >= per_source_max {
            return Err(WINDOW.saturating_sub(now.saturating_duration_since(self.window_start)));
        }
        *seen += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sources_cannot_use_up_what_belongs_to_another() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for number in 0..2 * SOURCES_MAX as u32 {
            let noisy = IpAddr::from(number.to_be_bytes());
            for _ in 0..3 {
                // Refused or not, that is its own affair.
                let _ = rate.admit(noisy, 2, start);
            }
        }
        assert!(rate.sources.len() <= SOURCES_MAX);
        let other = "192.0.2.1".parse().unwrap();
        assert_eq!(rate.admit(other, 2, start), Ok(()));
    }

    #[test]
    fn a_new_minute_starts_over() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let source = "2001:db8::".parse::<IpAddr>().unwrap();
        assert_eq!(rate.admit(source, 1, start), Ok(()));
        assert_eq!(
            rate.admit(source, 1, start + Duration::from_secs(59)),
            Err(Duration::from_secs(1))
        );
        assert_eq!(rate.admit(source, 1, start + WINDOW), Ok(()));
    }
}
