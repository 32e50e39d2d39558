//! `[probe]` in `home.toml`: whether home tries its public names from outside.

use cloudless_home::{ProbeConfig, Resolver};
use serde::Deserialize;

use super::sockets::SocketAddresses;

/// The table; all of it may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProbeTable {
    /// Whether home tries them at all.
    enabled: bool,
    /// Where the names lead, in place of what the DNS says.
    addresses: SocketAddresses,
}

impl Default for ProbeTable {
    fn default() -> Self {
        Self {
            enabled: true,
            addresses: SocketAddresses(Vec::new()),
        }
    }
}

impl ProbeTable {
    /// What home is told of it.
    pub(crate) fn config(&self) -> Option<ProbeConfig> {
        let addresses = self.addresses.0.clone();
        let resolver = if addresses.is_empty() {
            Resolver::System
        } else {
            Resolver::Fixed(addresses)
        };
        self.enabled.then(|| ProbeConfig {
            resolver,
            ..ProbeConfig::default()
        })
    }
}
