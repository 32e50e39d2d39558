//! What a lookup in the DNS brought, as far as the rules here look at it.

use serde::{Deserialize, Serialize};

/// The records of one type at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The name that was asked for, lower-case and without a trailing dot.
    pub name: String,
    /// Where its CNAME records lead in the end; `None` where it is no alias. The records are those
    /// found there.
    pub alias: Option<String>,
    /// The records; none where there are none of that type, or no such name.
    pub records: Vec<T>,
    /// How much the answer is worth.
    pub proof: Proof,
}

impl<T> Answer<T> {
    /// A name that is no alias.
    pub fn new(name: &str, records: Vec<T>, proof: Proof) -> Self {
        Self {
            name: name.to_owned(),
            alias: None,
            records,
            proof,
        }
    }

    /// The name whose owner says what the records are.
    pub fn owner(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }
}

/// What DNSSEC says of an answer (RFC 4033 §5), the absence of records included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Signed, back to the trust anchor.
    Secure,
    /// The zone is proven to be unsigned: whoever is on the way may have changed the answer.
    Insecure,
    /// Signatures are missing or wrong where they must be right.
    Bogus,
    /// No answer came.
    Missing,
    /// Nobody has looked: the answer came from a name server of the zone itself.
    Unchecked,
}
