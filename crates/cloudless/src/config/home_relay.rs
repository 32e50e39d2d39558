//! `[[relay]]` in `home.toml`: a relay of cloudless, or an SSH server in its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cloudless_home::ssh::{Forward, SshKey, SshRelay};
use cloudless_proto::proxy_protocol::Version;
use cloudless_proto::{Hostname, PublicKey};
use serde::{Deserialize, Deserializer, de};

use super::ConfigError;
use super::address::{Address, Host};
use super::relay::some_addresses;
use crate::exit::Usage;

/// Home's key for SSH servers, unless `key_file` names another.
pub(crate) const SSH_KEY: &str = "ssh.key";
/// The keys of SSH servers that somebody has vouched for.
pub(crate) const KNOWN_HOSTS: &str = "known_hosts";

const SSH_PORT: u16 = 22;
const KEY_ADVICE: &str = "run `cloudless home ssh key`, which makes one and prints the line for the \
    server's authorized_keys";

/// The relays that home keeps a tunnel to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relays {
    pub(crate) own: Vec<RelayTable>,
    pub(crate) ssh: Vec<SshTable>,
}

/// A relay of cloudless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelayTable {
    pub(crate) addresses: Vec<Address>,
    pub(crate) server_name: Hostname,
    pub(crate) key: PublicKey,
}

/// An SSH server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshTable {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) known_hosts: Option<PathBuf>,
    pub(crate) forward: Forward,
    pub(crate) forward_http: Option<Forward>,
    pub(crate) proxy_protocol: Option<Version>,
}

impl Relays {
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.ssh.is_empty()
    }
}

impl SshTable {
    /// What home is told. Paths are relative to the state directory.
    pub(crate) fn relay(&self, state: &Path) -> anyhow::Result<SshRelay> {
        let path = self.key_path(state);
        let text = match fs::read(&path) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let advice = KEY_ADVICE.to_owned();
                return Err(ConfigError::Missing { path, advice }.into());
            }
            Err(source) => return Err(ConfigError::Unreadable { path, source }.into()),
        };
        let key = SshKey::from_openssh(&text).map_err(|error| {
            let message = format!("cannot use the key {}: {error}", path.display());
            Usage(message)
        })?;
        let other_known_hosts = match &self.known_hosts {
            None => None,
            Some(path) => {
                let path = state.join(path);
                let text = fs::read(&path)
                    .with_context(|| format!("cannot read known_hosts = {}", path.display()))?;
                Some((path, String::from_utf8_lossy(&text).into_owned()))
            }
        };
        Ok(SshRelay {
            host: match &self.host {
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name.to_string(),
            },
            port: self.port,
            user: self.user.clone(),
            key,
            known_hosts: state.join(KNOWN_HOSTS),
            other_known_hosts,
            forward: self.forward.clone(),
            forward_http: self.forward_http.clone(),
            proxy_protocol: self.proxy_protocol,
        })
    }

    pub(crate) fn key_path(&self, state: &Path) -> PathBuf {
        let file = self.key_file.as_deref();
        state.join(file.unwrap_or_else(|| Path::new(SSH_KEY)))
    }

    /// The port that visitors use, as far as it is known here.
    pub(crate) fn public_port(&self) -> Option<u16> {
        match &self.forward {
            Forward::Tcp { port, .. } if !self.forward.is_local() => Some(*port),
            _ => None,
        }
    }
}

/// Either kind, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    transport: Transport,
    #[serde(default, deserialize_with = "addresses")]
    addresses: Option<Vec<Address>>,
    server_name: Option<Hostname>,
    key: Option<PublicKey>,
    host: Option<Address>,
    port: Option<u16>,
    user: Option<String>,
    key_file: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    #[serde(default, deserialize_with = "forward")]
    forward: Option<Forward>,
    #[serde(default, deserialize_with = "forward")]
    forward_http: Option<Forward>,
    proxy_protocol: Option<Version>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Transport {
    #[default]
    Tunnel,
    Ssh,
}

impl Written {
    fn own(self) -> Result<RelayTable, String> {
        let others = [
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("user", self.user.is_some()),
            ("key_file", self.key_file.is_some()),
            ("known_hosts", self.known_hosts.is_some()),
            ("forward", self.forward.is_some()),
            ("forward_http", self.forward_http.is_some()),
            ("proxy_protocol", self.proxy_protocol.is_some()),
        ];
        none_of(&others, "is for transport = \"ssh\"")?;
        Ok(RelayTable {
            addresses: self.addresses.ok_or_else(|| missing("addresses"))?,
            server_name: self.server_name.ok_or_else(|| missing("server_name"))?,
            key: self.key.ok_or_else(|| missing("key"))?,
        })
    }

    fn ssh(self) -> Result<SshTable, String> {
        let others = [
            ("addresses", self.addresses.is_some()),
            ("server_name", self.server_name.is_some()),
            ("key", self.key.is_some()),
        ];
        none_of(
            &others,
            "is for relays of cloudless, not for transport = \"ssh\"",
        )?;
        let host = self.host.ok_or_else(|| missing("host"))?;
        if host.port.is_some() {
            return Err("`host` has no port; write it as `port`".to_owned());
        }
        let user = self.user.ok_or_else(|| missing("user"))?;
        let is_name = |byte: u8| byte.is_ascii_graphic() && byte != b'\'' && byte != b'"';
        if user.is_empty() || !user.bytes().all(is_name) {
            return Err(format!("`{user}` is no user's name"));
        }
        let forward = self.forward.ok_or_else(|| missing("forward"))?;
        if let Some(http) = &self.forward_http
            && is_same_place(&forward, http)
        {
            return Err("`forward` and `forward_http` need different ports or paths".to_owned());
        }
        Ok(SshTable {
            host: host.host,
            port: self.port.unwrap_or(SSH_PORT),
            user,
            key_file: self.key_file,
            known_hosts: self.known_hosts,
            forward,
            forward_http: self.forward_http,
            proxy_protocol: self.proxy_protocol,
        })
    }
}

/// A visitor's channel names the port alone without doubt.
fn is_same_place(one: &Forward, other: &Forward) -> bool {
    match (one, other) {
        (Forward::Tcp { port: one, .. }, Forward::Tcp { port: other, .. }) => one == other,
        (one, other) => one == other,
    }
}

fn missing(field: &str) -> String {
    format!("missing field `{field}`")
}

fn none_of(fields: &[(&str, bool)], why: &str) -> Result<(), String> {
    let stray = fields.iter().find(|(_, is_there)| *is_there);
    stray.map_or(Ok(()), |(name, _)| Err(format!("`{name}` {why}")))
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Address>>, D::Error> {
    some_addresses(deserializer).map(Some)
}

fn forward<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Forward>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

/// One of either kind.
enum EitherRelay {
    Own(RelayTable),
    Ssh(SshTable),
}

impl<'de> Deserialize<'de> for EitherRelay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let entry = match written.transport {
            Transport::Tunnel => written.own().map(Self::Own),
            Transport::Ssh => written.ssh().map(Self::Ssh),
        };
        entry.map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Relays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<EitherRelay>::deserialize(deserializer)?;
        if entries.is_empty() {
            return Err(de::Error::custom("expected at least one [[relay]]"));
        }
        let mut relays = Self::default();
        for entry in entries {
            match entry {
                EitherRelay::Own(table) => relays.own.push(table),
                EitherRelay::Ssh(table) => relays.ssh.push(table),
            }
        }
        Ok(relays)
    }
}

#[cfg(test)]
mod tests {
    use super::super::home::HomeFile;
    use super::super::parse;

    const SSH: &str = "[[relay]]\ntransport = \"ssh\"\nhost = \"vps.example.org\"\nuser = \"tunnel\"\n\
        forward = \"127.0.0.1:8443\"\n";

    fn refused(text: &str) -> String {
        let text = format!("hostnames = [\"a.example\"]\n{text}");
        let fault = parse::<HomeFile>(text.as_bytes()).unwrap_err();
        format!("{fault:?}")
    }

    #[test]
    fn an_ssh_server_is_a_relay() {
        let file: HomeFile = parse(SSH.as_bytes()).unwrap();
        assert!(file.relay.own.is_empty());
        let table = &file.relay.ssh[0];
        assert_eq!((table.port, table.user.as_str()), (22, "tunnel"));
        assert_eq!(table.public_port(), None);
        let text = SSH.replace("127.0.0.1:8443", "*:8443");
        let file: HomeFile = parse(text.as_bytes()).unwrap();
        assert_eq!(file.relay.ssh[0].public_port(), Some(8443));
    }

    #[test]
    fn settings_of_the_other_kind_are_named() {
        for (text, named) in [
            (format!("{SSH}key = \"x\"\n"), "key"),
            (format!("{SSH}server_name = \"a.b\"\n"), "server_name"),
            (SSH.replace("user", "usr"), "usr"),
            (SSH.replace("vps.example.org", "vps.example.org:22"), "port"),
            (SSH.replace("127.0.0.1:8443", "8443"), "8443"),
            (
                format!("{SSH}forward_http = \"*:8443\"\n"),
                "different ports",
            ),
            (SSH.replace("transport = \"ssh\"\n", ""), "transport"),
            (SSH.replace("ssh", "tcp"), "tcp"),
        ] {
            let message = refused(&text);
            assert!(message.contains(named), "{text}: {message}");
        }
    }
}
