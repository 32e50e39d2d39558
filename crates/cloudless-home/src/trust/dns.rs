//! Asks the name servers of a name's zone, and resolvers, what they say of it.
//!
//! What resolvers answer is checked here, with DNSSEC, from the trust anchor down: none of them is
//! believed. What name servers answer is not, as they cannot give the keys of the zones above.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::caa::{Property, climb};
use cloudless_proto::dns::{Answer, Proof};
use cloudless_proto::trust::zone::{Delegation, NameServer, Observation, Source, View, is_silent};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::{Proof as Validity, TrustAnchors};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// More name servers of a zone than this are left out, and more addresses of one.
const NAME_SERVERS_MAX: usize = 8;
const ADDRESSES_MAX: usize = 4;
/// A chain of more CNAME records is not followed to its end.
const ALIASES_MAX: usize = 8;
/// Finding the name servers of a zone.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Labels below a name by which its owner proves it to a CA: `dns-01` (RFC 8555 §8.4), and its
/// successor that keeps the record.
const CHALLENGE_LABELS: [&str; 2] = ["_acme-challenge", "_validation-persist"];

/// Who is asked, and how.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// Resolvers that answer everybody, of different owners, each by all its addresses, of which one
    /// has to be within reach; three unless told otherwise.
    pub resolvers: Vec<Vec<SocketAddr>>,
    /// DNSKEY records that DNSSEC begins with, as in a zone file; those of the root if `None`.
    pub trust_anchor: Option<String>,
    /// The port of name servers; 53 unless testing.
    pub name_server_port: u16,
    /// How long one query may take, of which each may be made twice (default 3 s).
    pub timeout: Duration,
}

impl Default for DnsConfig {
    /// Quad9, Cloudflare and Google: three owners, by IPv4 and IPv6.
    fn default() -> Self {
        let resolvers: [([u8; 4], [u16; 8]); 3] = [
            ([9, 9, 9, 9], [0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe]),
            ([1, 1, 1, 1], [0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111]),
            ([8, 8, 8, 8], [0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888]),
        ];
        let both = |(v4, v6)| vec![SocketAddr::from((v4, 53)), SocketAddr::from((v6, 53))];
        Self {
            resolvers: resolvers.map(both).to_vec(),
            trust_anchor: None,
            name_server_port: 53,
            timeout: Duration::from_secs(3),
        }
    }
}

/// Why the DNS cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum DnsConfigError {
    /// The trust anchor is no DNSKEY record.
    #[error("the trust anchor is no list of DNSKEY records: {0}")]
    TrustAnchor(String),
    /// A resolver has no address.
    #[error("a resolver without an address")]
    NoAddress,
    /// A resolver could not be set up.
    #[error("cannot set up the resolver {0}: {1}")]
    Resolver(SocketAddr, String),
}

/// Asks.
#[derive(Clone)]
pub(crate) struct Dns {
    resolvers: Vec<(SocketAddr, TokioResolver)>,
    name_server_port: u16,
    timeout: Duration,
}

impl Dns {
    pub(crate) fn new(config: &DnsConfig) -> Result<Self, DnsConfigError> {
        let anchors = match &config.trust_anchor {
            None => TrustAnchors::default(),
            Some(text) => {
                let invalid = |error: String| DnsConfigError::TrustAnchor(error);
                text.parse().map_err(|error| invalid(format!("{error}")))?
            }
        };
        let anchors = Arc::new(anchors);
        let resolvers = config.resolvers.iter().map(|addresses| {
            let anchors = Some(anchors.clone());
            let address = addresses.first().ok_or(DnsConfigError::NoAddress)?;
            let resolver = resolver(addresses, anchors, config.timeout)
                .map_err(|error| DnsConfigError::Resolver(*address, error.to_string()))?;
            Ok((*address, resolver))
        });
        Ok(Self {
            resolvers: resolvers.collect::<Result<_, _>>()?,
            name_server_port: config.name_server_port,
            timeout: config.timeout,
        })
    }

    /// What all of them say of a name. Takes some seconds; those who are silent are told of.
    pub(crate) async fn observe(&self, hostname: &Hostname) -> Observation {
        let mut views = JoinSet::new();
        for (address, resolver) in self.resolvers.iter().cloned() {
            let (hostname, source) = (hostname.clone(), Source::Resolver(address));
            views.spawn(async move { look(&resolver, source, &hostname, None).await });
        }
        let found = timeout(LOOK_MAX, self.name_servers(hostname)).await;
        let (zone, name_servers) = found.ok().flatten().unwrap_or_default();
        for server in &name_servers {
            for address in server.addresses.iter().copied() {
                let at = SocketAddr::new(address, self.name_server_port);
                let Ok(resolver) = resolver(&[at], None, self.timeout) else {
                    continue;
                };
                let (hostname, zone) = (hostname.clone(), zone.clone());
                let source = Source::NameServer {
                    name: server.name.clone(),
                    address,
                };
                views.spawn(async move { look(&resolver, source, &hostname, Some(&zone)).await });
            }
        }
        let mut observation = Observation {
            name_servers,
            ..Observation::default()
        };
        while let Some(seen) = views.join_next().await {
            match seen {
                Ok(seen) => {
                    observation.views.push(seen.view);
                    observation.delegations.extend(seen.delegations);
                    observation.delegations_above.extend(seen.delegations_above);
                }
                Err(error) => tracing::error!(%error, "Asking a name server failed"),
            }
        }
        observation.views.sort_by(|a, b| a.source.cmp(&b.source));
        // Above the top of its zone others rule, who can give the whole zone away, or a registry.
        if zone.is_empty() || zone == hostname.as_str() {
            observation.views.iter_mut().for_each(|it| it.above.clear());
            observation.delegations_above.clear();
        }
        observation
    }

    /// What the PTR records call an address.
    pub(crate) async fn names(&self, address: IpAddr) -> BTreeSet<String> {
        for (_, resolver) in &self.resolvers {
            let found = records(resolver, Name::from(address), RecordType::PTR).await;
            if found.proof != Proof::Missing {
                let names = found
                    .records
                    .into_iter()
                    .filter_map(|record| match record.data {
                        RData::PTR(name) => Some(text(&name)),
                        _ => None,
                    });
                return names.take(ADDRESSES_MAX).collect();
            }
        }
        BTreeSet::new()
    }

    /// The zone that a name is in and its name servers, as the first resolver that knows says. All are
    /// asked at once, and which of them answers first makes no difference.
    async fn name_servers(&self, hostname: &Hostname) -> Option<(String, Vec<NameServer>)> {
        let mut asked = JoinSet::new();
        for (n, (_, resolver)) in self.resolvers.iter().enumerate() {
            let (resolver, hostname) = (resolver.clone(), hostname.clone());
            asked.spawn(async move { (n, name_servers(&resolver, &hostname).await) });
        }
        let mut answers = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            if let Ok((n, Some(found))) = answer {
                answers.insert(n, found);
            }
        }
        answers.pop_first().map(|(_, found)| found)
    }
}

async fn name_servers(
    resolver: &TokioResolver,
    hostname: &Hostname,
) -> Option<(String, Vec<NameServer>)> {
    for zone in climb(hostname) {
        let (names, proof) = targets(resolver, zone, RecordType::NS).await;
        if proof == Proof::Missing {
            break;
        }
        if names.is_empty() {
            continue;
        }
        let mut servers = Vec::new();
        for name in names.into_iter().take(NAME_SERVERS_MAX) {
            let found = addresses(resolver, &name).await.unwrap_or_default();
            servers.push(NameServer {
                name,
                addresses: found.into_iter().take(ADDRESSES_MAX).collect(),
            });
        }
        return Some((zone.to_owned(), servers));
    }
    None
}

/// A resolver that asks one server, at whichever of its addresses answers. With trust anchors it is
/// asked to resolve and its answers are checked; without them it is asked for what it is a name server
/// of.
fn resolver(
    addresses: &[SocketAddr],
    anchors: Option<Arc<TrustAnchors>>,
    timeout: Duration,
) -> Result<TokioResolver, NetError> {
    let server = |address: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        server
    };
    let config = ResolverConfig::from_name_servers(addresses.iter().map(server).collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.timeout = timeout;
    options.attempts = 2;
    options.cache_size = 0;
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Never;
    options.recursion_desired = anchors.is_some();
    if let Some(anchors) = anchors {
        builder = builder.with_trust_anchor(anchors);
    }
    builder.build()
}

/// What one server says.
struct Seen {
    view: View,
    delegations: BTreeSet<Delegation>,
    delegations_above: BTreeSet<Delegation>,
}

/// Asks one server for everything. A name server is asked for names in its zone only.
async fn look(
    resolver: &TokioResolver,
    source: Source,
    hostname: &Hostname,
    zone: Option<&str>,
) -> Seen {
    // A top-level domain has no wildcards.
    let above = climb(hostname).nth(1).filter(|it| it.contains('.'));
    let caa_above = async {
        match above {
            Some(_) => caa_answers(resolver, climb(hostname).skip(1), zone).await,
            None => Vec::new(),
        }
    };
    let (caa, caa_above, addresses) = tokio::join!(
        caa_answers(resolver, climb(hostname), zone),
        caa_above,
        addresses(resolver, hostname.as_str())
    );
    let view = View {
        source,
        caa,
        above: caa_above,
        addresses,
    };
    // Whoever said nothing is asked no more.
    let is_heard = match zone {
        None => view.addresses.is_some(),
        Some(_) => !is_silent(&view),
    };
    let given = async |name: Option<&str>| match name.filter(|_| is_heard) {
        Some(name) => delegations(resolver, name).await,
        None => BTreeSet::new(),
    };
    Seen {
        delegations: given(Some(hostname.as_str())).await,
        delegations_above: given(above).await,
        view,
    }
}

/// The CAA answers from the first of these names up to the one that decides.
async fn caa_answers<'a>(
    resolver: &TokioResolver,
    names: impl Iterator<Item = &'a str>,
    zone: Option<&str>,
) -> Vec<Answer<Property>> {
    let mut caa = Vec::new();
    for name in names {
        let mut answer = caa_answer(resolver, name, zone.is_some()).await;
        answer.proof = match (zone, answer.proof) {
            (_, Proof::Missing) => Proof::Missing,
            (Some(_), _) => Proof::Unchecked,
            // From a resolver everything is checked.
            (None, Proof::Unchecked) => Proof::Bogus,
            (None, proof) => proof,
        };
        // It decides, or hides what would.
        let is_last = !answer.records.is_empty()
            || matches!(answer.proof, Proof::Missing | Proof::Bogus)
            || zone == Some(name);
        caa.push(answer);
        if is_last {
            break;
        }
    }
    caa
}

/// The CAA records at one name, or where its CNAME records lead. A name server is not asked about
/// the target, which may be in another zone.
async fn caa_answer(
    resolver: &TokioResolver,
    name: &str,
    is_name_server: bool,
) -> Answer<Property> {
    let mut answer = Answer::new(name, Vec::new(), Proof::Secure);
    // They are followed one by one: the lookup of a type that the target does not have would end
    // in a denial that says nothing about the alias.
    for _ in 0..ALIASES_MAX {
        let (target, proof) = targets(resolver, answer.owner(), RecordType::CNAME).await;
        answer.proof = weakest(answer.proof, proof);
        if matches!(proof, Proof::Missing | Proof::Bogus) {
            return answer;
        }
        match target.into_iter().next() {
            None => break,
            target => answer.alias = target,
        }
        if is_name_server {
            return answer;
        }
    }
    let Ok(owner) = Name::from_ascii(format!("{}.", answer.owner())) else {
        answer.proof = Proof::Missing;
        return answer;
    };
    let found = records(resolver, owner, RecordType::CAA).await;
    answer.proof = weakest(answer.proof, found.proof);
    let property = |record: Record| match record.data {
        RData::CAA(caa) => Some(Property {
            flags: caa.flags(),
            tag: caa.tag,
            value: caa.value,
        }),
        _ => None,
    };
    answer.records = found.records.into_iter().filter_map(property).collect();
    answer
}

/// The names below `domain` that prove control of it, where somebody else has them.
async fn delegations(resolver: &TokioResolver, domain: &str) -> BTreeSet<Delegation> {
    let mut found = BTreeSet::new();
    for label in CHALLENGE_LABELS {
        let name = format!("{label}.{domain}");
        for kind in [RecordType::CNAME, RecordType::NS] {
            let (targets, _) = targets(resolver, &name, kind).await;
            found.extend(targets.into_iter().map(|to| Delegation {
                name: name.clone(),
                to,
            }));
        }
    }
    found
}

/// The names that the NS or CNAME records at that very name hold.
async fn targets(resolver: &TokioResolver, name: &str, kind: RecordType) -> (Vec<String>, Proof) {
    let Ok(name) = Name::from_ascii(format!("{name}.")) else {
        return (Vec::new(), Proof::Missing);
    };
    let Found { records, proof } = records(resolver, name.clone(), kind).await;
    let at_name = records.into_iter().filter(|record| record.name == name);
    let target = at_name.filter_map(|record| match record.data {
        RData::NS(target) => Some(text(&target)),
        RData::CNAME(target) => Some(text(&target)),
        _ => None,
    });
    (target.collect(), proof)
}

/// A and AAAA, wherever a CNAME leads; `None` without an answer to either.
async fn addresses(resolver: &TokioResolver, name: &str) -> Option<BTreeSet<IpAddr>> {
    let name = Name::from_ascii(format!("{name}.")).ok()?;
    let (v4, v6) = tokio::join!(
        records(resolver, name.clone(), RecordType::A),
        records(resolver, name, RecordType::AAAA)
    );
    let mut known = None;
    for Found { records, proof } in [v4, v6] {
        if matches!(proof, Proof::Missing | Proof::Bogus) {
            continue;
        }
        let address = |record: &Record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        let known = known.get_or_insert_with(BTreeSet::new);
        known.extend(records.iter().filter_map(address).take(ADDRESSES_MAX));
    }
    known
}

/// Records of the type that was asked for, or none.
struct Found {
    records: Vec<Record>,
    proof: Proof,
}

async fn records(resolver: &TokioResolver, name: Name, kind: RecordType) -> Found {
    let none = |proof| Found {
        records: Vec::new(),
        proof,
    };
    // The resolver's own deadline is for each of the queries that one lookup needs.
    let deadline = 10 * resolver.options().timeout;
    let Ok(found) = timeout(deadline, resolver.lookup(name, kind)).await else {
        return none(Proof::Missing);
    };
    match found {
        Ok(lookup) => {
            let answers = lookup.answers();
            let proofs = answers.iter().map(|record| proof(record.proof));
            Found {
                proof: proofs.reduce(weakest).unwrap_or(Proof::Missing),
                records: answers
                    .iter()
                    .filter(|record| record.record_type() == kind)
                    .cloned()
                    .collect(),
            }
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(absence))) => {
            // A denial that holds is signed; without one the zone was proven to be unsigned.
            let is_denial = |record: &&Record| {
                matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3)
            };
            let authorities = absence.authorities.unwrap_or_default();
            let mut denials = authorities.iter().filter(is_denial).peekable();
            let is_denied = denials.peek().is_some();
            if is_denied && denials.all(|record| record.proof == Validity::Secure) {
                none(Proof::Secure)
            } else {
                none(Proof::Insecure)
            }
        }
        // A resolver that checks answers says SERVFAIL in place of a bogus one (RFC 4035 §5.5).
        Err(NetError::Dns(
            DnsError::DnssecBogus | DnsError::ResponseCode(ResponseCode::ServFail),
        )) => none(Proof::Bogus),
        Err(NetError::Dns(DnsError::Nsec { proof: found, .. })) => none(proof(found)),
        Err(error) => {
            tracing::debug!(%error, "A name server gave no answer");
            none(Proof::Missing)
        }
    }
}

fn proof(validity: Validity) -> Proof {
    match validity {
        Validity::Secure => Proof::Secure,
        Validity::Insecure => Proof::Insecure,
        Validity::Bogus => Proof::Bogus,
        Validity::Indeterminate => Proof::Unchecked,
    }
}

fn weakest(one: Proof, other: Proof) -> Proof {
    let order = [
        Proof::Missing,
        Proof::Bogus,
        Proof::Unchecked,
        Proof::Insecure,
    ];
    let mut weak = order.into_iter().filter(|it| [one, other].contains(it));
    weak.next().unwrap_or(Proof::Secure)
}

/// Lower-case and without a trailing dot.
fn text(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
