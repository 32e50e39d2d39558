//! Moments in JSON: RFC 3339 text in UTC, such as `2026-11-20T18:00:00.000Z`.
//!
//! The modules are for `#[serde(with = "...")]` on fields of Unix time. What lies outside the years 0
//! to 9999 is written as the nearest moment that is not.

use serde::de::{Deserialize, Deserializer, Error as _};
use time::format_description::well_known::Rfc3339;
use time::macros::{datetime, format_description};
use time::{OffsetDateTime, UtcDateTime};

const FIRST: OffsetDateTime = datetime!(0000-01-01 00:00 UTC);
const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// The module for a moment that may be absent, inside the module for one that is there.
macro_rules! option {
    ($time:ty) => {
        /// The same for a moment that may be absent.
        pub mod option {
            use serde::{Deserialize, Deserializer, Serializer};

            /// Writes a moment, or null.
            ///
            /// # Errors
            ///
            /// Those of the serializer.
            pub fn serialize<S: Serializer>(
                time: &Option<$time>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                match time {
                    Some(time) => super::serialize(time, serializer),
                    None => serializer.serialize_none(),
                }
            }

            /// Reads a moment, or null.
            ///
            /// # Errors
            ///
            /// When there is a text that is no moment.
            pub fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<$time>, D::Error> {
                #[derive(Deserialize)]
                struct Moment(#[serde(with = "super")] $time);

                let moment = Option::<Moment>::deserialize(deserializer)?;
                Ok(moment.map(|Moment(time)| time))
            }
        }
    };
}

/// Unix time in milliseconds, to the millisecond.
pub mod milliseconds {
    use serde::{Deserializer, Serializer};

    use super::{instant, read, to_the_millisecond};

    /// Writes a moment.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_the_millisecond(instant(*time)))
    }

    /// Reads a moment.
    ///
    /// # Errors
    ///
    /// When the text is no moment.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let time = read(deserializer)?;
        Ok(time.unix_timestamp() * 1_000 + i64::from(time.millisecond()))
    }

    option!(i64);
}

/// Unix time in seconds, to the second.
pub mod seconds {
    use serde::{Deserializer, Serializer};

    use super::{instant, read, to_the_second};

    /// Writes a moment.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = i64::try_from(*time)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        serializer.serialize_str(&to_the_second(instant(milliseconds)))
    }

    /// Reads a moment; what is before 1970 is 1970.
    ///
    /// # Errors
    ///
    /// When the text is no moment.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let time = read(deserializer)?;
        Ok(u64::try_from(time.unix_timestamp()).unwrap_or(0))
    }

    option!(u64);
}

fn instant(milliseconds: i64) -> OffsetDateTime {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    let nearest = if milliseconds < 0 { FIRST } else { LAST };
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .map_or(nearest, |time| time.clamp(FIRST, LAST))
}

fn to_the_millisecond(time: OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.format(format).unwrap_or_default()
}

fn to_the_second(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time.format(format).unwrap_or_default()
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UtcDateTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = OffsetDateTime::parse(&text, &Rfc3339);
    let time = time.map_err(|error| D::Error::custom(format!("`{text}` is no moment: {error}")))?;
    Ok(time.to_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Times {
        #[serde(with = "super::milliseconds")]
        at: i64,
        #[serde(with = "super::milliseconds::option")]
        maybe_at: Option<i64>,
        #[serde(with = "super::seconds")]
        since: u64,
        #[serde(with = "super::seconds::option")]
        maybe_since: Option<u64>,
    }

    #[test]
    fn moments_are_text_in_utc() {
        let times = Times {
            at: 1_785_585_600_250,
            maybe_at: None,
            since: 1_785_585_600,
            maybe_since: Some(0),
        };
        let json = serde_json::to_string(&times).unwrap();
        assert_eq!(
            json,
            r#"{"at":"2026-08-01T12:00:00.250Z","maybe_at":null,"since":"2026-08-01T12:00:00Z","maybe_since":"1970-01-01T00:00:00Z"}"#
        );
        assert_eq!(serde_json::from_str::<Times>(&json).unwrap(), times);
        let wrong = json.replace("2026-08-01T12:00:00Z", "yesterday");
        let error = serde_json::from_str::<Times>(&wrong).unwrap_err();
        assert!(error.to_string().contains("yesterday"), "{error}");
    }

    proptest! {
        #[test]
        fn every_moment_can_be_written_and_read(at in any::<i64>(), since in any::<u64>()) {
            let times = Times { at, maybe_at: Some(at), since, maybe_since: Some(since) };
            let json = serde_json::to_string(&times).unwrap();
            let read: Times = serde_json::from_str(&json).unwrap();
            let last = 253_402_300_799;
            prop_assert_eq!(read.at, at.clamp(-62_167_219_200_000, last * 1_000));
            prop_assert_eq!(read.maybe_at, Some(read.at));
            prop_assert_eq!(read.since, since.min(last as u64));
            prop_assert_eq!(read.maybe_since, Some(read.since));
        }

        #[test]
        fn what_is_written_is_read_exactly(
            at in -62_167_219_200_000_i64..253_402_300_799_000,
            since in 0_u64..253_402_300_799,
        ) {
            let times = Times { at, maybe_at: Some(at), since, maybe_since: Some(since) };
            let json = serde_json::to_string(&times).unwrap();
            prop_assert_eq!(serde_json::from_str::<Times>(&json).unwrap(), times);
        }
    }
}
