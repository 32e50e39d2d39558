//! Which certification authority may issue for a name, and to whom: CAA records (RFC 8659) with the
//! account and method they are bound to (RFC 8657).
//!
//! Nothing is looked up here. A caller asks for the CAA records of each name of [`climb`], hands in
//! an [`Answer`] for each, and gets what a CA would decide ([`authorizes`]) and what is wrong with
//! the records for who wants nobody else to get a certificate ([`faults`]).
//!
//! The two judge differently where a record is doubtful. What a CA decides follows Boulder, the CA
//! software of Let's Encrypt: an unknown or repeated parameter matches nobody. What is wrong is
//! judged from the other side: a record that some CA might read as leave for somebody else is a
//! fault.

mod fault;
mod issue;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Hostname;
use crate::dns::{Answer, Proof};

pub use fault::{Fault, Wanted, faults, lets_others_have_a_wildcard};
pub use issue::{InvalidIssue, Issue, Parameter};

/// Issuer Critical (RFC 8659 §4.1). Bit 0 counts too: so many people read the RFC that way that
/// CAs take it for the flag.
const CRITICAL: u8 = 128 | 1;

/// One CAA record: a Property (RFC 8659 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Property {
    /// The flags; see [`Property::is_critical`].
    pub flags: u8,
    /// The Property Tag, in any case.
    pub tag: String,
    /// The Property Value, as it came.
    pub value: Vec<u8>,
}

impl Property {
    /// A Property without flags.
    pub fn new(tag: &str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            flags: 0,
            tag: tag.to_owned(),
            value: value.into(),
        }
    }

    /// Whether a CA that does not know the tag must not issue.
    pub fn is_critical(&self) -> bool {
        self.flags & CRITICAL != 0
    }

    /// Tags are matched without regard to case.
    fn is(&self, tag: &str) -> bool {
        self.tag.eq_ignore_ascii_case(tag)
    }

    fn is_known(&self) -> bool {
        ["issue", "issuewild", "iodef"].iter().any(|it| self.is(it))
    }
}

/// As a zone file has it; what is not printable ASCII is escaped.
impl fmt::Display for Property {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flags, tag, value) = (self.flags, &self.tag, self.value.escape_ascii());
        write!(formatter, "{flags} {tag} \"{value}\"")
    }
}

/// The names whose CAA records count, in this order: the name itself, then each parent but the root
/// (RFC 8659 §3). The first that has any decides.
pub fn climb(hostname: &Hostname) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(hostname.as_str()), |name| {
        name.split_once('.').map(|(_, parent)| parent)
    })
}

/// The Relevant RRset (RFC 8659 §3): the first answer that has records, of answers in the order of
/// [`climb`]. `None` when there are no records up to the root: any CA may issue then.
///
/// # Errors
/// The answer that no sound lookup gave, before one that has records: what it hides might have
/// counted. A CA may then issue only where the zone is unsigned.
pub fn relevant(
    answers: &[Answer<Property>],
) -> Result<Option<&Answer<Property>>, &Answer<Property>> {
    for answer in answers {
        match answer.proof {
            Proof::Bogus | Proof::Missing => return Err(answer),
            _ if answer.records.is_empty() => {}
            _ => return Ok(Some(answer)),
        }
    }
    Ok(None)
}

/// What a CA is asked for, as far as CAA cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The CA's Issuer Domain Name, such as `letsencrypt.org`.
    pub issuer: &'a str,
    /// The ACME account that asks, by its URI (RFC 8657 §3).
    pub account_uri: &'a str,
    /// The validation method, such as `tls-alpn-01` (RFC 8657 §4).
    pub method: &'a str,
    /// Whether the certificate would be for `*.` and the name.
    pub is_wildcard: bool,
}

/// Whether a CA that knows RFC 8657 issues what it is asked for, given the Relevant RRset (none: an
/// empty slice).
pub fn authorizes(records: &[Property], request: &Request<'_>) -> bool {
    if records.iter().any(|it| it.is_critical() && !it.is_known()) {
        return false;
    }
    let with = |tag| records.iter().filter(move |it| it.is(tag));
    let is_wild = request.is_wildcard && with("issuewild").next().is_some();
    let mut governing = with(if is_wild { "issuewild" } else { "issue" }).peekable();
    if governing.peek().is_none() {
        // Records about other things restrict nothing.
        return true;
    }
    governing.any(|record| {
        Issue::parse(&record.value).is_ok_and(|issue| {
            issue.domain == request.issuer
                && issue.admits_account(request.account_uri)
                && issue.admits_method(request.method)
        })
    })
}

#[cfg(test)]
mod tests;
