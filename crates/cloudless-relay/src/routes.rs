//! Names that are no home's, and the servers that they lead to.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use cloudless_proto::proxy_protocol::Version;
use cloudless_proto::{Hostname, InvalidHostname, UpstreamAddress};

/// The servers beside the relay that get a name's connections, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// Gets the TLS connections. `None` closes them.
    pub https: Option<UpstreamAddress>,
    /// Gets the plain HTTP requests. `None` answers 404.
    pub http: Option<UpstreamAddress>,
    /// Puts a header with the visitor's address before its bytes, for both.
    pub proxy_protocol: Option<Version>,
}

impl Servers {
    fn addresses(&self) -> impl Iterator<Item = (&UpstreamAddress, Option<Version>)> {
        let both = self.https.iter().chain(&self.http);
        both.map(|address| (address, self.proxy_protocol))
    }
}

/// The names that a route is for: one, or all below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// This name.
    Name(Hostname),
    /// Every name that has one or more labels before this one; not this one itself.
    Below(Hostname),
}

const WILDCARD: &str = "*.";

impl Pattern {
    /// A name that it is for; `None` when there is no room for one more label.
    pub(crate) fn example(&self) -> Option<Hostname> {
        match self {
            Self::Name(name) => Some(name.clone()),
            Self::Below(name) => format!("x.{name}").parse().ok(),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::Below(name) => write!(formatter, "{WILDCARD}{name}"),
        }
    }
}

impl FromStr for Pattern {
    type Err = InvalidHostname;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(WILDCARD) {
            Some(name) => name.parse().map(Self::Below),
            None => text.parse().map(Self::Name),
        }
    }
}

/// Where names lead that belong to no home. A name's own route comes before any wildcard, and of
/// those the one with most labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(pub BTreeMap<Pattern, Servers>);

impl Routes {
    pub(crate) fn of(&self, hostname: &Hostname) -> Option<&Servers> {
        if let Some(servers) = self.0.get(&Pattern::Name(hostname.clone())) {
            return Some(servers);
        }
        let mut rest = hostname.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            rest = parent;
            // The end of a host name is one, unless it is a number, which no wildcard ends with.
            let below = Pattern::Below(rest.parse().ok()?);
            if let Some(servers) = self.0.get(&below) {
                return Some(servers);
            }
        }
        None
    }

    /// Whether the name has a route of its own: a home cannot have it then.
    pub fn names(&self, hostname: &Hostname) -> bool {
        self.0.contains_key(&Pattern::Name(hostname.clone()))
    }
}

/// Every server that is in `fallback` or `routes`, once for each way it is spoken to.
pub(crate) fn all(
    fallback: &Servers,
    routes: &Routes,
) -> BTreeMap<UpstreamAddress, Option<Version>> {
    let servers = std::iter::once(fallback).chain(routes.0.values());
    let pairs = servers.flat_map(Servers::addresses);
    pairs
        .map(|(address, version)| (address.clone(), version))
        .collect()
}

/// The servers among them that get TLS connections.
pub(crate) fn https(
    fallback: &Servers,
    routes: &Routes,
) -> BTreeMap<UpstreamAddress, Option<Version>> {
    let servers = std::iter::once(fallback).chain(routes.0.values());
    servers
        .filter_map(|servers| Some((servers.https.clone()?, servers.proxy_protocol)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(patterns: &[&str]) -> Routes {
        let route = |(port, pattern): (u16, &&str)| {
            let servers = Servers {
                https: Some(UpstreamAddress::Tcp(([127, 0, 0, 1], port).into())),
                ..Servers::default()
            };
            (pattern.parse().unwrap(), servers)
        };
        Routes((1..).zip(patterns).map(route).collect())
    }

    /// The position of the pattern that the name goes to, from 1; 0 for none.
    fn position(routes: &Routes, name: &str) -> u16 {
        let servers = routes.of(&name.parse().unwrap());
        match servers.and_then(|servers| servers.https.as_ref()) {
            Some(UpstreamAddress::Tcp(address)) => address.port(),
            _ => 0,
        }
    }

    #[test]
    fn the_nearest_route_wins() {
        let routes = routes(&[
            "*.example.org",
            "www.example.org",
            "*.b.example.org",
            "*.test",
        ]);
        for (name, expected) in [
            ("www.example.org", 2),
            ("a.example.org", 1),
            ("x.a.example.org", 1),
            ("x.www.example.org", 1),
            ("b.example.org", 1),
            ("x.b.example.org", 3),
            ("y.x.b.example.org", 3),
            ("example.org", 0),
            ("myexample.org", 0),
            ("a.test", 4),
            ("test", 0),
            ("org", 0),
        ] {
            assert_eq!(position(&routes, name), expected, "{name}");
        }
        assert!(routes.names(&"www.example.org".parse().unwrap()));
        assert!(!routes.names(&"a.example.org".parse().unwrap()));
    }

    #[test]
    fn patterns_are_names_or_all_below_one() {
        for (text, written) in [
            ("*.Example.ORG.", "*.example.org"),
            ("www.example.org", "www.example.org"),
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), written);
        }
        for text in [
            "*",
            "*.",
            "www.*.org",
            "*example.org",
            "*.*.org",
            "",
            "*.192.0.2.1",
        ] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
