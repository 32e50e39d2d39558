//! What is wrong with a name's CAA records for who wants nobody else to get a certificate.

use super::{Answer, Issue, Proof, Property, Request, authorizes, relevant};

/// Who may get a certificate for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One ACME account at one CA, by one method.
    Account {
        /// The CA's Issuer Domain Name, such as `letsencrypt.org`.
        issuer: String,
        /// The account's URI.
        account_uri: String,
        /// The validation method, such as `tls-alpn-01`.
        method: String,
    },
    /// Nobody: the devices trust a certificate that no CA made.
    Nobody,
}

impl Wanted {
    /// The records to publish at the name: these, and no other.
    pub fn records(&self) -> Vec<Property> {
        let issue = match self {
            Self::Account {
                issuer,
                account_uri,
                method,
            } => format!("{issuer}; accounturi={account_uri}; validationmethods={method}"),
            Self::Nobody => ";".to_owned(),
        };
        vec![
            Property::new("issue", issue),
            Property::new("issuewild", ";"),
        ]
    }
}

/// Something wrong with CAA records. The text says what; [`Fault::remedy`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The name is a CNAME: whoever owns the target says who may issue for it.
    #[error(
        "{name} is a CNAME to {to}, so the CAA records of {to} count, which its owner can change"
    )]
    Alias {
        /// The alias.
        name: String,
        /// Where it leads.
        to: String,
    },
    /// A record that leaves the account open.
    #[error("`{0}` binds no account: whoever answers for the name gets a certificate there")]
    AnyAccount(Property),
    /// A record of ours that leaves the method open. The account is bound all the same.
    #[error("`{0}` does not say by which method the account may prove the name")]
    AnyMethod(Property),
    /// An answer that DNSSEC proves wrong: CAs refuse to issue.
    #[error(
        "the CAA answer for {0} is not valid under DNSSEC, or its name servers fail; no CA issues like this"
    )]
    Bogus(String),
    /// A record that cannot be read.
    #[error(
        "`{0}` cannot be read: no CA issues on its account, and CAs differ in what they make of it"
    )]
    Broken(Property),
    /// A record that some CA may not understand and must then obey.
    #[error("`{0}` is marked critical and its tag is unknown to CAs: none issues at all")]
    Critical(Property),
    /// No answer for a name that counts.
    #[error("no name server answers for the CAA records of {0}")]
    NoAnswer(String),
    /// There are records, and none that restricts issuing.
    #[error(
        "the CAA records of {0} have no `issue`: any CA may issue to whoever answers for the name"
    )]
    NoIssue(String),
    /// Wildcards are not forbidden expressly. What `issue` says holds for them.
    #[error("there is no `issuewild`: `issue` governs wildcard certificates too")]
    NoIssueWild,
    /// No records up to the root.
    #[error("there are no CAA records: any CA issues to whoever answers for the name")]
    NoRecords,
    /// The wanted account is not among those that may issue.
    #[error("the CAA records do not let this home's account at {issuer} issue by {method}")]
    NotOurs {
        /// The CA.
        issuer: String,
        /// The method.
        method: String,
    },
    /// A record for another account at the same CA.
    #[error("`{record}` binds another account than this home's")]
    OtherAccount {
        /// The record.
        record: Property,
        /// That account.
        account_uri: String,
    },
    /// A record that lets another CA issue.
    #[error("`{record}` lets {issuer} issue")]
    OtherIssuer {
        /// The record.
        record: Property,
        /// That CA.
        issuer: String,
    },
    /// A record that binds methods without ours.
    #[error("`{record}` allows {methods} and not {method}, the method in use: renewals fail")]
    OtherMethod {
        /// The record.
        record: Property,
        /// What it allows.
        methods: String,
        /// What is in use.
        method: String,
    },
    /// A parameter that stands there twice: no CA can satisfy it.
    #[error("`{record}` has `{tag}` twice: no CA issues on its account, and renewals fail")]
    Repeated {
        /// The record.
        record: Property,
        /// The parameter.
        tag: String,
    },
    /// A record with an account of the CA's test system, where the real one is wanted.
    #[error("`{record}` binds an account of the CA's staging system")]
    StagingAccount {
        /// The record.
        record: Property,
        /// That account.
        account_uri: String,
    },
    /// A parameter that no RFC names; perhaps a known one with capital letters.
    #[error("`{record}` has the parameter `{tag}`, which CAs pass over")]
    UnknownParameter {
        /// The record.
        record: Property,
        /// The parameter.
        tag: String,
    },
    /// The answer is not signed.
    #[error(
        "the zone of {0} is not signed with DNSSEC: who sits near its name servers can forge the records"
    )]
    Unsigned(String),
}

impl Fault {
    /// Whether the level of protection holds all the same.
    pub fn is_advice(&self) -> bool {
        matches!(
            self,
            Self::AnyMethod(_) | Self::NoIssueWild | Self::Unsigned(_)
        )
    }

    /// What to do, as an instruction.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Alias { .. } => {
                "replace the CNAME by A and AAAA records, and publish the CAA records at the name itself"
            }
            Self::AnyAccount(_)
            | Self::Broken(_)
            | Self::OtherIssuer { .. }
            | Self::Repeated { .. }
            | Self::UnknownParameter { .. } => {
                "replace this record by those to publish; each record lets issue on its own"
            }
            Self::AnyMethod(_) => "add `validationmethods` as in the record to publish",
            Self::Bogus(_) => {
                "look from another network, as this one may answer in the name servers' place; otherwise \
                 have the zone signed anew where its DNS is hosted, or take out the DS record at the registrar"
            }
            Self::Critical(_) => "remove this record",
            Self::NoAnswer(_) => {
                "see to it that all name servers of the zone answer; check the network of this machine"
            }
            Self::NoIssue(_) | Self::NoRecords | Self::NotOurs { .. } => {
                "publish the CAA records where the DNS of the name is hosted"
            }
            Self::NoIssueWild => "publish `0 issuewild \";\"` beside it",
            Self::OtherAccount { .. } => {
                "if it is not an account of yours, somebody has changed your DNS: remove the record"
            }
            Self::OtherMethod { .. } => "set `validationmethods` as in the record to publish",
            Self::StagingAccount { .. } => {
                "put the account of the real system there, as in the record to publish"
            }
            Self::Unsigned(_) => {
                "turn DNSSEC on where the DNS of the name is hosted; many do it at a click"
            }
        }
    }
}

/// Everything wrong with the CAA records that count for a name, of answers in the order of
/// [`climb`](super::climb). Empty: nobody but who is wanted gets a certificate from a CA that keeps
/// to the rules, and who is wanted does.
pub fn faults(answers: &[Answer<Property>], wanted: &Wanted) -> Vec<Fault> {
    let found = relevant(answers);
    let last = match found {
        Ok(Some(answer)) | Err(answer) => answers
            .iter()
            .position(|it: &Answer<Property>| std::ptr::eq(it, answer)),
        Ok(None) => None,
    };
    let counting = || {
        answers
            .iter()
            .take(last.map_or(answers.len(), |last| last + 1))
    };
    let mut faults: Vec<_> = counting()
        .filter_map(|answer| {
            let (name, to) = (answer.name.clone(), answer.alias.clone()?);
            Some(Fault::Alias { name, to })
        })
        .collect();
    let found = match found {
        Ok(found) => found,
        Err(answer) => {
            let name = answer.name.clone();
            faults.push(match answer.proof {
                Proof::Bogus => Fault::Bogus(name),
                _ => Fault::NoAnswer(name),
            });
            return faults;
        }
    };
    match found {
        None => faults.push(Fault::NoRecords),
        Some(answer) => faults.extend(of_records(answer, wanted)),
    }
    // That nothing is there may be forged as well.
    if let Some(answer) = counting().find(|it| it.proof == Proof::Insecure) {
        faults.push(Fault::Unsigned(answer.name.clone()));
    }
    faults
}

/// Whether the CAA records of a domain, of answers in the order of [`climb`](super::climb), let a CA
/// issue for `*.` and the domain to anybody but who is wanted. Nothing is known without answers, and a
/// CA that cannot ask does not issue.
pub fn lets_others_have_a_wildcard(answers: &[Answer<Property>], wanted: &Wanted) -> bool {
    let records = match relevant(answers) {
        Err(_) => return false,
        Ok(None) => return !answers.is_empty(),
        Ok(Some(answer)) => &answer.records,
    };
    if records.iter().any(|it| it.is_critical() && !it.is_known()) {
        return false;
    }
    let with = |tag| records.iter().filter(move |it: &&Property| it.is(tag));
    let is_wild = with("issuewild").next().is_some();
    let mut governing = with(if is_wild { "issuewild" } else { "issue" }).peekable();
    // Its own account, by whatever method, is nobody else.
    let is_other =
        |fault: &Fault| !fault.is_advice() && !matches!(fault, Fault::OtherMethod { .. });
    governing.peek().is_none() || governing.any(|it| of_record(it, wanted).iter().any(is_other))
}

fn of_records(answer: &Answer<Property>, wanted: &Wanted) -> Vec<Fault> {
    let records = &answer.records;
    let mut faults = Vec::new();
    for record in records {
        if record.is("issue") || record.is("issuewild") {
            faults.extend(of_record(record, wanted));
        } else if record.is_critical() && !record.is_known() {
            faults.push(Fault::Critical(record.clone()));
        }
    }
    if !records.iter().any(|it| it.is("issue")) {
        faults.push(Fault::NoIssue(answer.owner().to_owned()));
    } else if !records.iter().any(|it| it.is("issuewild")) {
        faults.push(Fault::NoIssueWild);
    }
    if let Wanted::Account {
        issuer,
        account_uri,
        method,
    } = wanted
    {
        let request = Request {
            issuer,
            account_uri,
            method,
            is_wildcard: false,
        };
        if !authorizes(records, &request) {
            faults.push(Fault::NotOurs {
                issuer: issuer.clone(),
                method: method.clone(),
            });
        }
    }
    faults
}

/// One `issue` or `issuewild`: whom it lets issue but who is wanted. Doubt is a fault.
fn of_record(record: &Property, wanted: &Wanted) -> Vec<Fault> {
    let record = || record.clone();
    let Ok(issue) = Issue::parse(&record().value) else {
        return vec![Fault::Broken(record())];
    };
    if let Some(tag) = issue.repeated() {
        let tag = tag.to_owned();
        return vec![Fault::Repeated {
            record: record(),
            tag,
        }];
    }
    let other_issuer = || Fault::OtherIssuer {
        record: record(),
        issuer: issue.domain.clone(),
    };
    match wanted {
        _ if issue.domain.is_empty() => Vec::new(),
        Wanted::Nobody => vec![other_issuer()],
        // Whether another CA keeps to the account is not known. Case counts: what CAs make of
        // another spelling is not known either.
        Wanted::Account { issuer, .. } if issue.domain != *issuer => vec![other_issuer()],
        Wanted::Account {
            account_uri,
            method,
            ..
        } => {
            let mut faults = Vec::new();
            if let Some(tag) = issue.unknown() {
                let tag = tag.to_owned();
                faults.push(Fault::UnknownParameter {
                    record: record(),
                    tag,
                });
            }
            match issue.account_uri() {
                None => faults.push(Fault::AnyAccount(record())),
                Some(uri) if uri == account_uri => {}
                Some(uri) => {
                    let (record, account_uri) = (record(), uri.to_owned());
                    faults.push(if uri.contains("staging") {
                        Fault::StagingAccount {
                            record,
                            account_uri,
                        }
                    } else {
                        Fault::OtherAccount {
                            record,
                            account_uri,
                        }
                    });
                }
            }
            match issue.methods() {
                None => faults.push(Fault::AnyMethod(record())),
                Some(_) if issue.admits_method(method) => {}
                Some(methods) => faults.push(Fault::OtherMethod {
                    record: record(),
                    methods: methods.to_owned(),
                    method: method.clone(),
                }),
            }
            faults
        }
    }
}
