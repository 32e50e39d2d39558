//! `[push]` in `home.toml`: how devices are told of changes.

use std::net::IpAddr;

use cloudless_proto::Hostname;
use serde::{Deserialize, Deserializer, de};

/// The table; all of it may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PushTable {
    /// Whether devices are told at all.
    pub(crate) enabled: bool,
    /// How push services reach who runs this home, if they are told.
    #[serde(deserialize_with = "contact")]
    pub(crate) contact: Option<String>,
    /// Push services on this machine and in the networks around it.
    #[serde(deserialize_with = "hosts")]
    pub(crate) private_hosts: Vec<String>,
}

impl Default for PushTable {
    fn default() -> Self {
        Self {
            enabled: true,
            contact: None,
            private_hosts: Vec::new(),
        }
    }
}

fn contact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mailbox = text.strip_prefix("mailto:");
    let is_mailbox = mailbox.is_some_and(|mailbox| mailbox.contains('@'));
    let is_page = text.starts_with("https://");
    if (is_mailbox || is_page) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(text));
    }
    Err(de::Error::custom(format!(
        "`{text}` is no contact; expected one such as \"mailto:me@example.org\" or \
         \"https://example.org/contact\""
    )))
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let host = |text: &String| {
        let address = text.parse::<IpAddr>().map(|address| address.to_string());
        let name = || text.parse::<Hostname>().map(|name| name.to_string());
        address.or_else(|_| name()).map_err(|_| {
            de::Error::custom(format!(
                "`{text}` is no host; expected names and IP addresses without a port, such as \
                 [\"push.example.org\", \"192.168.1.5\"]"
            ))
        })
    };
    texts.iter().map(host).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Result<PushTable, String> {
        parse(text.as_bytes()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn devices_are_told_unless_it_is_turned_off_and_only_on_the_internet() {
        let table = read("").unwrap();
        assert!(table.enabled && table.contact.is_none() && table.private_hosts.is_empty());
        assert!(!read("enabled = false").unwrap().enabled);
        let table = read(
            "contact = \"mailto:me@example.org\"\nprivate_hosts = [\"Push.LAN\", \"192.168.1.5\", \"::1\"]",
        );
        let table = table.unwrap();
        assert_eq!(table.contact.as_deref(), Some("mailto:me@example.org"));
        assert_eq!(table.private_hosts, ["push.lan", "192.168.1.5", "::1"]);
        for wrong in [
            "contact = \"me@example.org\"",
            "contact = \"mailto:me\"",
            "contact = \"https://a b\"",
            "private_hosts = [\"push.lan:8443\"]",
            "private_hosts = [\"https://push.lan\"]",
            "private_hosts = [\"*\"]",
            "private_hosts = \"push.lan\"",
            "enable = true",
        ] {
            assert!(read(wrong).unwrap_err().starts_with("1:"), "{wrong}");
        }
    }
}
