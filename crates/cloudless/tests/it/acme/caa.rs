//! The look at CAA records that an authority owes before it issues (RFC 8659 section 3), which Pebble
//! does not take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::caa::{Property, Request, authorizes, climb};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use serde_json::{Value, json};

use super::front::CAA_IDENTITY;

/// How names can be proven to the authority. Which way is taken is not known when something is ordered:
/// it refuses where none is admitted, and looks again when one is taken.
const METHODS: [&str; 2] = ["tls-alpn-01", "http-01"];

/// Asks one server, and believes it where DNSSEC says so or the zone is unsigned.
#[derive(Clone)]
pub(crate) struct CaaCheck(TokioResolver);

impl CaaCheck {
    /// `anchors` are the DNSKEY records that DNSSEC begins with.
    pub(crate) fn new(server: SocketAddr, anchors: &str) -> Self {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        let config = ResolverConfig::from_name_servers(vec![config]);
        let anchors: TrustAnchors = anchors.parse().unwrap();
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_trust_anchor(Arc::new(anchors));
        let options = builder.options_mut();
        options.timeout = Duration::from_secs(10);
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        Self(builder.build().unwrap())
    }

    /// Whether an account may have what it orders. `Err` is the problem that it is told.
    pub(super) async fn look(&self, account_uri: &str, order: &Value) -> Result<(), Value> {
        for identifier in order["identifiers"].as_array().into_iter().flatten() {
            let name = identifier["value"].as_str().unwrap_or_default();
            self.look_at(account_uri, name, &METHODS).await?;
        }
        Ok(())
    }

    /// Whether an account may prove a name by one of these methods (RFC 8657 section 4).
    pub(super) async fn look_at(
        &self,
        account_uri: &str,
        name: &str,
        methods: &[&str],
    ) -> Result<(), Value> {
        let hostname: Hostname = name.parse().unwrap();
        let refusal = match self.relevant(&hostname).await {
            Err(proof) => format!("the CAA records of {hostname} are {proof}"),
            Ok(records) if may_issue(&records, account_uri, methods) => return Ok(()),
            Ok(_) => {
                let methods = methods.join(" and ");
                format!("CAA records of {hostname} forbid it to {account_uri} by {methods}")
            }
        };
        Err(json!({ "type": "urn:ietf:params:acme:error:caa", "detail": refusal }))
    }

    /// The first records on the way up; `Err` where what is said cannot be believed.
    async fn relevant(&self, hostname: &Hostname) -> Result<Vec<Property>, String> {
        for name in climb(hostname) {
            let name = Name::from_ascii(format!("{name}.")).unwrap();
            let found = match self.0.lookup(name, RecordType::CAA).await {
                Ok(lookup) => lookup.answers().to_vec(),
                Err(NetError::Dns(DnsError::NoRecordsFound(_))) => continue,
                Err(error) => return Err(error.to_string()),
            };
            let is_sound =
                |record: &Record| matches!(record.proof, Proof::Secure | Proof::Insecure);
            if let Some(record) = found.iter().find(|record| !is_sound(record)) {
                return Err(record.proof.to_string());
            }
            let records: Vec<_> = found.into_iter().filter_map(property).collect();
            if !records.is_empty() {
                return Ok(records);
            }
        }
        Ok(Vec::new())
    }
}

fn may_issue(records: &[Property], account_uri: &str, methods: &[&str]) -> bool {
    methods.iter().any(|method| {
        let request = Request {
            issuer: CAA_IDENTITY,
            account_uri,
            method,
            is_wildcard: false,
        };
        authorizes(records, &request)
    })
}

fn property(record: Record) -> Option<Property> {
    match record.data {
        RData::CAA(caa) => Some(Property {
            flags: caa.flags(),
            tag: caa.tag,
            value: caa.value,
        }),
        _ => None,
    }
}
