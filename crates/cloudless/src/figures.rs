//! Numbers as people read them.

use std::time::Duration;

use cloudless_proto::RoundTrip;

/// A number of bytes in decimal units, such as `1.5 MB`.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1_000.0, 0);
    // What would be rounded to 1000 belongs to the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$} {}", units[unit])
}

/// The smoothed time of a ping, such as `12.3 ms`.
pub(crate) fn round_trip(time: RoundTrip) -> String {
    microseconds(time.smoothed_us)
}

/// A number of microseconds as milliseconds, to three digits.
pub(crate) fn microseconds(count: u64) -> String {
    let value = count as f64 / 1_000.0;
    let decimals = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.decimals$} ms")
}

/// A length of time by its largest units, such as `2 h 5 min`.
pub(crate) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let minutes = seconds / 60 % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// The length of time from one moment to a later one, both in Unix milliseconds.
pub(crate) fn between(from: i64, until: i64) -> String {
    let milliseconds = u64::try_from(until.saturating_sub(from)).unwrap_or(0);
    length(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_or_three_digits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_960, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_234_567_890, "1.2 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
    }

    #[test]
    fn lengths_of_time_have_their_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(length(Duration::from_secs(seconds)), text);
        }
        assert_eq!(between(5_000, 4_000), "0 s");
        assert_eq!(microseconds(123), "0.12 ms");
        assert_eq!(microseconds(45_678), "45.7 ms");
        assert_eq!(microseconds(456_780), "457 ms");
    }
}
