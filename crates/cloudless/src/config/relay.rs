//! `relay.toml`.

use std::fmt::{Display, Write as _};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use cloudless_proto::{Hostname, UpstreamAddress};
use serde::{Deserialize, Deserializer, de};

use super::ConfigError;
use super::address::Address;
use super::limits::LimitsTable;
use super::metrics::MetricsAddress;
use super::period::Period;
use super::servers::{NetworkText, RoutesTable, ServersTable};
use super::sockets::SocketAddresses;

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
    #[serde(default = "yes")]
    pub(crate) sandbox: bool,
    #[serde(default)]
    pub(crate) metrics: Option<MetricsAddress>,
    #[serde(default)]
    pub(crate) listen: Listen,
    #[serde(default)]
    pub(crate) fallback: ServersTable,
    #[serde(default)]
    pub(crate) routes: RoutesTable,
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
    /// Homes that are plain SSH clients; nowhere by default.
    #[serde(default = "nowhere")]
    pub(crate) ssh: SocketAddresses,
    /// Load balancers before the relay.
    #[serde(default)]
    pub(crate) proxy_protocol_from: Vec<NetworkText>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            https: default_https(),
            http: default_http(),
            ssh: nowhere(),
            proxy_protocol_from: Vec::new(),
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

    /// A server that is the relay itself would be passed its own connections, round and round.
    fn contradiction(&self) -> Option<String> {
        let is_self = |server: &UpstreamAddress| {
            let UpstreamAddress::Tcp(server) = server else {
                return false;
            };
            let Listen {
                https, http, ssh, ..
            } = &self.listen;
            let mut listens = https.0.iter().chain(&http.0).chain(&ssh.0);
            listens.any(|it| {
                let is_same = it.ip() == server.ip();
                let is_covered = it.ip().is_unspecified() && server.ip().is_loopback();
                it.port() == server.port() && (is_same || is_covered)
            })
        };
        let fallback = ("fallback".to_owned(), &self.fallback);
        let routes = self.routes.0.iter();
        let routes = routes.map(|(name, table)| (format!("routes.\"{name}\""), table));
        let servers = std::iter::once(fallback)
            .chain(routes)
            .flat_map(|(place, table)| {
                let addresses = table.addresses();
                addresses.map(move |(name, address)| (format!("{place}.{name}"), address))
            });
        servers
            .into_iter()
            .find(|(_, address)| is_self(address))
            .map(|(place, address)| {
                format!(
                    "`{place}` is {address}, where the relay itself listens; \
                     let the web server listen elsewhere, such as on 127.0.0.1:8443, and name that"
                )
            })
    }

    /// The file that says this, with a comment at each setting.
    pub(crate) fn render(&self) -> String {
        let fallback = |name, address: &Option<UpstreamAddress>, example| match address {
            Some(address) => format!("{name} = \"{address}\""),
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

# How long a visitor is kept waiting for a home that is offline for a moment, and for its turn in a flood.
hold = \"{hold}\"

# Whether visitors that move much get TCP connections of their own between home and relay, past the
# tunnel: faster, and cheaper for this machine. Either side may turn it off.
legs = {legs}

# Whether the running relay gives up what it does not need: files outside of its state directory, new
# privileges, other programs, system calls that servers have no use for.
sandbox = {sandbox}

# Where Prometheus reads this relay's metrics, at /metrics: a loopback address.
{metrics}

[listen]
# Visitors and homes. \"[::]\" means all addresses, IPv4 too. An array listens on several.
https = {https}
# Plain HTTP. A home's name is redirected to https, but what certificate authorities ask there goes to the
# home; all else goes to the `http` of a route or of the fallback, or is not found. [] turns it off.
http = {http}
# Homes that are plain SSH clients (`cloudless relay allow-ssh`), such as \"[::]:2222\". [] turns it off.
ssh = {ssh}
# Load balancers before this relay, such as [\"10.0.0.0/8\"]. Each of their connections must begin with a
# PROXY protocol header, version 1 or 2, and counts for the address in it; no other may have one.
# proxy_protocol_from = []

[fallback]
# A web server that gets every connection that is for no home, as it came: an address, or
# \"unix:/path\".
{fallback_https}
{fallback_http}
# Tells it the visitor's address by the PROXY protocol, version \"v1\" or \"v2\", which it must expect.
# proxy_protocol = \"v2\"

# Further names and where they lead, one table each. \"*.example.org\" is for all names below
# example.org; a name's own table comes first, then the longest wildcard, and before all of them homes.
# [routes.\"www.example.org\"]
# https = \"127.0.0.1:8443\"
# http = \"127.0.0.1:8080\"
# proxy_protocol = \"v2\"

{limits}",
            server_name = self.server_name,
            addresses = array(&self.addresses),
            hold = self.hold,
            legs = self.legs,
            sandbox = self.sandbox,
            metrics = match self.metrics {
                Some(MetricsAddress(address)) => format!("metrics = \"{address}\""),
                None => "# metrics = \"127.0.0.1:9464\"".to_owned(),
            },
            https = sockets(&self.listen.https),
            http = sockets(&self.listen.http),
            ssh = sockets(&self.listen.ssh),
            fallback_https = fallback("https", &self.fallback.https, "127.0.0.1:8443"),
            fallback_http = fallback("http", &self.fallback.http, "127.0.0.1:8080"),
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

fn nowhere() -> SocketAddresses {
    SocketAddresses(Vec::new())
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
            sandbox: false,
            metrics: Some(MetricsAddress("[::1]:9464".parse().unwrap())),
            listen: Listen {
                https: everywhere(8443),
                http: SocketAddresses(vec![]),
                ssh: everywhere(2222),
                proxy_protocol_from: Vec::new(),
            },
            fallback: ServersTable {
                https: Some("127.0.0.1:9".parse().unwrap()),
                ..ServersTable::default()
            },
            routes: RoutesTable::default(),
            limits: LimitsTable::default(),
        };
        let read: RelayFile = parse(file.render().as_bytes()).unwrap();
        assert_eq!(read.render(), file.render());
        assert!(!read.legs && !read.sandbox);
        assert_eq!(read.listen.http, SocketAddresses(vec![]));
        assert_eq!(read.listen.ssh, everywhere(2222));
        assert_eq!(read.fallback.https, file.fallback.https);
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let file: RelayFile =
            parse(b"server_name = \"a.example\"\naddresses = [\"a.example\"]\n").unwrap();
        assert_eq!(file.listen.https, everywhere(443));
        assert_eq!(file.listen.http, everywhere(80));
        assert_eq!(file.listen.ssh, SocketAddresses(vec![]));
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
                format!("{good}[listen]\nproxy_protocol_from = [\"10.0.0.0/40\"]\n"),
                "4:",
                "is no network",
            ),
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
            for table in ["fallback", "routes.\"*.example.org\""] {
                let text = format!("{good}[{table}]\n{fallback}\n");
                let file: RelayFile = parse(text.as_bytes()).unwrap();
                let contradiction = file.contradiction();
                assert_eq!(contradiction.is_some(), is_wrong, "{fallback}");
                assert!(contradiction.is_none_or(|it| it.contains(table)));
            }
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
