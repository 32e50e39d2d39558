//! `[hostname."NAME"]` in `home.toml`: a name that another server answers for.

use std::collections::BTreeMap;

use cloudless_home::Passthrough;
use cloudless_proto::proxy_protocol::Version;
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
    /// The server that gets what certificate authorities ask for over plain HTTP.
    pub(crate) passthrough_http: Option<UpstreamAddress>,
    /// Tells the first one the visitor's address.
    pub(crate) proxy_protocol: Option<Version>,
}

impl HostnameTable {
    pub(crate) fn passthrough(&self) -> Passthrough {
        Passthrough {
            tls: self.passthrough.clone(),
            http: self.passthrough_http.clone(),
            proxy_protocol: self.proxy_protocol,
        }
    }
}
