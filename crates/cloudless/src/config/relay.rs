//! `relay.toml`.

use std::fmt::{Display, Write as _};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use cloudless_proto::Hostname;
use serde::{Deserialize, Deserializer, de};

use super::ConfigError;
use super::address::Address;
use super::limits::LimitsTable;
use super::period::Period;
use super::sockets::{SocketAddress, SocketAddresses};

/// The file in the relay's state directory.
pub(crate) const FILE: &str = "relay.toml";

/// The name of a relay that has no DNS name. Only homes ask for it, and `.internal` is never
/// anybody else's.
pub(crate) const DEFAULT_SERVER_NAME: &str = "relay.cloudless.internal";

const ADVICE: &str = "make one with `cloudless relay init`";
/// As many as fit into a join code.
const ADDRESSES_MAX: usize = 8;

/// What a relay is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelayFile {
    pub(crate) server_name: Hostname,
    #[serde(deserialize_with = "some_addresses")]
    pub(crate) addresses: Vec<Address>,
    #[serde(default = "default_hold")]
    pub(crate) hold: Period,
    #[serde(default = "yes")]
    pub(crate) legs: bool,
    #[serde(default)]
    pub(crate) listen: Listen,
    #[serde(default)]
    pub(crate) fallback: Fallback,
    #[serde(default)]
    pub(crate) limits: LimitsTable,
}

/// `[listen]`: where the relay accepts connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    #[serde(default = "default_https", deserialize_with = "some_sockets")]
    pub(crate) https: SocketAddresses,
    #[serde(default = "default_http")]
    pub(crate) http: SocketAddresses,
}

/// `[fallback]`: the web server that gets what belongs to no home.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fallback {
    pub(crate) https: Option<SocketAddress>,
    pub(crate) http: Option<SocketAddress>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            https: default_https(),
            http: default_http(),
        }
    }
}

impl RelayFile {
    /// Reads and checks `relay.toml` in a state directory.
    pub(crate) fn read(state: &Path) -> Result<Self, ConfigError> {
        let path = state.join(FILE);
        let file: Self = super::read(&path, ADVICE)?;
        match file.contradiction() {
            Some(message) => Err(ConfigError::Contradiction { path, message }),
            None => Ok(file),
        }
    }

    /// A fallback that is the relay itself would pass connections round and round.
    fn contradiction(&self) -> Option<String> {
        let is_self = |listen: &SocketAddresses, SocketAddress(fallback): SocketAddress| {
            listen.0.iter().any(|it| {
                let is_same = it.ip() == fallback.ip();
                let is_covered = it.ip().is_unspecified() && fallback.ip().is_loopback();
                it.port() == fallback.port() && (is_same || is_covered)
            })
        };
        let listens = [&self.listen.https, &self.listen.http];
        [("https", self.fallback.https), ("http", self.fallback.http)]
            .into_iter()
            .filter_map(|(name, fallback)| Some((name, fallback?)))
            .find(|(_, fallback)| listens.iter().any(|listen| is_self(listen, *fallback)))
            .map(|(name, SocketAddress(fallback))| {
                format!(
                    "`fallback.{name}` is {fallback}, where the relay itself listens; \
                     let the web server listen elsewhere, such as on 127.0.0.1:8443, and name that"
                )
            })
    }

    /// The file that says this, with a comment at each setting.
    pub(crate) fn render(&self) -> String {
        let fallback = |name, address: Option<SocketAddress>, example| match address {
            Some(SocketAddress(address)) => format!("{name} = \"{address}\""),
            None => format!("# {name} = \"{example}\""),
        };
        format!(
            "\
# The relay. `cloudless relay run` checks this file before it binds a port.

# The relay's own name. Homes ask for it when they dial; it need not be in the DNS.
server_name = \"{server_name}\"

# Where homes reach this relay from outside, HOST or HOST:PORT, at most {ADDRESSES_MAX}. They go into join
# codes. Without a port it is the one that `https` listens on.
addresses = {addresses}

# How long a visitor is kept waiting for a home that is offline for a moment.
hold = \"{hold}\"

# Whether visitors that move much get TCP connections of their own between home and relay, past the
# tunnel: faster, and cheaper for this machine. Either side may turn it off.
legs = {legs}

[listen]
# Visitors and homes. \"[::]\" means all addresses, IPv4 too. An array listens on several.
https = {https}
# Answers with a redirect to https for homes, and nothing else. [] turns it off.
http = {http}

[fallback]
# A web server that gets every connection that is for no home, as it came.
{fallback_https}
{fallback_http}

{limits}",
            server_name = self.server_name,
            addresses = array(&self.addresses),
            hold = self.hold,
            legs = self.legs,
            https = sockets(&self.listen.https),
            http = sockets(&self.listen.http),
            fallback_https = fallback("https", self.fallback.https, "127.0.0.1:8443"),
            fallback_http = fallback("http", self.fallback.http, "127.0.0.1:8080"),
            limits = self.limits.render(),
        )
    }
}

/// All addresses of the machine, IPv4 and IPv6, at this port.
pub(crate) fn everywhere(port: u16) -> SocketAddresses {
    SocketAddresses(vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))])
}

/// How long a visitor is held by default.
pub(crate) fn default_hold() -> Period {
    Period(Duration::from_secs(5))
}

/// One address as a string, several or none as an array.
pub(crate) fn sockets(SocketAddresses(addresses): &SocketAddresses) -> String {
    match addresses.as_slice() {
        [address] => format!("\"{address}\""),
        addresses => array(addresses),
    }
}

/// A TOML array of strings. The values hold no character that TOML escapes.
pub(crate) fn array(values: &[impl Display]) -> String {
    let mut text = String::from("[");
    for (index, value) in values.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{}\"{value}\"", if index == 0 { "" } else { ", " });
    }
    text + "]"
}

fn yes() -> bool {
    true
}

fn default_https() -> SocketAddresses {
    everywhere(443)
}

fn default_http() -> SocketAddresses {
    everywhere(80)
}

/// At least one address and no more than fit into a join code.
pub(super) fn some_addresses<'de, D>(deserializer: D) -> Result<Vec<Address>, D::Error>
where
    D: Deserializer<'de>,
{
    let addresses = Vec::<Address>::deserialize(deserializer)?;
    if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
        return Err(de::Error::custom(format!(
            "expected 1 to {ADDRESSES_MAX} addresses, such as [\"203.0.113.5:443\"]"
        )));
    }
    Ok(addresses)
}

fn some_sockets<'de, D>(deserializer: D) -> Result<SocketAddresses, D::Error>
where
    D: Deserializer<'de>,
{
    let sockets = SocketAddresses::deserialize(deserializer)?;
    if sockets.0.is_empty() {
        return Err(de::Error::custom(
            "expected at least one socket address, such as \"[::]:443\"",
        ));
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn fault(text: &str) -> String {
        parse::<RelayFile>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_rendered_is_read_back() {
        let file = RelayFile {
            server_name: DEFAULT_SERVER_NAME.parse().unwrap(),
            addresses: vec![
                "203.0.113.5:443".parse().unwrap(),
                "relay.example.org".parse().unwrap(),
            ],
            hold: default_hold(),
            legs: false,
            listen: Listen {
                https: everywhere(8443),
                http: SocketAddresses(vec![]),
            },
            fallback: Fallback {
                https: Some(SocketAddress("127.0.0.1:9".parse().unwrap())),
                http: None,
            },
            limits: LimitsTable::default(),
        };
        let read: RelayFile = parse(file.render().as_bytes()).unwrap();
        assert_eq!(read.render(), file.render());
        assert!(!read.legs);
        assert_eq!(read.listen.http, SocketAddresses(vec![]));
        assert_eq!(read.fallback.https, file.fallback.https);
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let file: RelayFile =
            parse(b"server_name = \"a.example\"\naddresses = [\"a.example\"]\n").unwrap();
        assert_eq!(file.listen.https, everywhere(443));
        assert_eq!(file.listen.http, everywhere(80));
        assert_eq!(file.hold, default_hold());
        assert!(file.legs);
    }

    #[test]
    fn a_fault_has_line_column_and_what_was_expected() {
        let good = "server_name = \"a.example\"\naddresses = [\"a.example\"]\n";
        for (text, place, expected) in [
            ("server_name = a.example\n".to_owned(), "1:15:", "expected"),
            (
                format!("{good}[listen]\nhttps = \"nonsense\"\n"),
                "4:9:",
                "expected an IP address",
            ),
            (
                format!("{good}[listen]\nhttps = [\"[::]:443\", \"x\"]\n"),
                "4:9:",
                "expected an IP",
            ),
            (
                format!("{good}[listen]\nhttps = 443\n"),
                "4:9:",
                "expected a socket address",
            ),
            (
                format!("{good}[listen]\nhttps = []\n"),
                "4:9:",
                "expected at least one",
            ),
            (format!("{good}hold = 5\n"), "3:8:", "expected a string"),
            (
                format!("{good}hold = \"5\"\n"),
                "3:8:",
                "expected a number and a unit",
            ),
            (format!("{good}holt = \"5s\"\n"), "3:1:", "expected one of"),
            (
                "server_name = \"a_b\"\naddresses = [\"a\"]".to_owned(),
                "1:15:",
                "",
            ),
            (
                "server_name = \"a.b\"\naddresses = []".to_owned(),
                "2:13:",
                "expected 1 to 8",
            ),
            (
                "server_name = \"a.b\"\n".to_owned(),
                "1:1:",
                "missing field `addresses`",
            ),
        ] {
            let fault = fault(&text);
            assert!(fault.starts_with(place), "{place} {fault}");
            assert!(fault.contains(expected), "{expected}: {fault}");
        }
    }

    #[test]
    fn a_fallback_to_itself_is_a_contradiction() {
        let good = "server_name = \"a.example\"\naddresses = [\"a.example\"]\n";
        for (fallback, is_wrong) in [
            ("https = \"127.0.0.1:443\"", true),
            ("https = \"127.0.0.1:80\"", true),
            ("http = \"[::1]:80\"", true),
            ("https = \"127.0.0.1:8443\"", false),
            ("https = \"192.0.2.7:443\"", false),
        ] {
            let text = format!("{good}[fallback]\n{fallback}\n");
            let file: RelayFile = parse(text.as_bytes()).unwrap();
            assert_eq!(file.contradiction().is_some(), is_wrong, "{fallback}");
        }
    }

    #[test]
    fn a_file_that_is_no_text_is_a_fault() {
        let fault = parse::<RelayFile>(b"server_name = \"\xff\"")
            .unwrap_err()
            .to_string();
        assert!(fault.starts_with("1:16: expected text in UTF-8"), "{fault}");
    }
}
