//! What is in force for a name, for people and for `--json`.

mod log_watch;
mod next_level;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::caa::Wanted;
use cloudless_proto::trust::zone::{self, Check, Observation, RelaySite, Trap, examine};
use cloudless_proto::trust::{
    Asset, Attacker, Defense, Defenses, Level, Outcome, is_special_use, outcome,
};
use cloudless_store::Device;
use serde::{Deserialize, Serialize};

pub use self::log_watch::{LogWatch, SilentSource};
use self::log_watch::{log_check, log_watch, silent_sources};
use self::next_level::{PUBLISH, next, steps};
use super::transparency::{Issuance, Monitor, Watched};

/// One name: what is wanted, what holds, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameReport {
    /// The name.
    pub hostname: Hostname,
    /// The level that is wanted.
    pub level: Level,
    /// The level that holds now. Lower than the wanted one while something is wrong.
    pub in_force: Level,
    /// Whether home serves the name: what the wanted level cannot do without is there.
    pub is_served: bool,
    /// Whether the next order needs other CAA records than those that protect the name now, because the
    /// account, the authority or the method has changed.
    #[serde(default)]
    pub is_changing: bool,
    /// Whether the zone is signed.
    pub is_signed: bool,
    /// Whether no CA may issue for a name like this, whatever the DNS says.
    pub is_special_use: bool,
    /// Whether a device has to prove a certificate of its own under this name.
    #[serde(default)]
    pub client_certificates: bool,
    /// The devices that get in under this name, and not under those that demand otherwise.
    #[serde(default)]
    pub devices: Vec<NamedDevice>,
    /// Lines to publish in the DNS, as in a zone file; none while home has no account.
    pub records: Vec<String>,
    /// The addresses that the name has to lead to, as in a zone file: the relay's.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Certificates whose keys home did not make, of which the logs tell. Those that have ended stay
    /// until the owner accepts them.
    pub unknown_certificates: Vec<Issuance>,
    /// Whether the logs are watched.
    #[serde(default)]
    pub logs: LogWatch,
    /// When a source last told everything that the logs have, in Unix milliseconds.
    #[serde(default, with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub logs_heard_at: Option<i64>,
    /// Sources that have told nothing for days, while others may.
    #[serde(default)]
    pub silent_sources: Vec<SilentSource>,
    /// What was looked at, in the order in which it is to be put right.
    pub checks: Vec<CheckResult>,
    /// Whom it holds against.
    pub holdings: Vec<Holding>,
    /// How to get to the next level; `None` at the highest.
    pub next: Option<String>,
    /// The same, one step after another, where there are several.
    #[serde(default)]
    pub steps: Vec<String>,
}

/// A device by its user and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedDevice {
    /// Whose.
    pub user: String,
    /// Its name.
    pub name: String,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// What is true when it is good.
    pub title: String,
    /// Whether it is.
    pub state: CheckState,
    /// What is wrong, and what to do about it.
    pub problems: Vec<Problem>,
}

impl CheckResult {
    /// Whether the level does not hold because of it.
    pub fn is_bad(&self) -> bool {
        self.state == CheckState::Bad
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Nothing is wrong.
    Good,
    /// Could be better; the level holds.
    Advice,
    /// Could not be looked at.
    Unknown,
    /// The level does not hold.
    Bad,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// What one attacker gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Who.
    pub attacker: Attacker,
    /// Of the contacts that home keeps.
    pub book: Outcome,
    /// Of what phones send and are told.
    pub exchange: Outcome,
}

/// Home's account at a CA, as CAA records name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The CA's Issuer Domain Name.
    pub issuer: String,
    /// The account's URI.
    pub uri: String,
    /// The validation method in use.
    pub method: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            issuer,
            uri,
            method,
        } = self;
        write!(f, "{uri} at {issuer} by {method}")
    }
}

/// What was found out about a name.
pub(crate) struct Findings<'a> {
    /// The account that the next order is made with.
    pub(crate) account: Option<&'a Account>,
    /// The one before, by which the name is judged too until the records name the new one.
    pub(crate) before: Option<&'a Account>,
    /// What the last look that saw something said.
    pub(crate) is_protected: bool,
    /// `None` when nothing was looked up, as for a name of special use.
    pub(crate) observation: Option<&'a Observation>,
    pub(crate) relay: &'a RelaySite,
    /// Whether devices have to prove a certificate.
    pub(crate) demands: bool,
    /// Whether devices trust this very certificate and no authority (`certificate = "pinned"`).
    pub(crate) trusted_alone: bool,
    /// `None` where the logs are not watched.
    pub(crate) watched: Option<&'a Watched>,
    /// Who is asked about them.
    pub(crate) asked: Vec<Monitor>,
    /// How long home has been up without a word from the logs.
    pub(crate) unheard: Duration,
    /// Unix milliseconds.
    pub(crate) now: i64,
}

/// The records that a name needs; `None` where it needs none, or no account is known yet.
pub(crate) fn wanted(level: Level, account: Option<&Account>) -> Option<Wanted> {
    match level {
        Level::HonestRelay => None,
        Level::Pinned => Some(Wanted::Nobody),
        Level::Public | Level::ClientCertificates => account.map(|account| Wanted::Account {
            issuer: account.issuer.clone(),
            account_uri: account.uri.clone(),
            method: account.method.clone(),
        }),
    }
}

/// Judges what was found.
pub(crate) fn report(hostname: &Hostname, level: Level, findings: &Findings<'_>) -> NameReport {
    let is_special_use = is_special_use(hostname);
    let wanted = wanted(level, findings.account).filter(|_| !is_special_use);
    let traps = match (findings.observation, &wanted) {
        (Some(observation), Some(wanted)) => Some(examine(observation, wanted, findings.relay)),
        _ => None,
    };
    let mut checks = Vec::new();
    if !is_special_use && level != Level::HonestRelay {
        if level.is_public_certificate() {
            checks.push(account_check(findings.account, findings.before));
        }
        let observation = findings.observation;
        let is_seen = |check| {
            observation.is_some_and(|it| match check {
                Check::Clock => it.clock_skew.is_some(),
                Check::Addresses | Check::NameServers => {
                    zone::is_seen(it) && findings.relay.is_known()
                }
                _ => zone::is_seen(it),
            })
        };
        let zone_check = |check| zone_check(check, traps.as_deref(), is_seen(check));
        checks.extend(Check::ALL.map(zone_check));
    }
    let logs = log_watch(is_special_use, findings);
    if logs != LogWatch::Unneeded {
        checks.push(log_check(findings, logs));
    }
    let is_unsigned = |trap: &Trap| trap.check() == Check::Dnssec;
    let unknown = findings.watched.map(|it| it.unknown.clone());
    let unknown = unknown.unwrap_or_default();
    // Whoever has such a key needs no other certificate. Devices that were told of home's own
    // authority usually trust the public ones besides.
    let is_used = findings.watched.is_some_and(|it| it.in_use().is_some());
    let is_imitable = !findings.trusted_alone && is_used;
    let is_closed = findings.is_protected && !is_imitable;
    let is_signed = is_closed && traps.as_ref().is_some_and(|it| !it.iter().any(is_unsigned));
    let is_changing = findings.before.is_some() && matches!(wanted, Some(Wanted::Account { .. }));
    let in_force = match level {
        Level::HonestRelay => Level::HonestRelay,
        Level::Pinned if is_special_use => Level::Pinned,
        Level::ClientCertificates if is_closed && !findings.demands => Level::Public,
        _ if is_closed => level,
        _ => Level::HonestRelay,
    };
    let is_served = is_special_use || level == Level::HonestRelay || findings.is_protected;
    let mut defenses = Defenses::default();
    for (defense, is_there) in [
        (Defense::Caa, is_closed && level.is_public_certificate()),
        (Defense::Dnssec, is_signed),
        (Defense::Ct, logs == LogWatch::Heard),
        (Defense::ClientCertificate, findings.demands),
        (Defense::Pin, in_force == Level::Pinned),
    ] {
        if is_there {
            defenses = defenses.with(defense);
        }
    }
    NameReport {
        hostname: hostname.clone(),
        level,
        in_force,
        is_served,
        is_changing,
        is_signed,
        is_special_use,
        client_certificates: findings.demands,
        devices: Vec::new(),
        records: records(hostname, wanted.as_ref()),
        addresses: addresses(hostname, findings.relay),
        unknown_certificates: unknown,
        logs,
        silent_sources: silent_sources(findings),
        logs_heard_at: findings.watched.and_then(|it| it.checked_at),
        checks,
        holdings: Attacker::ALL
            .map(|attacker| Holding {
                attacker,
                book: outcome(defenses, attacker, Asset::Book),
                exchange: outcome(defenses, attacker, Asset::Exchange),
            })
            .into(),
        next: Some(match is_changing && in_force == level {
            true => PUBLISH.to_owned(),
            false => next(level, in_force, is_served, is_signed).to_owned(),
        }),
        steps: steps(hostname, level, in_force),
    }
}

/// Notes which of the devices get in under which name.
pub(crate) fn assign(reports: &mut [NameReport], devices: &[Device]) {
    for report in reports {
        let gets_in = |it: &&Device| {
            it.revoked_at.is_none() && it.has_certificate == report.client_certificates
        };
        let named = |it: &Device| NamedDevice {
            user: it.user.clone(),
            name: it.name.clone(),
        };
        report.devices = devices.iter().filter(gets_in).map(named).collect();
        if report.client_certificates {
            report.checks.push(device_check(&report.devices));
        }
    }
}

fn device_check(devices: &[NamedDevice]) -> CheckResult {
    let problem = devices.is_empty().then(|| Problem {
        message: "no device has a client certificate, so that none gets in".to_owned(),
        remedy: "add one with `cloudless device add USER NAME --client-certificate`".to_owned(),
    });
    CheckResult {
        title: "devices prove a certificate that home gave them".to_owned(),
        state: state(problem.is_some(), CheckState::Advice),
        problems: problem.into_iter().collect(),
    }
}

/// As lines of a zone file.
pub(crate) fn records(hostname: &Hostname, wanted: Option<&Wanted>) -> Vec<String> {
    let records = wanted.map(Wanted::records).unwrap_or_default();
    let line = |record| format!("{hostname}. CAA {record}");
    records.iter().map(line).collect()
}

fn addresses(hostname: &Hostname, relay: &RelaySite) -> Vec<String> {
    let addresses = relay.addresses.iter();
    let line = |address: &IpAddr| {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        format!("{hostname}. {kind} {address}")
    };
    addresses.map(line).collect()
}

fn account_check(account: Option<&Account>, before: Option<&Account>) -> CheckResult {
    let problem = match (account, before) {
        (None, _) => Some(Problem {
            message: "home has no account at a certificate authority yet, and the CAA record has to name \
                      it"
                .to_owned(),
            remedy: "start home, which makes one once it is connected to a relay, and look again"
                .to_owned(),
        }),
        (Some(account), Some(before)) => Some(Problem {
            message: format!(
                "the next certificate is ordered with {account}, and no longer with {before}, which the \
                 CAA records are for"
            ),
            remedy: "publish the records that are shown now in the place of the old ones, before the \
                     certificate is renewed; nothing is ordered without them, and while nobody else can \
                     get a certificate the name is served as before"
                .to_owned(),
        }),
        (Some(_), None) => None,
    };
    CheckResult {
        title: "home has an account at the certificate authority, and keeps to it".to_owned(),
        state: state(problem.is_some(), CheckState::Bad),
        problems: problem.into_iter().collect(),
    }
}

fn zone_check(check: Check, traps: Option<&[Trap]>, is_seen: bool) -> CheckResult {
    let Some(traps) = traps else {
        return CheckResult {
            title: check.title().to_owned(),
            state: CheckState::Unknown,
            problems: Vec::new(),
        };
    };
    let traps = || traps.iter().filter(|trap| trap.check() == check);
    let state_of = |trap: &Trap| {
        if trap.is_advice() {
            CheckState::Advice
        } else if trap.is_passing() {
            CheckState::Unknown
        } else {
            CheckState::Bad
        }
    };
    CheckResult {
        title: check.title().to_owned(),
        state: traps().map(state_of).max().unwrap_or(if is_seen {
            CheckState::Good
        } else {
            CheckState::Unknown
        }),
        problems: traps()
            .map(|trap| Problem {
                message: trap.to_string(),
                remedy: trap.remedy().to_owned(),
            })
            .collect(),
    }
}

fn state(is_wrong: bool, wrong: CheckState) -> CheckState {
    if is_wrong { wrong } else { CheckState::Good }
}

#[cfg(test)]
mod tests;
