//! A moment as people write it, in local time unless they say otherwise.

use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::clock;
use crate::config::period::Period;

/// A moment in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) i64);

/// The text is no moment.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no moment; expected local time, such as `2026-11-20 18:00`, time with an offset, such \
    as `2026-11-20 18:00Z`, or how long ago, such as `2h` or `7d`"
)]
pub(crate) struct MomentError(String);

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        Self::read(text, &TimeZone::system(), clock::unix_ms())
            .ok_or_else(|| MomentError(text.to_owned()))
    }
}

impl Moment {
    fn read(text: &str, zone: &TimeZone, now: i64) -> Option<Self> {
        let text = text.trim();
        if let Ok(Period(ago)) = text.parse() {
            let ago = i64::try_from(ago.as_millis()).ok()?;
            // Nothing happened before 1970, and what is too long ago could not be shown either.
            return Some(Self(now.checked_sub(ago)?)).filter(|moment| moment.0 >= 0);
        }
        let in_utc = text.strip_suffix("UTC").map(str::trim_end);
        let with_offset = match in_utc {
            Some(text) => format!("{text}Z").parse::<Timestamp>(),
            None => text.parse(),
        };
        if let Ok(moment) = with_offset {
            return Some(Self(moment.as_millisecond()));
        }
        // An hour that is there twice, as summer time ends, means the first one.
        let local: DateTime = text.parse().ok()?;
        let moment: ZonedDateTime = local.to_zoned_datetime(zone.clone()).ok()?;
        Some(Self(moment.timestamp().as_millisecond()))
    }

    /// In local time with its offset, to the second.
    pub(crate) fn local(self) -> String {
        self.format("%Y-%m-%d %H:%M:%S%:z")
    }

    /// In local time with its offset, exactly.
    pub(crate) fn exact(self) -> String {
        self.format("%Y-%m-%d %H:%M:%S.%3f%:z")
    }

    fn format(self, format: &str) -> String {
        let moment = Timestamp::from_millisecond(self.0);
        moment.map_or_else(
            |_| format!("{} ms after 1970", self.0),
            |moment| {
                let zoned = moment.to_zoned_datetime(TimeZone::system());
                zoned.strftime(format).to_string()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    fn read(text: &str) -> Option<i64> {
        let zone = TimeZone::fixed(Offset::constant(1));
        Moment::read(text, &zone, 10_000_000).map(|moment| moment.0)
    }

    #[test]
    fn time_is_local_unless_it_says_otherwise() {
        let evening = 1_795_194_000_000; // 2026-11-20 17:00 UTC
        for text in [
            "2026-11-20 18:00",
            "2026-11-20T18:00:00",
            "2026-11-20 17:00Z",
            "2026-11-20 17:00 UTC",
            "2026-11-20 19:00+02:00",
            " 2026-11-20 18:00:00.000 ",
        ] {
            assert_eq!(read(text), Some(evening), "{text}");
        }
        assert_eq!(read("2026-11-20"), Some(evening - 18 * 3_600_000));
        assert_eq!(read("2026-11-20 18:00:00.250+01:00"), Some(evening + 250));
        assert_eq!(read("2h"), Some(10_000_000 - 7_200_000));
        for text in [
            "",
            "yesterday",
            "18:00",
            "2026-13-01",
            "2026-11-20 25:00",
            "3h",
            "99999999999d",
            "18446744073709551615ms",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_understood() {
        let moment = Moment(1_795_194_000_123);
        assert_eq!(moment.exact().parse::<Moment>().unwrap(), moment);
        let second = moment.local().parse::<Moment>().unwrap();
        assert_eq!(second, Moment(1_795_194_000_000));
    }
}
