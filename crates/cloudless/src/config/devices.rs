//! `[devices]` in `home.toml`: when to say that one does not come.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::period::Period;

/// The table; all of it may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DevicesTable {
    /// For devices with a client certificate: the time, while a tunnel is up, over all runs of home,
    /// after which a silent one is named by the status.
    #[serde(deserialize_with = "some_time")]
    pub(crate) silent_after: Option<Duration>,
}

impl Default for DevicesTable {
    fn default() -> Self {
        Self {
            silent_after: Some(Duration::from_secs(3 * 24 * 60 * 60)),
        }
    }
}

fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "never" {
        return Ok(None);
    }
    match text.parse() {
        Ok(Period(duration)) if !duration.is_zero() => Ok(Some(duration)),
        _ => Err(de::Error::custom(format!(
            "`{text}` is not how long a device may be silent; expected \"never\", or a time such as \
             \"12h\" or \"3d\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn three_days_unless_it_is_said() {
        let read = |text: &str| parse::<DevicesTable>(text.as_bytes());
        let hours = |hours: u64| Some(Duration::from_secs(hours * 60 * 60));
        assert_eq!(read("").unwrap().silent_after, hours(72));
        let read_one = |text: &str| read(text).unwrap().silent_after;
        assert_eq!(read_one("silent_after = \"12h\""), hours(12));
        assert_eq!(read_one("silent_after = \"never\""), None);
        for wrong in [
            "silent_after = \"0s\"",
            "silent_after = \"often\"",
            "silent = 1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
