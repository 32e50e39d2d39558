//! What has to hold before a certificate is ordered from a public authority.
//!
//! Whoever answers for a name can get a certificate for it, and in front of home that is the relay.
//! So each order, the first one and each renewal, is put to a [`Gate`], which looks whether
//! anybody else could get one too. Home only asks and obeys.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;

use cloudless_proto::Hostname;

/// How a name is proven to an authority (RFC 8555 section 8, RFC 8737).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValidationMethod {
    /// A file over plain HTTP, on port 80.
    Http01,
    /// A certificate made for the validation, in TLS on port 443.
    #[default]
    TlsAlpn01,
}

impl ValidationMethod {
    /// Its name in ACME and in the `validationmethods` of a CAA record (RFC 8657 section 4).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

impl fmt::Display for ValidationMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An order that home is about to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntendedOrder {
    /// The only name in it.
    pub hostname: Hostname,
    /// The ACME account's URL, which a CAA record names as `accounturi` (RFC 8657 section 3).
    pub account_uri: String,
    /// How the name will be proven.
    pub method: ValidationMethod,
    /// The names by which CAA records know the authority, as its directory says (RFC 8555
    /// section 9.7.6); none when it says none.
    pub caa_identities: Vec<String>,
    /// The ACME directory that it goes to.
    pub directory: String,
}

/// Why nothing is ordered, and what to do about it. Home shows it in its status and asks again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For people: what is missing, with the exact record to publish if it is one.
    pub message: String,
}

/// What a [`Gate`] answers, in its own time. Home waits at most two minutes.
pub type Permission<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// Decides whether an order may be made now.
pub trait Gate: Send + Sync {
    /// Takes note of how the next order for a name will be made. Told when home starts, and each time
    /// its account was opened: what has to be published is known then, long before a renewal.
    fn learn(&self, _order: &IntendedOrder) {}

    /// Whether this order may be made. Asked before each order, before any key is made for it and
    /// after the account is there. It may look things up, and nothing is cached by home.
    fn may_order<'a>(&'a self, order: &'a IntendedOrder) -> Permission<'a>;
}

/// Lets those names pass for which the owner has said that the relay is trusted to be honest.
#[derive(Clone, Debug, Default)]
pub struct HonestRelay {
    /// The names with `trust = "honest-relay"`.
    pub hostnames: HashSet<Hostname>,
}

impl Gate for HonestRelay {
    fn may_order<'a>(&'a self, order: &'a IntendedOrder) -> Permission<'a> {
        Box::pin(async move {
            if self.hostnames.contains(&order.hostname) {
                return Ok(());
            }
            let hostname = &order.hostname;
            Err(Refusal {
                message: format!(
                    "nothing is ordered for {hostname}: the relay could get a certificate for this \
                     name too, and this version cannot tell whether the DNS forbids it. To have one \
                     all the same, and trust the relay, write trust = \"honest-relay\" below \
                     [hostname.\"{hostname}\"] in home.toml"
                ),
            })
        })
    }
}
