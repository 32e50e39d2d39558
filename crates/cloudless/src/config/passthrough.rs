//! `[hostname."NAME"]` in `home.toml`: a name that another server answers for.

use std::collections::BTreeMap;

use cloudless_home::Passthrough;
use cloudless_proto::{Hostname, UpstreamAddress};
use serde::Deserialize;

/// The tables by the names that they are for.
pub(crate) type HostnameTables = BTreeMap<Hostname, HostnameTable>;

/// What is set for one of home's names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostnameTable {
    /// The server that gets the name's TLS connections as they came.
    pub(crate) passthrough: Option<UpstreamAddress>,
}

impl HostnameTable {
    pub(crate) fn passthrough(&self) -> Passthrough {
        Passthrough {
            tls: self.passthrough.clone(),
        }
    }
}
