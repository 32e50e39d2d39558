//! How well a name is protected, and against whom.
//!
//! A [`Level`] is what an owner asks for, [`Defenses`] are what is found in force. [`outcome`] says
//! what an attacker gets past them; the rules of that model stand in `model`, and the table in
//! docs/security.md is made from it.

mod model;
mod special_use;
mod table;
pub mod zone;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use model::{Asset, Outcome, outcome};
pub use special_use::is_special_use;
pub use table::{TABLE_BEGIN, TABLE_END, table};

/// How a name is meant to be protected. Later ones hold against more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A public certificate and nothing else: the relay can get one too. Only by name.
    HonestRelay,
    /// A public certificate that CAA records keep others from getting, and a watch on the logs of
    /// Certificate Transparency.
    Public,
    /// The same, and each device proves a certificate of its own.
    ClientCertificates,
    /// A certificate of home's own authority, the only one that devices trust; no CA may issue.
    Pinned,
}

impl Level {
    /// All, the weakest first.
    pub const ALL: [Self; 4] = [
        Self::HonestRelay,
        Self::Public,
        Self::ClientCertificates,
        Self::Pinned,
    ];

    /// As in home.toml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HonestRelay => "honest-relay",
            Self::Public => "public",
            Self::ClientCertificates => "client-certificates",
            Self::Pinned => "pinned",
        }
    }

    /// The level of a name for which nothing was asked. For a name of special use no CA may issue,
    /// so that home's own authority is the only one that can.
    pub fn of(hostname: &crate::Hostname) -> Self {
        if is_special_use(hostname) {
            Self::Pinned
        } else {
            Self::Public
        }
    }

    /// Whether the certificate comes from a public CA.
    pub fn is_public_certificate(self) -> bool {
        self != Self::Pinned
    }

    /// What is in force once all that the level asks for is done; the zone may be signed besides.
    pub fn defenses(self) -> Defenses {
        let none = Defenses::default();
        match self {
            Self::HonestRelay => none,
            Self::Public => none.with(Defense::Caa).with(Defense::Ct),
            Self::ClientCertificates => Self::Public.defenses().with(Defense::ClientCertificate),
            Self::Pinned => none.with(Defense::Pin),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The text is the name of no [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected \"public\", \"client-certificates\", \"pinned\", or \"honest-relay\", with which the \
     relay can read everything"
)]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|it| it.as_str() == text).ok_or(UnknownLevel)
    }
}

/// Something that is in an attacker's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defense {
    /// CAA records let only home's ACME account issue.
    Caa,
    /// The zone is signed, so that nobody but its owner can take the CAA records away.
    Dnssec,
    /// Home watches the logs of Certificate Transparency for keys that it did not make.
    Ct,
    /// Home serves only devices that prove a certificate of its own authority.
    ClientCertificate,
    /// Devices trust home's own authority for the name, and no other.
    Pin,
}

impl Defense {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Caa,
        Self::Dnssec,
        Self::Ct,
        Self::ClientCertificate,
        Self::Pin,
    ];
}

/// A set of [`Defense`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defenses(u8);

impl Defenses {
    /// Every set that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..1 << Defense::ALL.len()).map(Self)
    }

    /// This set with one more.
    #[must_use]
    pub fn with(self, defense: Defense) -> Self {
        Self(self.0 | 1 << defense as u8)
    }

    /// Whether it is among them.
    pub fn has(self, defense: Defense) -> bool {
        self.0 & 1 << defense as u8 != 0
    }
}

/// Who might want to read the contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attacker {
    /// The relay, looking at what passes through it and no more.
    PassiveRelay,
    /// The relay or its hosting company, answering in home's place.
    ActiveRelay,
    /// Who gets the relay's address next, or has it routed to themselves.
    IpHeir,
    /// Who controls the name's DNS: the provider, the registrar, a thief of that account.
    DnsProvider,
    /// A certification authority that issues against its rules.
    Authority,
    /// Who has the phone, unlocked.
    StolenPhone,
    /// Who has the home machine, its disk open.
    StolenLaptop,
    /// Another home on the same relay.
    OtherTenant,
}

impl Attacker {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PassiveRelay,
        Self::ActiveRelay,
        Self::IpHeir,
        Self::DnsProvider,
        Self::Authority,
        Self::StolenPhone,
        Self::StolenLaptop,
        Self::OtherTenant,
    ];

    /// In a few plain words.
    pub fn title(self) -> &'static str {
        match self {
            Self::PassiveRelay => "a relay that looks on",
            Self::ActiveRelay => "a relay that cheats",
            Self::IpHeir => "the next owner of the relay's address",
            Self::DnsProvider => "the DNS provider, or a thief of your account there",
            Self::Authority => "a certification authority that breaks its rules",
            Self::StolenPhone => "a thief of the phone, unlocked",
            Self::StolenLaptop => "a thief of the home machine, its disk open",
            Self::OtherTenant => "another home on the relay",
        }
    }
}
