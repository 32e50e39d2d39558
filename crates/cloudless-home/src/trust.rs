//! How well this home's names are protected from who could imitate it.
//!
//! [`cloudless_proto::trust`] says what there is to have; this looks what there is.

pub(crate) mod dns;
mod fetch;
mod report;
mod transparency;
mod watch;

use std::collections::HashMap;
use std::net::SocketAddr;

use cloudless_proto::Hostname;
use cloudless_proto::trust::Level;
use cloudless_proto::trust::zone::RelaySite;
use tokio::net::lookup_host;

pub(crate) use dns::Dns;
pub use dns::{DnsConfig, DnsConfigError};
pub(crate) use report::assign;
pub use report::{
    Account, CheckResult, CheckState, Holding, LogWatch, NameReport, NamedDevice, Problem,
};
pub use transparency::{Issuance, Monitor, TransparencyConfig};
pub(crate) use watch::{Alarm, Trust};
pub use watch::{TrustError, accept_key, examine, unserved};

/// How names are to be protected.
#[derive(Clone, Debug, Default)]
pub struct TrustConfig {
    /// For all names; `None` leaves each to [`Level::of`].
    pub level: Option<Level>,
    /// For single names.
    pub levels: HashMap<Hostname, Level>,
    /// Who is asked about names.
    pub dns: DnsConfig,
    /// How the logs of certificates are watched; `None` if they are not.
    pub transparency: Option<TransparencyConfig>,
}

impl TrustConfig {
    /// What is wanted of a name.
    pub fn level(&self, hostname: &Hostname) -> Level {
        let level = self.levels.get(hostname).copied().or(self.level);
        level.unwrap_or_else(|| Level::of(hostname))
    }
}

/// Where the relays are. A relay that cannot be looked up is left out.
async fn relay_site(relays: &[String], dns: &Dns) -> RelaySite {
    let mut site = RelaySite::default();
    for address in relays {
        let found = lookup_host(address.as_str()).await;
        site.addresses
            .extend(found.into_iter().flatten().map(|it: SocketAddr| it.ip()));
    }
    for address in &site.addresses {
        site.names.extend(dns.names(*address).await);
    }
    site
}
