//! Where a relay is reached from outside.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use cloudless_proto::Hostname;
use serde::{Deserialize, Deserializer, de};

/// The port that visitors use.
pub(crate) const HTTPS_PORT: u16 = 443;

/// A DNS name or an IP address, with a port if it was given. `HOST`, `HOST:PORT`, `[IPV6]:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

/// The part of an address before the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(Hostname),
}

/// The text is no address.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not an address; expected HOST or HOST:PORT, where HOST is a DNS name or an IP \
    address, such as `relay.example.org`, `203.0.113.5:443` or `[2001:db8::5]:443`"
)]
pub(crate) struct AddressError(String);

impl Address {
    /// The address with `port` where none was given.
    pub(crate) fn with_default_port(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port: Some(self.port.unwrap_or(port)),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = || AddressError(text.to_owned());
        if let Ok(ip) = text.parse() {
            return Ok(Self {
                host: Host::Ip(ip),
                port: None,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, Some(port.parse().map_err(|_| refused())?))
            }
            _ => (text, None),
        };
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(ip) => Host::Ip(ip.parse::<Ipv6Addr>().map_err(|_| refused())?.into()),
            None => match host.parse() {
                Ok(IpAddr::V4(ip)) => Host::Ip(ip.into()),
                Ok(IpAddr::V6(_)) => return Err(refused()),
                Err(_) => Host::Name(host.parse().map_err(|_| refused())?),
            },
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Ip(IpAddr::V6(ip)), Some(_)) => write!(f, "[{ip}]")?,
            (Host::Ip(ip), _) => write!(f, "{ip}")?,
            (Host::Name(name), _) => write!(f, "{name}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl<'de> Deserialize<'de> for Address {
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
    fn addresses_round_trip() {
        for text in [
            "relay.example.org",
            "relay.example.org:8443",
            "203.0.113.5",
            "203.0.113.5:443",
            "2001:db8::5",
            "[2001:db8::5]:443",
            "localhost:0",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":443",
            "a b",
            "relay.example.org:",
            "relay:70000",
            "2001:db8::5:x",
            "https://a.b",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
