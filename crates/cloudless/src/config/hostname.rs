//! `[hostname."NAME"]` in `home.toml`: what is set for one of home's names.

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
    /// What the owner trusts the relay with.
    pub(crate) trust: Option<TrustChoice>,
}

/// A level of trust that has to be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TrustChoice {
    /// A public certificate and nothing else: the relay could get one too.
    HonestRelay,
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
