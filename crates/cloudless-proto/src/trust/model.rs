//! What an attacker gets: facts and the rules by which one leads to the next.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Attacker, Defense, Defenses};

/// What is to be kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asset {
    /// The contacts that home keeps.
    Book,
    /// What a phone sends, its password included, and what it is told.
    Exchange,
}

impl Asset {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Book, Self::Exchange];
}

/// How an attack ends, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The attacker gets nothing.
    Safe,
    /// Nothing, unless the attacker can also forge answers of the unsigned zone's name servers
    /// towards every place that a CA asks from.
    SafeUnlessForged,
    /// The attacker gets it, and home raises an alarm once a log shows the certificate.
    Noticed,
    /// The attacker has it until the device is revoked.
    UntilRevoked,
    /// The attacker gets it and nobody notices.
    Exposed,
}

/// As a few plain words.
impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Safe => "safe",
            Self::SafeUnlessForged => "safe, unless it forges DNS",
            Self::Noticed => "reads, noticed",
            Self::UntilRevoked => "reads until revoked",
            Self::Exposed => "reads",
        })
    }
}

/// What an attacker can have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// The name's connections end at the attacker if it wants them to.
    Path,
    /// CAs see no CAA record that stands in the way.
    NoCaa,
    /// A certificate for the name that public CAs vouch for.
    Certificate,
    /// The key of the certificate that home shows.
    HomeKey,
    /// A device with its password and, where home made one, its certificate.
    Device,
    /// Devices take the attacker for home.
    Impersonates,
    /// A device's password.
    Password,
    /// Home takes the attacker for a device.
    LogsIn,
    /// The assets.
    Book,
    Exchange,
}

/// The facts so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Facts(u16);

impl Facts {
    fn has(self, fact: Fact) -> bool {
        self.0 & 1 << fact as u16 != 0
    }

    fn add(&mut self, fact: Fact) {
        self.0 |= 1 << fact as u16;
    }
}

/// What an attacker gets of an asset past these defenses, whatever it tries.
pub fn outcome(defenses: Defenses, attacker: Attacker, asset: Asset) -> Outcome {
    let wanted = match asset {
        Asset::Book => Fact::Book,
        Asset::Exchange => Fact::Exchange,
    };
    let ends = |forges| {
        let facts = reached(defenses, attacker, forges);
        if !facts.has(wanted) {
            Outcome::Safe
        } else if attacker == Attacker::StolenPhone {
            Outcome::UntilRevoked
        } else if facts.has(Fact::HomeKey) {
            Outcome::Exposed
        } else if facts.has(Fact::Certificate) && defenses.has(Defense::Ct) {
            // Every certificate that public CAs issue is logged, a rule of theirs.
            Outcome::Noticed
        } else {
            Outcome::Exposed
        }
    };
    match (ends(false), ends(true)) {
        (Outcome::Safe, Outcome::Safe) => Outcome::Safe,
        (Outcome::Safe, _) => Outcome::SafeUnlessForged,
        (outcome, _) => outcome,
    }
}

/// All that follows from what the attacker begins with. `forges`: it sits near the name servers.
fn reached(defenses: Defenses, attacker: Attacker, forges: bool) -> Facts {
    let mut facts = beginnings(attacker);
    let is_in_network = matches!(attacker, Attacker::ActiveRelay | Attacker::IpHeir);
    if !defenses.has(Defense::Caa) || (is_in_network && forges && !defenses.has(Defense::Dnssec)) {
        facts.add(Fact::NoCaa);
    }
    loop {
        let before = facts;
        // A CA asks who answers for the name.
        if facts.has(Fact::Path) && facts.has(Fact::NoCaa) {
            facts.add(Fact::Certificate);
        }
        let is_believed = facts.has(Fact::HomeKey)
            || (facts.has(Fact::Certificate) && !defenses.has(Defense::Pin));
        if facts.has(Fact::Path) && is_believed {
            facts.add(Fact::Impersonates);
        }
        // Devices send the password with each request.
        if facts.has(Fact::Impersonates) {
            facts.add(Fact::Password);
            facts.add(Fact::Exchange);
        }
        // With a certificate for each device the password alone is worth nothing.
        let is_enough = facts.has(Fact::Password) && !defenses.has(Defense::ClientCertificate);
        if facts.has(Fact::Device) || is_enough {
            facts.add(Fact::LogsIn);
        }
        if facts.has(Fact::LogsIn) {
            facts.add(Fact::Book);
        }
        if facts == before {
            return facts;
        }
    }
}

/// What an attacker has to begin with.
fn beginnings(attacker: Attacker) -> Facts {
    let begins: &[Fact] = match attacker {
        // It sees server names, addresses, times and sizes. And a name belongs to a key at the
        // relay, so that no other home gets its connections.
        Attacker::PassiveRelay | Attacker::OtherTenant => &[],
        Attacker::ActiveRelay | Attacker::IpHeir => &[Fact::Path],
        // It leads the name to itself, and writes the CAA records.
        Attacker::DnsProvider => &[Fact::Path, Fact::NoCaa],
        // Its certificate is of use only with somebody on the path, so it has somebody there.
        Attacker::Authority => &[Fact::Path, Fact::Certificate],
        Attacker::StolenPhone => &[Fact::Device, Fact::Exchange],
        Attacker::StolenLaptop => &[Fact::Path, Fact::HomeKey, Fact::Book],
    };
    let mut facts = Facts::default();
    begins.iter().for_each(|fact| facts.add(*fact));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Level;

    #[test]
    fn more_defense_never_makes_it_worse() {
        for defenses in Defenses::all() {
            for more in Defense::ALL.map(|it| defenses.with(it)) {
                for attacker in Attacker::ALL {
                    for asset in Asset::ALL {
                        let before = outcome(defenses, attacker, asset);
                        let after = outcome(more, attacker, asset);
                        assert!(
                            after <= before,
                            "{defenses:?} {more:?} {attacker:?} {asset:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn each_defense_helps_somewhere() {
        for defense in Defense::ALL {
            let helps = Defenses::all().any(|before| {
                Attacker::ALL.into_iter().any(|attacker| {
                    Asset::ALL.into_iter().any(|asset| {
                        outcome(before.with(defense), attacker, asset)
                            < outcome(before, attacker, asset)
                    })
                })
            });
            assert!(helps, "{defense:?}");
        }
    }

    #[test]
    fn each_defense_is_as_good_as_it_is_said_to_be() {
        for defenses in Defenses::all() {
            let ends = |attacker, asset| outcome(defenses, attacker, asset);
            let of = |attacker| ends(attacker, Asset::Exchange);
            let network = [Attacker::ActiveRelay, Attacker::IpHeir];
            for attacker in [Attacker::PassiveRelay, Attacker::OtherTenant] {
                assert_eq!(of(attacker), Outcome::Safe, "{defenses:?}");
                assert_eq!(ends(attacker, Asset::Book), Outcome::Safe, "{defenses:?}");
            }
            // Nothing on the wire helps against who holds the machine.
            for asset in Asset::ALL {
                assert_eq!(ends(Attacker::StolenLaptop, asset), Outcome::Exposed);
                assert_eq!(ends(Attacker::StolenPhone, asset), Outcome::UntilRevoked);
            }
            // Without CAA and pin the relay reads: at best it is noticed.
            let (caa, pin) = (defenses.has(Defense::Caa), defenses.has(Defense::Pin));
            let expected = match (caa || pin, defenses.has(Defense::Ct)) {
                _ if pin => Outcome::Safe,
                (true, _) if defenses.has(Defense::Dnssec) => Outcome::Safe,
                (true, _) => Outcome::SafeUnlessForged,
                (false, true) => Outcome::Noticed,
                (false, false) => Outcome::Exposed,
            };
            for attacker in network {
                assert_eq!(of(attacker), expected, "{defenses:?} {attacker:?}");
            }
            // Only the pin keeps DNS provider and CA out.
            for attacker in [Attacker::DnsProvider, Attacker::Authority] {
                assert_eq!(
                    of(attacker) == Outcome::Safe,
                    pin,
                    "{defenses:?} {attacker:?}"
                );
                let book = ends(attacker, Asset::Book);
                let is_kept = pin || defenses.has(Defense::ClientCertificate);
                assert_eq!(book == Outcome::Safe, is_kept, "{defenses:?} {attacker:?}");
            }
        }
    }

    /// What the levels are sold with.
    #[test]
    fn each_level_holds_against_whom_it_says() {
        let holds = |level: Level, attacker, asset| {
            outcome(level.defenses().with(Defense::Dnssec), attacker, asset)
        };
        let relay = Attacker::ActiveRelay;
        assert_eq!(
            holds(Level::HonestRelay, relay, Asset::Book),
            Outcome::Exposed
        );
        for level in [Level::Public, Level::ClientCertificates, Level::Pinned] {
            for attacker in [relay, Attacker::IpHeir] {
                for asset in Asset::ALL {
                    assert_eq!(holds(level, attacker, asset), Outcome::Safe, "{level}");
                }
            }
        }
        for attacker in [Attacker::DnsProvider, Attacker::Authority] {
            let public = holds(Level::Public, attacker, Asset::Book);
            assert_eq!(public, Outcome::Noticed);
            let book = holds(Level::ClientCertificates, attacker, Asset::Book);
            assert_eq!(book, Outcome::Safe);
            let exchange = holds(Level::ClientCertificates, attacker, Asset::Exchange);
            assert_eq!(exchange, Outcome::Noticed);
            for asset in Asset::ALL {
                assert_eq!(holds(Level::Pinned, attacker, asset), Outcome::Safe);
            }
        }
    }
}
