//! Where the relays are.

use std::net::IpAddr;
use std::sync::OnceLock;

use cloudless_proto::trust::zone::RelaySite;
use tokio::net::lookup_host;

use super::Dns;
use crate::config::Config;
use crate::status::Board;

/// The relays of a home, in the order of its [`Board`].
#[derive(Default)]
pub(super) struct Relays {
    relays: Vec<Relay>,
    board: OnceLock<Board>,
}

/// Where one is said to be.
struct Relay {
    /// `host:port`.
    addresses: Vec<String>,
    /// The session goes to the proxy's address then.
    is_proxied: bool,
}

impl Relays {
    pub(super) fn of(config: &Config) -> Self {
        let own = config.relays.iter().map(|relay| relay.addresses.clone());
        let ssh = config.ssh_relays.iter().map(|relay| vec![relay.address()]);
        let proxy = config.proxy.as_ref();
        let is_proxied = |address: &String| proxy.is_some_and(|proxy| proxy.is_for(address));
        let relay = |addresses: Vec<String>| Relay {
            is_proxied: addresses.iter().any(is_proxied),
            addresses,
        };
        Self {
            relays: own.chain(ssh).map(relay).collect(),
            board: OnceLock::new(),
        }
    }

    /// Relays at these places, `host:port` each.
    #[cfg(test)]
    pub(super) fn at(addresses: &[&str]) -> Self {
        let relay = |address: &&str| Relay {
            addresses: vec![(*address).to_owned()],
            is_proxied: false,
        };
        Self {
            relays: addresses.iter().map(relay).collect(),
            board: OnceLock::new(),
        }
    }

    /// Knows from now on where sessions go. The first caller counts.
    pub(super) fn follow(&self, board: Board) {
        // A second caller there is not.
        let _ = self.board.set(board);
    }

    /// Where they are now: what their names lead to. A relay whose names lead nowhere, for now, is where
    /// its session goes, as it has proven its key there.
    pub(super) async fn site(&self, dns: &Dns) -> RelaySite {
        let rows = self.board.get().map(Board::relays).unwrap_or_default();
        let mut site = RelaySite::default();
        for (index, relay) in self.relays.iter().enumerate() {
            let mut addresses = look_up(&relay.addresses).await;
            if addresses.is_empty() && !relay.is_proxied {
                let session = rows.get(index).and_then(|row| row.address);
                addresses.extend(session.map(|it| it.ip()));
            }
            if addresses.is_empty() {
                site.unknown.extend(relay.addresses.first().cloned());
            }
            site.addresses.extend(addresses);
        }
        for address in &site.addresses {
            site.names.extend(dns.names(*address).await);
        }
        site
    }
}

async fn look_up(relay: &[String]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for address in relay {
        let found = lookup_host(address.as_str()).await;
        addresses.extend(found.into_iter().flatten().map(|it| it.ip()));
    }
    addresses
}
