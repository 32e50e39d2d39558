//! How well this home's names are protected from who could imitate it.
//!
//! [`cloudless_proto::trust`] says what there is to have; this looks what there is.

pub(crate) mod dns;
mod fetch;
mod relays;
mod report;
mod time_heard;
mod transparency;
mod watch;

use std::collections::HashMap;

use cloudless_proto::Hostname;
use cloudless_proto::trust::Level;

pub(crate) use dns::Dns;
pub use dns::{DnsConfig, DnsConfigError};
pub(crate) use report::assign;
pub use report::{
    Account, CheckResult, CheckState, Holding, LogWatch, NameReport, NamedDevice, Problem,
    SilentSource,
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
