//! Where the time comes from.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloudless_store::Timestamp;

/// Tells the current time. The program passes `Arc::new(SystemTime::now)`; a test passes a clock
/// that it moves itself.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Formats a time of the store as HTTP writes dates (RFC 9110 §5.6.7).
pub(crate) fn http_date(timestamp: Timestamp) -> String {
    let elapsed = Duration::from_millis(u64::try_from(timestamp.0).unwrap_or(0));
    // The formatter takes no year above 9999.
    let latest = Duration::from_secs(253_402_300_799);
    httpdate::fmt_http_date(UNIX_EPOCH + elapsed.min(latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_out_of_range_are_clamped() {
        assert_eq!(
            http_date(Timestamp(784_111_777_999)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(http_date(Timestamp(-1)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(
            http_date(Timestamp(i64::MAX)),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }
}
