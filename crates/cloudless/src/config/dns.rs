//! `[dns]` in `home.toml`: whom home asks about its own names.

use std::net::{IpAddr, SocketAddr};

use cloudless_home::trust::DnsConfig;
use serde::{Deserialize, Deserializer, de};

const PORT: u16 = 53;

/// The table; all of it may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DnsTable {
    /// Resolvers that answer this machine, of different owners.
    #[serde(deserialize_with = "some_resolvers")]
    resolvers: Vec<SocketAddr>,
    /// DNSKEY records that DNSSEC begins with, in place of those of the root.
    trust_anchor: Option<String>,
    /// The port of name servers, in place of 53.
    name_server_port: Option<u16>,
}

impl DnsTable {
    /// What home is told of it.
    pub(crate) fn config(&self) -> DnsConfig {
        let mut config = DnsConfig::default();
        if !self.resolvers.is_empty() {
            config.resolvers = self.resolvers.iter().map(|it| vec![*it]).collect();
        }
        config.trust_anchor = self.trust_anchor.clone();
        config.name_server_port = self.name_server_port.unwrap_or(PORT);
        config
    }
}

fn some_resolvers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.is_empty() {
        return Err(de::Error::custom(
            "expected at least one resolver, better three of different owners",
        ));
    }
    let resolver = |text: &String| {
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        address.or_else(|_| text.parse()).map_err(|_| {
            de::Error::custom(format!(
                "`{text}` is no resolver; expected IP addresses, such as [\"9.9.9.9\", \"1.1.1.1\", \
                 \"8.8.8.8\"]"
            ))
        })
    };
    texts.iter().map(resolver).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn three_resolvers_are_asked_unless_others_are_named() {
        let read = |text: &str| parse::<DnsTable>(text.as_bytes()).map(|it| it.config());
        let config = read("").unwrap();
        assert_eq!((config.resolvers.len(), config.name_server_port), (3, 53));
        let both = |it: &Vec<SocketAddr>| {
            it.iter().any(SocketAddr::is_ipv4) && it.iter().any(SocketAddr::is_ipv6)
        };
        assert!(config.resolvers.iter().all(both), "{config:?}");
        let config = read("resolvers = [\"192.0.2.1\", \"[2001:db8::1]:5353\"]").unwrap();
        let expected = ["192.0.2.1:53", "[2001:db8::1]:5353"].map(|it| vec![it.parse().unwrap()]);
        assert_eq!(config.resolvers, expected);
        for wrong in [
            "resolvers = []",
            "resolvers = [\"dns.example\"]",
            "resolver = []",
        ] {
            let fault = read(wrong).unwrap_err().to_string();
            assert!(fault.starts_with("1:"), "{wrong} {fault}");
        }
    }
}
