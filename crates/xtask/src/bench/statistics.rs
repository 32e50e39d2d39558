//! Medians and percentiles of durations.

use std::fmt;
use std::time::Duration;

/// The middle of at least one measurement.
pub(crate) fn median(times: &[Duration]) -> Duration {
    percentile(times, 50)
}

/// The middle of measurements that may be negative; zero for none.
pub(crate) fn middle_of(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len().saturating_sub(1) / 2;
    figures.get(middle).copied().unwrap_or_default()
}

/// The smallest measurement that at least `percent` percent do not exceed; zero for none.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// `10000` as `10,000`.
pub(crate) struct Thousands(pub(crate) usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => write!(f, "{}", self.0),
            _ => write!(f, "{},{:03}", Self(self.0 / 1_000), self.0 % 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(median(&times), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(median(&times[..1]), Duration::from_millis(200));
    }

    #[test]
    fn the_middle_may_be_negative() {
        assert!((middle_of(vec![3.0, -2.0, -1.0]) - -1.0).abs() < f64::EPSILON);
        assert!(middle_of(Vec::new()).abs() < f64::EPSILON);
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(Thousands(999).to_string(), "999");
        assert_eq!(Thousands(10_000).to_string(), "10,000");
        assert_eq!(Thousands(1_000_001).to_string(), "1,000,001");
    }
}
