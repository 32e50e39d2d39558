//! `[history]` in `home.toml`: how long to keep what was, and when to sound an alarm.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::period::Period;

/// Less would undo what the history is for.
const KEEP_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The table; all of it may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HistoryTable {
    pub(crate) keep: Keep,
    /// A device that deletes a larger share of an address book within ten minutes raises an alarm.
    #[serde(deserialize_with = "percent")]
    pub(crate) alarm_percent: u8,
}

impl Default for HistoryTable {
    fn default() -> Self {
        Self {
            keep: Keep::default(),
            alarm_percent: 20,
        }
    }
}

/// How long versions are kept after they were replaced or deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    #[default]
    Forever,
    For(Duration),
}

impl Keep {
    pub(crate) fn duration(self) -> Option<Duration> {
        match self {
            Self::Forever => None,
            Self::For(duration) => Some(duration),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "forever" {
            return Ok(Self::Forever);
        }
        match text.parse() {
            Ok(Period(duration)) if duration >= KEEP_MIN => Ok(Self::For(duration)),
            _ => Err(de::Error::custom(format!(
                "`{text}` is not how long history is kept; expected \"forever\", or a day or more, \
                 such as \"90d\" or \"2y\""
            ))),
        }
    }
}

fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        percent @ 1..=100 => Ok(percent),
        percent => Err(de::Error::custom(format!(
            "`{percent}` is no percentage; expected 1 to 100, and 100 for no alarms"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Result<HistoryTable, String> {
        parse(text.as_bytes()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn all_is_kept_unless_it_is_said() {
        assert_eq!(read("").unwrap().keep.duration(), None);
        assert_eq!(read("keep = \"forever\"").unwrap().keep, Keep::Forever);
        let days = |days: u64| Some(Duration::from_secs(days * 24 * 60 * 60));
        assert_eq!(read("keep = \"2y\"").unwrap().keep.duration(), days(730));
        assert_eq!(read("alarm_percent = 50").unwrap().alarm_percent, 50);
        for wrong in [
            "keep = \"12h\"",
            "keep = \"always\"",
            "keep = 2",
            "alarm_percent = 0",
        ] {
            assert!(read(wrong).unwrap_err().starts_with("1:"), "{wrong}");
        }
    }
}
