//! What the DNS says of a name, judged: the traps in which a name's protection is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::caa::{Fault, Property, Wanted, faults, lets_others_have_a_wildcard, relevant};
use crate::dns::Answer;

/// A clock that is wrong by more than this, in seconds, spoils certificates and signatures.
pub const SKEW_MAX: i64 = 10 * 60;

/// What was seen of a name, from several places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// What each name server of the zone and each resolver says.
    pub views: Vec<View>,
    /// The name servers of the zone that the name is in.
    pub name_servers: Vec<NameServer>,
    /// Names below it that prove control of it to a CA, and to whom they were given.
    pub delegations: BTreeSet<Delegation>,
    /// The same below the domain above, where the name's zone has it.
    pub delegations_above: BTreeSet<Delegation>,
    /// By how many seconds this machine's clock is ahead of others; `None` where nobody was asked.
    pub clock_skew: Option<i64>,
}

/// What one server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Which server.
    pub source: Source,
    /// The CAA answers, in the order of [`climb`](crate::caa::climb), as far as they count.
    pub caa: Vec<Answer<Property>>,
    /// The same for the domain above, which decides about `*.` and that domain: a wildcard that covers
    /// the name. Empty where the domain above is in another zone, or is a top-level domain.
    pub above: Vec<Answer<Property>>,
    /// The name's A and AAAA records; `None` where no answer came.
    pub addresses: Option<BTreeSet<IpAddr>>,
}

/// Who was asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A name server of the zone.
    NameServer {
        /// Its name.
        name: String,
        /// Its address.
        address: IpAddr,
    },
    /// A resolver for everybody.
    Resolver(SocketAddr),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameServer { name, address } => {
                write!(formatter, "name server {name} ({address})")
            }
            Self::Resolver(address) if address.port() == 53 => {
                write!(formatter, "resolver {}", address.ip())
            }
            Self::Resolver(address) => write!(formatter, "resolver {address}"),
        }
    }
}

/// A name server of the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Its name.
    pub name: String,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
}

/// A name that was given to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delegation {
    /// The name.
    pub name: String,
    /// The target of its CNAME, or a name server of its own.
    pub to: String,
}

/// What is known of the relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelaySite {
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// What their PTR records call them.
    pub names: BTreeSet<String>,
    /// Relays whose addresses are not known.
    pub unknown: BTreeSet<String>,
}

impl RelaySite {
    /// Whether it is known where all relays are: otherwise nothing can be told from them.
    pub fn is_known(&self) -> bool {
        !self.addresses.is_empty() && self.unknown.is_empty()
    }
}

/// Which check a [`Trap`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Enough servers answer, and they agree.
    Views,
    /// The CAA records.
    Caa,
    /// DNSSEC.
    Dnssec,
    /// Names that prove control are in the owner's hands.
    Delegations,
    /// Who may get a wildcard certificate that covers the name.
    Wildcards,
    /// The name servers are not at the relay's company.
    NameServers,
    /// This machine's clock.
    Clock,
    /// A and AAAA lead to the relay.
    Addresses,
}

impl Check {
    /// All, in the order in which they are to be put right.
    pub const ALL: [Self; 8] = [
        Self::Clock,
        Self::Views,
        Self::NameServers,
        Self::Delegations,
        Self::Dnssec,
        Self::Caa,
        Self::Wildcards,
        Self::Addresses,
    ];

    /// What is true when nothing is wrong.
    pub fn title(self) -> &'static str {
        match self {
            Self::Views => "enough name servers and resolvers answer, and agree",
            Self::Caa => "the CAA records let nobody else get a certificate",
            Self::Dnssec => "the zone is signed with DNSSEC",
            Self::Delegations => "no name that proves control to a CA was given away",
            Self::Wildcards => "nobody else gets a wildcard certificate of the domain above",
            Self::NameServers => "the name servers are not where the relay is",
            Self::Clock => "this machine's clock is right",
            Self::Addresses => "the name leads to the relay and nowhere else",
        }
    }
}

/// A trap that was found. The text says what is wrong; [`Trap::remedy`] what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trap {
    /// Something is wrong with the CAA records, as these servers see them.
    #[error("{fault} (seen by {})", list(seen_by))]
    Caa {
        /// What.
        fault: Fault,
        /// Who sees it.
        seen_by: Vec<Source>,
    },
    /// The clock of this machine.
    #[error("this machine's clock is wrong by {0} seconds")]
    Clock(i64),
    /// `_acme-challenge` or the like belongs to somebody else.
    #[error("{name} was given to {to}, who can prove the name to a CA with it")]
    Delegated {
        /// The name.
        name: String,
        /// To whom.
        to: String,
    },
    /// `_acme-challenge` or the like of the domain above belongs to somebody else, and CAA records let
    /// them have a wildcard certificate.
    #[error(
        "{name} was given to {to}, who can get a wildcard certificate with it that covers the name"
    )]
    DelegatedAbove {
        /// The name.
        name: String,
        /// To whom.
        to: String,
    },
    /// A resolver sees other CAA records than the name servers have.
    #[error("{0} sees other CAA records than the zone's name servers")]
    Disagrees(Source),
    /// The name leads to what is not the relay.
    #[error(
        "the name leads to {0}, which is not the relay: whoever has that address gets phones too"
    )]
    ForeignAddress(IpAddr),
    /// A name server of the zone is where the relay is.
    #[error(
        "the name server {name} is at the relay's company ({because}): who runs both writes the CAA records too"
    )]
    NameServerAtRelay {
        /// The name server.
        name: String,
        /// By which it was recognized.
        because: String,
    },
    /// The name leads nowhere yet.
    #[error("the name has no A and no AAAA record")]
    NoAddress,
    /// A server that does not answer, where too few others do.
    #[error("{0} does not answer")]
    Silent(Source),
    /// A server that does not answer, where enough others do and agree.
    #[error("{0} does not answer; enough others do, and agree")]
    Missed(Source),
    /// Who proves the domain above to a CA gets a wildcard that covers the name.
    #[error(
        "the CAA records of {0} let others have a certificate for *.{0}, which covers the name; the relay \
         alone cannot get one, but who may write to that zone can"
    )]
    WildcardAbove(String),
    /// No name server of the zone was found.
    #[error("no name server of the name's zone was found")]
    NoNameServer,
    /// Where a relay is.
    #[error(
        "where the relay {0} is could not be looked up, so whether the name leads there, and whether the \
         name servers are there too, is not known"
    )]
    UnknownRelay(String),
}

impl Trap {
    /// Which check it fails.
    pub fn check(&self) -> Check {
        match self {
            Self::Caa {
                fault: Fault::Bogus(_) | Fault::Unsigned(_),
                ..
            } => Check::Dnssec,
            Self::Caa { .. } => Check::Caa,
            Self::Clock(_) => Check::Clock,
            Self::Delegated { .. } => Check::Delegations,
            Self::DelegatedAbove { .. } | Self::WildcardAbove(_) => Check::Wildcards,
            Self::Disagrees(_) | Self::Missed(_) | Self::NoNameServer | Self::Silent(_) => {
                Check::Views
            }
            Self::ForeignAddress(_) | Self::NoAddress => Check::Addresses,
            Self::NameServerAtRelay { .. } | Self::UnknownRelay(_) => Check::NameServers,
        }
    }

    /// Whether the level of protection holds all the same.
    pub fn is_advice(&self) -> bool {
        match self {
            Self::Caa { fault, .. } => fault.is_advice(),
            Self::Missed(_) | Self::WildcardAbove(_) => true,
            _ => false,
        }
    }

    /// Whether it leaves the name open to others. One that only leads phones astray does not, nor
    /// does one server that sees something else than the rest.
    pub fn is_open(&self) -> bool {
        let is_guard = match self.check() {
            Check::Caa
            | Check::Delegations
            | Check::Dnssec
            | Check::NameServers
            | Check::Wildcards => true,
            Check::Addresses | Check::Clock | Check::Views => false,
        };
        is_guard && !self.is_advice()
    }

    /// Whether it may be only the network of the moment that is in the way.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Caa { fault, .. } => matches!(fault, Fault::NoAnswer(_)),
            Self::Missed(_) | Self::NoNameServer | Self::Silent(_) | Self::UnknownRelay(_) => true,
            _ => false,
        }
    }

    /// Whether it only says that nothing could be learned. While an answer is wrong under DNSSEC no CA
    /// issues; and a network that answers in the name servers' place looks just like that.
    fn is_blind(&self) -> bool {
        let is_bogus = matches!(self, Self::Caa { fault, .. } if matches!(fault, Fault::Bogus(_)));
        is_bogus || self.is_passing()
    }

    /// What to do, as an instruction.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Caa { fault, .. } => fault.remedy(),
            Self::Clock(_) => "set it, and keep it with an NTP client such as systemd-timesyncd",
            Self::Delegated { .. } => "remove that CNAME or NS record; home needs none",
            Self::DelegatedAbove { .. } => {
                "forbid wildcards there with a CAA record `0 issuewild \";\"`, or remove that CNAME or NS \
                 record"
            }
            Self::Disagrees(_) => {
                "if the records were changed lately, wait for their TTL; otherwise look whether all \
                 name servers have the same zone"
            }
            Self::ForeignAddress(_) => "remove that A or AAAA record",
            Self::NameServerAtRelay { .. } => {
                "have the DNS hosted by another company, and keep its account with a second factor"
            }
            Self::Missed(_) => {
                "nothing, if it is only for now; a name server that stays silent is to be repaired or \
                 taken out of the zone, and other resolvers are named below [dns] in home.toml"
            }
            Self::NoAddress => "publish A and AAAA records with the relay's addresses",
            Self::Silent(_) => {
                "check the network of this machine; name other resolvers below [dns] in home.toml"
            }
            Self::WildcardAbove(_) => {
                "publish a CAA record `0 issuewild \";\"` there, if you use no wildcard certificate of it"
            }
            Self::NoNameServer => "register the domain, or correct the name",
            Self::UnknownRelay(_) => {
                "check this machine's DNS, or write the relay's address in the place of its name below \
                 [[relay]] in home.toml"
            }
        }
    }
}

/// What a look comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody else could get a certificate, or talk to phones under the name.
    Open,
    /// Nobody else can.
    Protected,
    /// Too little was seen: what was known before holds.
    Unseen,
}

/// Judges a look by what [`examine`] found in it. Neither silence nor an answer that DNSSEC proves
/// wrong protects: a name server of the zone and a resolver must have said what the CAA records are.
pub fn judge(observation: &Observation, traps: &[Trap]) -> Verdict {
    if traps.iter().any(|trap| trap.is_open() && !trap.is_blind()) {
        Verdict::Open
    } else if is_seen(observation) && !traps.iter().any(Trap::is_open) {
        Verdict::Protected
    } else {
        Verdict::Unseen
    }
}

/// [`judge`] while the account changes, where both the `old` one and the `new` one are home's: each
/// server may have the records of either or of both, as it takes their TTL until all have the new ones.
pub fn judge_change(
    observation: &Observation,
    old: &Wanted,
    new: &Wanted,
    relay: &RelaySite,
) -> Verdict {
    let mut rest = observation.clone();
    rest.views.retain(|view| !is_changed(view, old, new));
    judge(observation, &examine(&rest, old, relay))
}

/// Whether a server lets `new` issue and nobody else but perhaps `old`.
fn is_changed(view: &View, old: &Wanted, new: &Wanted) -> bool {
    let (old, kept) = (old.records(), new.records());
    let mut caa = view.caa.clone();
    for answer in &mut caa {
        let records = &mut answer.records;
        records.retain(|it| !old.contains(it) || kept.contains(it));
    }
    !caa.is_empty() && faults(&caa, new).iter().all(Fault::is_advice)
}

/// Whether the CAA records were seen at the zone and through a resolver.
pub fn is_seen(observation: &Observation) -> bool {
    let has = |is_wanted: fn(&Source) -> bool| {
        let mut views = observation.views.iter().filter(|it| is_wanted(&it.source));
        views.any(|view| !view.caa.is_empty() && relevant(&view.caa).is_ok())
    };
    has(|it| matches!(it, Source::NameServer { .. })) && has(|it| matches!(it, Source::Resolver(_)))
}

fn list(sources: &[Source]) -> String {
    let all: Vec<_> = sources.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// Everything that is wrong, in the order of [`Check::ALL`]; the same fault seen by several servers
/// is told once.
pub fn examine(observation: &Observation, wanted: &Wanted, relay: &RelaySite) -> Vec<Trap> {
    let mut traps = Vec::new();
    if let Some(skew) = observation.clock_skew.filter(|it| it.abs() > SKEW_MAX) {
        traps.push(Trap::Clock(skew));
    }
    views(observation, &mut traps);
    traps.extend(relay.unknown.iter().cloned().map(Trap::UnknownRelay));
    for server in &observation.name_servers {
        if let Some(because) = is_at_relay(server, relay) {
            let name = server.name.clone();
            traps.push(Trap::NameServerAtRelay { name, because });
        }
    }
    for Delegation { name, to } in observation.delegations.iter().cloned() {
        traps.push(Trap::Delegated { name, to });
    }
    wildcards(observation, wanted, &mut traps);
    let mut caa: Vec<(Fault, Vec<Source>)> = Vec::new();
    for view in observation
        .views
        .iter()
        .filter(|it| !is_silent(it) && !it.caa.is_empty())
    {
        for fault in faults(&view.caa, wanted) {
            match caa.iter_mut().find(|(known, _)| *known == fault) {
                Some((_, seen_by)) => seen_by.push(view.source.clone()),
                None => caa.push((fault, vec![view.source.clone()])),
            }
        }
    }
    traps.extend(
        caa.into_iter()
            .map(|(fault, seen_by)| Trap::Caa { fault, seen_by }),
    );
    addresses(observation, relay, &mut traps);
    traps.sort_by_key(|trap| Check::ALL.iter().position(|it| *it == trap.check()));
    traps
}

fn wildcards(observation: &Observation, wanted: &Wanted, traps: &mut Vec<Trap>) {
    let mut views = observation.views.iter();
    let Some(open) = views.find(|it| lets_others_have_a_wildcard(&it.above, wanted)) else {
        return;
    };
    for Delegation { name, to } in observation.delegations_above.iter().cloned() {
        traps.push(Trap::DelegatedAbove { name, to });
    }
    let domain = open.above.first().map(|it| it.name.clone());
    traps.extend(domain.map(Trap::WildcardAbove));
}

fn views(observation: &Observation, traps: &mut Vec<Trap>) {
    let mut name_servers: BTreeMap<&str, Vec<&View>> = BTreeMap::new();
    let mut resolvers = Vec::new();
    for view in &observation.views {
        match &view.source {
            Source::NameServer { name, .. } => name_servers.entry(name).or_default().push(view),
            Source::Resolver(_) => resolvers.push(vec![view]),
        }
    }
    // A line without DNS is told as that.
    let is_heard = |it: &Vec<&View>| it.iter().any(|view| !is_silent(view));
    if name_servers.is_empty() && (resolvers.is_empty() || resolvers.iter().any(is_heard)) {
        traps.push(Trap::NoNameServer);
    }
    let truth = name_servers.values().flatten().find_map(|it| records(it));
    let name_servers: Vec<_> = name_servers.into_values().collect();
    let enough = if name_servers.len() > 2 { 2 } else { 1 };
    silence(&name_servers, enough, truth.as_ref(), traps);
    silence(&resolvers, resolvers.len() / 2 + 1, truth.as_ref(), traps);
    let Some(truth) = truth else { return };
    for view in &observation.views {
        if records(view).is_some_and(|it| it != truth) {
            traps.push(Trap::Disagrees(view.source.clone()));
        }
    }
}

/// Tells of servers that are silent at all their addresses: a line with one family of IP reaches only
/// some of them. It is advice while `enough` others give the same records.
fn silence(
    servers: &[Vec<&View>],
    enough: usize,
    truth: Option<&BTreeSet<&Property>>,
    traps: &mut Vec<Trap>,
) {
    let agrees = |view: &&View| truth.is_some() && records(view).as_ref() == truth;
    let agreeing = servers.iter().filter(|it| it.iter().any(agrees)).count();
    let trap = if agreeing >= enough {
        Trap::Missed
    } else {
        Trap::Silent
    };
    let silent = servers
        .iter()
        .filter(|it| it.iter().all(|it| is_silent(it)));
    traps.extend(silent.flatten().map(|it| trap(it.source.clone())));
}

/// Whether not one answer came. (One that came and is bogus says something.)
pub fn is_silent(view: &View) -> bool {
    view.addresses.is_none()
        && view
            .caa
            .iter()
            .all(|it| it.proof == crate::dns::Proof::Missing)
}

/// The relevant records in an order of their own; `None` where nothing is known.
fn records(view: &View) -> Option<BTreeSet<&Property>> {
    let found = relevant(&view.caa).ok()?;
    Some(
        found
            .map(|it| it.records.iter().collect())
            .unwrap_or_default(),
    )
}

fn addresses(observation: &Observation, relay: &RelaySite, traps: &mut Vec<Trap>) {
    let known = observation
        .views
        .iter()
        .filter_map(|it| it.addresses.as_ref());
    let found: BTreeSet<_> = known.clone().flatten().copied().collect();
    if found.is_empty() {
        if known.count() > 0 {
            traps.push(Trap::NoAddress);
        }
        return;
    }
    // Without the relays' addresses there is nothing to compare with.
    if relay.is_known() {
        let foreign = found.difference(&relay.addresses);
        traps.extend(foreign.copied().map(Trap::ForeignAddress));
    }
}

/// By what a name server is seen to be where the relay is: its address or its network, or the
/// domain that both are named in.
fn is_at_relay(server: &NameServer, relay: &RelaySite) -> Option<String> {
    for address in &server.addresses {
        let mut near = relay.addresses.iter().filter(|it| is_near(**it, *address));
        if let Some(relay) = near.next() {
            return Some(format!("{address} is next to {relay}"));
        }
    }
    let domain = registered_domain(&server.name)?;
    let mut names = relay.names.iter();
    let name = names.find(|it| registered_domain(it) == Some(domain))?;
    Some(format!("the relay is called {name}"))
}

/// The same /24, or /48 of IPv6: what one company announces at the least.
fn is_near(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..3] == other.segments()[..3],
        _ => false,
    }
}

/// The last two labels. Good enough where hosting companies are compared, whose names end in
/// `.com` or `.de` and not in `.co.uk`; where they do, this finds one company too many.
fn registered_domain(name: &str) -> Option<&str> {
    let (index, _) = name.rmatch_indices('.').nth(1).unwrap_or((0, ""));
    let domain = name.get(index..)?.trim_start_matches('.');
    domain.contains('.').then_some(domain)
}

#[cfg(test)]
mod tests;
