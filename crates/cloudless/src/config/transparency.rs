//! `[transparency]` in `home.toml`: how the logs of all certificates are watched.

use std::time::Duration;

use cloudless_home::trust::TransparencyConfig;
use cloudless_proto::Redacted;
use serde::{Deserialize, Deserializer, de};

use super::period::Period;

/// The table; all of it may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TransparencyTable {
    /// Whether they are watched at all.
    enabled: bool,
    /// A server with the API of Cert Spotter.
    #[serde(deserialize_with = "https")]
    cert_spotter: Option<String>,
    /// A server like crt.sh.
    #[serde(deserialize_with = "https")]
    crt_sh: Option<String>,
    /// Is told of each alarm.
    #[serde(deserialize_with = "http")]
    webhook: Option<Redacted<String>>,
    /// After how much time without a relay, while this machine is awake, that is one.
    #[serde(deserialize_with = "some_time")]
    no_relay_after: Option<Duration>,
}

impl Default for TransparencyTable {
    fn default() -> Self {
        Self {
            enabled: true,
            cert_spotter: None,
            crt_sh: None,
            webhook: None,
            no_relay_after: TransparencyConfig::default().no_relay_after,
        }
    }
}

impl TransparencyTable {
    /// What home is told of it.
    pub(crate) fn config(&self) -> Option<TransparencyConfig> {
        if !self.enabled {
            return None;
        }
        let usual = TransparencyConfig::default();
        Some(TransparencyConfig {
            cert_spotter: self.cert_spotter.clone().or(usual.cert_spotter),
            crt_sh: self.crt_sh.clone().or(usual.crt_sh),
            webhook: self.webhook.clone(),
            no_relay_after: self.no_relay_after,
            roots: rustls_native_certs::load_native_certs().certs,
            ..TransparencyConfig::default()
        })
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
            "`{text}` is not how long home may be without a relay; expected \"never\", or a time such as \
             \"3h\" or \"1d\""
        ))),
    }
}

fn https<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    url(deserializer, &["https://"])
}

/// It may hold a token.
fn http<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Redacted<String>>, D::Error> {
    let url = url(deserializer, &["https://", "http://"])?;
    Ok(url.map(Redacted::new))
}

fn url<'de, D: Deserializer<'de>>(
    deserializer: D,
    schemes: &[&str],
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut rests = schemes
        .iter()
        .filter_map(|scheme| text.strip_prefix(scheme));
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && rests.any(|rest| !rest.is_empty() && !rest.starts_with('/')) {
        return Ok(Some(text));
    }
    let scheme = schemes.join(" or ");
    Err(de::Error::custom(format!(
        "`{text}` is no URL; expected {scheme} and a host"
    )))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn the_logs_are_watched_unless_that_is_turned_off() {
        let read = |text: &str| parse::<TransparencyTable>(text.as_bytes());
        let config = read("").unwrap().config().unwrap();
        assert!(config.cert_spotter.is_some() && config.crt_sh.is_some());
        assert!(config.webhook.is_none());
        let hours = |it: u64| Some(Duration::from_secs(it * 60 * 60));
        assert_eq!(config.no_relay_after, hours(3));
        let read_one = |text: &str| read(text).unwrap().config().unwrap().no_relay_after;
        assert_eq!(read_one("no_relay_after = \"1d\""), hours(24));
        assert_eq!(read_one("no_relay_after = \"never\""), None);
        assert!(read("no_relay_after = \"0s\"").is_err());
        assert!(read("enabled = false").unwrap().config().is_none());
        let text =
            "cert_spotter = \"https://ct.example:8443/api\"\nwebhook = \"http://192.168.1.5/x\"";
        let config = read(text).unwrap().config().unwrap();
        assert_eq!(
            config.cert_spotter.as_deref(),
            Some("https://ct.example:8443/api")
        );
        assert_eq!(config.webhook.unwrap().expose(), "http://192.168.1.5/x");
        for wrong in [
            "crt_sh = \"http://ct.example\"",
            "webhook = \"sh -c x\"",
            "webhook = \"https://\"",
        ] {
            let fault = read(wrong).unwrap_err().to_string();
            assert!(fault.contains("no URL"), "{wrong} {fault}");
        }
    }
}
