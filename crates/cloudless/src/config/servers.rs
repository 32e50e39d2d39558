//! `[fallback]` and `[routes]` in `relay.toml`: servers beside the relay.

use std::collections::BTreeMap;
use std::fmt;

use cloudless_proto::UpstreamAddress;
use cloudless_proto::proxy_protocol::Version;
use cloudless_relay::{Network, Pattern, Routes, Servers};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// Far more names than a person writes down, and few enough to be asked for their health at once.
const ROUTES_MAX: usize = 256;

/// `[fallback]`, and the table of each route.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServersTable {
    pub(crate) https: Option<UpstreamAddress>,
    pub(crate) http: Option<UpstreamAddress>,
    pub(crate) proxy_protocol: Option<Version>,
}

impl ServersTable {
    pub(crate) fn servers(&self) -> Servers {
        Servers {
            https: self.https.clone(),
            http: self.http.clone(),
            proxy_protocol: self.proxy_protocol,
        }
    }

    /// The settings of this table that hold addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, &UpstreamAddress)> {
        let both = [("https", self.https.as_ref()), ("http", self.http.as_ref())];
        both.into_iter()
            .filter_map(|(name, address)| Some((name, address?)))
    }
}

/// `[routes]`: tables by name or `*.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoutesTable(pub(crate) BTreeMap<Pattern, ServersTable>);

impl RoutesTable {
    pub(crate) fn routes(&self) -> Routes {
        let route =
            |(pattern, table): (&Pattern, &ServersTable)| (pattern.clone(), table.servers());
        Routes(self.0.iter().map(route).collect())
    }
}

impl<'de> Deserialize<'de> for RoutesTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = RoutesTable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table for each name, such as [routes.\"www.example.org\"]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut tables: A) -> Result<Self::Value, A::Error> {
                let mut routes = BTreeMap::new();
                while let Some(RouteName(pattern)) = tables.next_key()? {
                    let table: ServersTable = tables.next_value()?;
                    if table.addresses().next().is_none() {
                        return Err(de::Error::custom(format!(
                            "the route of `{pattern}` leads nowhere; expected `https` or `http`, \
                             such as https = \"127.0.0.1:8443\""
                        )));
                    }
                    // The same name in two spellings.
                    if routes.insert(pattern.clone(), table).is_some() {
                        return Err(de::Error::custom(format!("`{pattern}` has two routes")));
                    }
                }
                if routes.len() > ROUTES_MAX {
                    return Err(de::Error::custom(format!(
                        "expected at most {ROUTES_MAX} routes; `*.example.org` is one for all names \
                         below example.org"
                    )));
                }
                Ok(RoutesTable(routes))
            }
        }
        deserializer.deserialize_map(Tables)
    }
}

struct RouteName(Pattern);

impl<'de> Deserialize<'de> for RouteName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|error| {
            de::Error::custom(format!(
                "`{text}` is no name for a route; expected \"www.example.org\", or \
                 \"*.example.org\" for all names below example.org: {error}"
            ))
        })
    }
}

/// A network in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetworkText(pub(crate) Network);

impl<'de> Deserialize<'de> for NetworkText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

impl fmt::Display for NetworkText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct File {
        routes: RoutesTable,
    }

    fn read(text: &str) -> Result<Routes, String> {
        let file: File = parse(text.as_bytes()).map_err(|fault| fault.to_string())?;
        Ok(file.routes.routes())
    }

    #[test]
    fn a_route_has_servers_and_says_how_they_are_spoken_to() {
        let routes = read(
            "[routes.\"www.example.org\"]\nhttps = \"[::1]:8443\"\nhttp = \"unix:/run/web.sock\"\n\
             proxy_protocol = \"v2\"\n[routes.\"*.Example.org\"]\nhttp = \"127.0.0.1:8080\"\n",
        );
        let routes = routes.unwrap().0;
        let www = &routes[&"www.example.org".parse().unwrap()];
        assert_eq!(www.https, Some("[::1]:8443".parse().unwrap()));
        assert_eq!(www.http, Some("unix:/run/web.sock".parse().unwrap()));
        assert_eq!(www.proxy_protocol, Some(Version::V2));
        let below = &routes[&"*.example.org".parse().unwrap()];
        assert_eq!((below.https.clone(), below.proxy_protocol), (None, None));
    }

    #[test]
    fn a_wrong_route_is_shown_where_it_stands() {
        let https = "https = \"127.0.0.1:1\"";
        for (text, place, expected) in [
            (
                format!("[routes.\"a.*\"]\n{https}\n"),
                "1:",
                "no name for a route",
            ),
            (
                "[routes.\"a.b\"]\nhttps = \"localhost\"\n".to_owned(),
                "2:9:",
                "expected an IP address and a port",
            ),
            (
                format!("[routes.\"a.b\"]\n{https}\nproxy_protocol = \"v3\"\n"),
                "3:18:",
                "expected `v1` or `v2`",
            ),
            ("[routes.\"a.b\"]\n".to_owned(), "1:", "leads nowhere"),
            (
                format!("[routes.\"a.b\"]\n{https}\n[routes.\"A.b\"]\n{https}\n"),
                "1:",
                "two routes",
            ),
        ] {
            let fault = read(&text).unwrap_err();
            assert!(fault.starts_with(place), "{place} {fault}");
            assert!(fault.contains(expected), "{expected}: {fault}");
        }
    }
}
