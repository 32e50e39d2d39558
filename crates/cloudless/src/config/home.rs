//! `home.toml`.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use cloudless_home::trust::TrustConfig;
use cloudless_proto::trust::Level;
use cloudless_proto::{Hostname, PublicKey};
use serde::{Deserialize, Deserializer, de};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use super::ConfigError;
use super::acme::{AcmeTable, Challenge};
use super::carddav::CardDavTable;
use super::devices::DevicesTable;
use super::dns::DnsTable;
use super::history::HistoryTable;
pub(crate) use super::home_relay::RelayTable;
use super::home_relay::Relays;
use super::hostname::{HostnameTable, HostnameTables, level};
use super::metrics::MetricsAddress;
use super::probe::ProbeTable;
use super::push::PushTable;
use super::sockets::SocketAddresses;
use super::transparency::TransparencyTable;
use super::upstream::{self, UpstreamTable};
use crate::atomic_file;

/// The file in home's state directory.
pub(crate) const FILE: &str = "home.toml";

/// Where local programs find their contacts unless the file says otherwise.
pub(crate) const DEFAULT_LOCAL: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
    // "CLOUD" on the keys of a telephone. IANA has assigned it to nobody, and it is below the
    // range that Linux takes outgoing ports from.
    25683,
);

const ADVICE: &str = "get a join code from the relay (`cloudless relay invite HOST`) and run \
    `cloudless home join CODE`";

/// What a home is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HomeFile {
    #[serde(default, deserialize_with = "some_hostnames")]
    pub(crate) hostnames: Vec<Hostname>,
    #[serde(default = "default_local", deserialize_with = "loopback")]
    pub(crate) local: SocketAddresses,
    #[serde(default = "yes")]
    pub(crate) legs: bool,
    #[serde(default = "yes")]
    pub(crate) sandbox: bool,
    #[serde(default)]
    pub(crate) metrics: Option<MetricsAddress>,
    #[serde(default)]
    pub(crate) relay: Relays,
    #[serde(default)]
    pub(crate) upstream: Vec<UpstreamTable>,
    #[serde(default)]
    pub(crate) hostname: HostnameTables,
    #[serde(default, deserialize_with = "level")]
    pub(crate) trust: Option<Level>,
    #[serde(default)]
    pub(crate) dns: DnsTable,
    #[serde(default)]
    pub(crate) transparency: TransparencyTable,
    #[serde(default)]
    pub(crate) acme: AcmeTable,
    #[serde(default)]
    pub(crate) history: HistoryTable,
    #[serde(default)]
    pub(crate) devices: DevicesTable,
    #[serde(default)]
    pub(crate) carddav: CardDavTable,
    #[serde(default)]
    pub(crate) push: PushTable,
    #[serde(default)]
    pub(crate) probe: ProbeTable,
}

impl HomeFile {
    /// Reads and checks `home.toml` in a state directory of a home that has joined a relay.
    pub(crate) fn read(state: &Path) -> Result<Self, ConfigError> {
        let path = state.join(FILE);
        let file: Self = super::read(&path, ADVICE)?;
        match file.contradiction() {
            Some(message) => Err(ConfigError::Contradiction { path, message }),
            None => Ok(file),
        }
    }

    /// A table for a name that does not lead here would never be looked at.
    fn contradiction(&self) -> Option<String> {
        match (self.hostnames.is_empty(), self.relay.is_empty()) {
            (true, true) => return Some(format!("this home has joined no relay yet; {ADVICE}")),
            (true, false) => return Some("there is a [[relay]] and no `hostnames`".to_owned()),
            (false, true) => return Some("there are `hostnames` and no [[relay]]".to_owned()),
            (false, false) => {}
        }
        let is_http_01 = self.acme.challenge == Challenge::Http01;
        let mut tables = self.hostname.iter();
        let contradiction = tables.find_map(|(name, table)| {
            let contradiction = table.contradiction(is_http_01)?;
            Some(format!("[hostname.\"{name}\"] {contradiction}"))
        });
        if contradiction.is_some() {
            return contradiction;
        }
        if let Some(contradiction) = self.level_contradiction() {
            return Some(contradiction);
        }
        let is_passed = |hostname: &Hostname| {
            let table = self.hostname.get(hostname);
            table.is_some_and(|table| table.passthrough.is_some())
        };
        let contradiction = upstream::contradiction(&self.upstream, &self.hostnames, is_passed);
        if contradiction.is_some() {
            return contradiction;
        }
        let mut names = self.hostname.keys();
        let stray = names.find(|name| !self.hostnames.contains(name))?;
        Some(format!(
            "[hostname.\"{stray}\"] is for a name that is not among `hostnames`; join with it first \
             (on the relay run `cloudless relay invite {stray}`, here `cloudless home join CODE`), \
             or correct the name"
        ))
    }

    /// Whether a name has its certificate from a public authority.
    pub(crate) fn has_acme(&self) -> bool {
        self.hostname.values().any(HostnameTable::is_acme)
    }

    /// The names of which devices have to be told of home's own authority.
    pub(crate) fn names_to_trust(&self) -> Vec<&Hostname> {
        let is_own = |hostname: &&Hostname| {
            let table = self.hostname.get(*hostname);
            table.is_none_or(HostnameTable::has_own_authority)
        };
        self.hostnames.iter().filter(is_own).collect()
    }

    /// How the names are to be protected.
    pub(crate) fn trust(&self) -> TrustConfig {
        let level = |hostname: &Hostname| (hostname.clone(), self.level(hostname));
        TrustConfig {
            level: None,
            levels: self.hostnames.iter().map(level).collect(),
            dns: self.dns.config(),
            transparency: self.transparency.config(),
        }
    }

    /// How a name is to be protected. Unless the file says so, what its certificate can give: one of
    /// home's own authority is worth something where no other can be had.
    fn level(&self, hostname: &Hostname) -> Level {
        let table = self.hostname.get(hostname);
        let asked = table.and_then(|table| table.trust).or(self.trust);
        let usual = table.map_or(Level::Pinned, HostnameTable::usual_level);
        match asked {
            // What is more than was asked for is told as it is.
            Some(Level::Public) if usual == Level::ClientCertificates => usual,
            asked => asked.unwrap_or(usual),
        }
    }

    /// Why a name cannot have the level that the file asks for.
    fn level_contradiction(&self) -> Option<String> {
        self.hostnames.iter().find_map(|hostname| {
            let table = self.hostname.get(hostname);
            let usual = table.map_or(Level::Pinned, HostnameTable::usual_level);
            let is_passed = table.is_some_and(|table| table.passthrough.is_some());
            let is_asked = table.and_then(|table| table.trust).or(self.trust).is_some();
            let advice = match (self.level(hostname), usual) {
                _ if is_passed => return None,
                (Level::HonestRelay, _) if !is_asked => {
                    return Some(format!(
                        "[hostname.\"{hostname}\"] has a certificate_file, and whether the relay gets a \
                         certificate for the name too, home cannot know: write trust = \"honest-relay\" \
                         there, if you trust whoever runs the relay not to, or certificate = \"acme\" in \
                         its place, which keeps them from it"
                    ));
                }
                (Level::Public, Level::Pinned | Level::HonestRelay) => {
                    "needs a certificate that home orders: write certificate = \"acme\" there"
                }
                (Level::ClientCertificates, usual) if usual != Level::ClientCertificates => {
                    "needs certificate = \"acme\" and client_certificates = true there, on a name that is \
                     for devices with a client certificate alone"
                }
                (Level::Pinned, Level::Public | Level::ClientCertificates | Level::HonestRelay) => {
                    "needs a certificate of home's own authority: write certificate = \"own\" there"
                }
                _ => return None,
            };
            let level = self.level(hostname);
            Some(format!(
                "[hostname.\"{hostname}\"] with trust = \"{level}\" {advice}"
            ))
        })
    }

    /// The names that demand a client certificate.
    pub(crate) fn client_certificates(&self) -> BTreeSet<Hostname> {
        let demanding = self.hostname.iter();
        demanding
            .filter(|(_, table)| table.client_certificates)
            .map(|(hostname, _)| hostname.clone())
            .collect()
    }

    /// Like [`HomeFile::read`], also of a home that has not joined a relay, which may have settings
    /// or not even a file: `None`.
    pub(crate) fn read_if_there(state: &Path) -> Result<Option<Self>, ConfigError> {
        match super::read(&state.join(FILE), ADVICE) {
            Err(ConfigError::Missing { .. }) => Ok(None),
            read => read.map(Some),
        }
    }
}

/// `home.toml` as text that is changed in place: comments and order stay.
pub(crate) struct HomeDocument(DocumentMut);

impl HomeDocument {
    /// A file for a home that serves local programs at the default port and has joined nothing.
    pub(crate) fn new() -> Self {
        let mut document = DocumentMut::new();
        document["hostnames"] = value(Array::new());
        document["local"] = value(DEFAULT_LOCAL.to_string());
        document["relay"] = Item::ArrayOfTables(ArrayOfTables::new());
        comment(
            &mut document,
            "hostnames",
            "# Home. `cloudless home join CODE` adds to this file, `cloudless home run` checks it.\n\n\
             # The names that lead to this home.\n",
        );
        comment(
            &mut document,
            "local",
            "\n# Where programs on this machine find the contacts, without TLS: loopback only.\n",
        );
        Self(document)
    }

    /// The file in a state directory, `None` when there is none. It is checked first.
    pub(crate) fn read(state: &Path) -> anyhow::Result<Option<Self>> {
        if HomeFile::read_if_there(state)?.is_none() {
            return Ok(None);
        }
        let path = state.join(FILE);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let document = text
            .parse()
            .with_context(|| format!("cannot edit {}", path.display()))?;
        Ok(Some(Self(document)))
    }

    /// Adds a name and the relay that it was joined at. A relay that is known is updated: its
    /// addresses, and its key where it was set up anew or rotated its key while home was away.
    /// `is_successor` tells whether it has announced its key in place of a known one already.
    pub(crate) fn add(
        &mut self,
        hostname: &Hostname,
        relay: &RelayTable,
        is_successor: impl Fn(PublicKey) -> bool,
    ) -> anyhow::Result<()> {
        let none = || value(Array::new());
        let hostnames = self.0.entry("hostnames").or_insert_with(none);
        let hostnames = hostnames
            .as_array_mut()
            .context("`hostnames` is no array")?;
        if !hostnames
            .iter()
            .any(|known| known.as_str() == Some(hostname.as_str()))
        {
            hostnames.push(hostname.as_str());
        }
        let none = || Item::ArrayOfTables(ArrayOfTables::new());
        let relays = self.0.entry("relay").or_insert_with(none);
        let relays = relays
            .as_array_of_tables_mut()
            .context("`relay` is no [[relay]]")?;
        let addresses = relay
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Array>();
        let key = relay.key.to_string();
        let text = |table: &Table, name| Some(table.get(name)?.as_str()?.to_owned());
        let has_key = |table: &Table| {
            let known = text(table, "key").and_then(|key| key.parse().ok());
            known.is_some_and(|known| known == relay.key || is_successor(known))
        };
        let has_place = |table: &Table| {
            let known = table.get("addresses").and_then(Item::as_array);
            let mut known = known.into_iter().flatten().filter_map(|it| it.as_str());
            let is_same = text(table, "server_name").as_deref() == Some(relay.server_name.as_str());
            is_same && known.any(|it| addresses.iter().any(|other| other.as_str() == Some(it)))
        };
        let has_known_key = relays.iter().any(has_key);
        let known = relays.iter_mut().find(|table| {
            if has_known_key {
                has_key(table)
            } else {
                has_place(table)
            }
        });
        match known {
            Some(table) => {
                table["addresses"] = value(addresses);
                if !has_known_key {
                    table["key"] = value(key);
                }
            }
            None => {
                let mut table = Table::new();
                table["addresses"] = value(addresses);
                table["server_name"] = value(relay.server_name.as_str());
                table["key"] = value(key);
                table
                    .decor_mut()
                    .set_prefix("\n# A relay that home keeps a tunnel to.\n");
                relays.push(table);
            }
        }
        Ok(())
    }

    /// Sets where local programs are served.
    pub(crate) fn set_local(&mut self, addresses: &[SocketAddr]) {
        self.0["local"] = match addresses {
            [address] => value(address.to_string()),
            addresses => value(addresses.iter().map(ToString::to_string).collect::<Array>()),
        };
    }

    /// Sets where the public names lead, in place of what the DNS says.
    pub(crate) fn set_probe(&mut self, address: SocketAddr) {
        let mut table = Table::new();
        table["addresses"] = value(address.to_string());
        self.0["probe"] = Item::Table(table);
    }

    /// Writes the file into a state directory.
    pub(crate) fn write(&self, state: &Path) -> anyhow::Result<()> {
        atomic_file::replace(&state.join(FILE), self.0.to_string().as_bytes())
    }
}

fn comment(document: &mut DocumentMut, key: &str, text: &str) {
    if let Some(mut key) = document.key_mut(key) {
        key.leaf_decor_mut().set_prefix(text);
    }
}

fn yes() -> bool {
    true
}

fn default_local() -> SocketAddresses {
    SocketAddresses(vec![DEFAULT_LOCAL])
}

fn loopback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddresses, D::Error> {
    let sockets = SocketAddresses::deserialize(deserializer)?;
    match sockets.0.iter().find(|address| !address.ip().is_loopback()) {
        Some(address) => Err(de::Error::custom(format!(
            "`{address}` can be reached from other machines, and passwords are in clear there; \
             expected a loopback address, such as \"{DEFAULT_LOCAL}\""
        ))),
        None => Ok(sockets),
    }
}

fn some_hostnames<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hostname>, D::Error> {
    let hostnames = Vec::<Hostname>::deserialize(deserializer)?;
    if hostnames.is_empty() {
        return Err(de::Error::custom(
            "expected at least one hostname, such as [\"contacts.example.org\"]",
        ));
    }
    Ok(hostnames)
}

#[cfg(test)]
mod tests;
