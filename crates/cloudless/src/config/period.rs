//! Lengths of time as people write them: `500ms`, `5s`, `10m`, `24h`, `7d`, `2y`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

/// The text is no length of time.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a length of time; expected a number and a unit, such as `500ms`, `5s`, `10m`, \
    `24h`, `7d` or `2y`"
)]
pub(crate) struct PeriodError(String);

const UNITS: [(&str, u64); 6] = [
    // Of 365 days.
    ("y", 31_536_000_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let milliseconds = || {
            let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
            number.parse::<u64>().ok()?.checked_mul(*factor)
        };
        milliseconds()
            .map(|milliseconds| Self(Duration::from_millis(milliseconds)))
            .ok_or_else(|| PeriodError(text.to_owned()))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let (unit, factor) = UNITS
            .into_iter()
            .find(|(_, factor)| {
                milliseconds >= u128::from(*factor)
                    && milliseconds.is_multiple_of(u128::from(*factor))
            })
            .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", milliseconds / u128::from(factor))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_round_trip() {
        for text in ["0ms", "500ms", "5s", "90s", "10m", "24h", "7d", "2y"] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
        }
        assert_eq!("24h".parse::<Period>().unwrap().to_string(), "1d");
        assert_eq!("90s".parse::<Period>().unwrap().0, Duration::from_secs(90));
    }

    #[test]
    fn a_number_alone_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5weeks",
            "99999999999999999999d",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
