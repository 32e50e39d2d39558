//! How long a ping over a tunnel takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The time between a ping and its answer, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// Of the last ping.
    pub last_us: u64,
    /// Of many, each weighing an eighth (RFC 6298 section 2).
    pub smoothed_us: u64,
}

impl RoundTrip {
    /// What is known after one more ping took `measured`.
    pub fn after(before: Option<Self>, measured: Duration) -> Self {
        let last_us = u64::try_from(measured.as_micros()).unwrap_or(u64::MAX);
        let smoothed_us = before.map_or(last_us, |before| {
            before.smoothed_us - before.smoothed_us / 8 + last_us / 8
        });
        Self {
            last_us,
            smoothed_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_ping_moves_the_smoothed_time_by_an_eighth() {
        let first = RoundTrip::after(None, Duration::from_millis(8));
        assert_eq!((first.last_us, first.smoothed_us), (8_000, 8_000));
        let second = RoundTrip::after(Some(first), Duration::from_millis(80));
        assert_eq!((second.last_us, second.smoothed_us), (80_000, 17_000));
    }

    #[test]
    fn no_length_of_time_overflows() {
        let longest = RoundTrip::after(None, Duration::MAX);
        let after = RoundTrip::after(Some(longest), Duration::MAX);
        assert!(after.smoothed_us > u64::MAX / 2);
    }
}
