//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::macros::format_description;

/// Unix time in milliseconds.
pub(crate) fn unix_ms() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// A moment as people read it, in UTC. The argument is Unix time in seconds.
pub(crate) fn utc(seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}

/// This moment, as people read it, to the second.
pub(crate) fn utc_now() -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    OffsetDateTime::now_utc().format(format).unwrap_or_default()
}

/// Like [`utc`] for Unix time in milliseconds.
pub(crate) fn utc_ms(milliseconds: i64) -> String {
    utc(milliseconds.div_euclid(1000))
}
