//! Why an order came to nothing, what that means for the next one, and what to do about it.

use std::time::SystemTime;

use cloudless_proto::Hostname;
use instant_acme::Problem;
use tokio::task::JoinError;

use super::account::AccountError;
use super::schedule::Failure;
use super::validations::AnswerError;
use crate::certificate::{CertificateError, Refusal, ValidationMethod};
use crate::https_client::RequestError;
use crate::status::chain;

/// The start of every problem type that ACME names (RFC 8555 section 6.7).
const PROBLEM: &str = "urn:ietf:params:acme:error:";
/// A longer message is cut off: part of it is the authority's.
const MESSAGE_MAX: usize = 1000;

/// Why an order came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("the account at the certificate authority cannot be opened")]
    Account(#[source] AccountError),
    #[error("the certificate authority did not do its part")]
    Acme(#[source] instant_acme::Error),
    #[error(transparent)]
    Answer(AnswerError),
    #[error(transparent)]
    Certificate(CertificateError),
    #[error(
        "this machine's clock says {ours} and the certificate authority's {theirs}: set this \
         machine's clock; nothing is ordered until then"
    )]
    Clock { ours: String, theirs: String },
    #[error("the order was not done within {0} minutes")]
    Deadline(u64),
    #[error(transparent)]
    Gate(Refusal),
    #[error("whether an order may be made was not found out in time; is this machine online?")]
    GateTimedOut,
    #[error("the certificate authority gives no certificate, and does not say why")]
    Invalid,
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
    #[error(
        "the certificate authority does not offer to prove {hostname} by {method}, which home.toml \
         asks for"
    )]
    MethodNotOffered {
        hostname: Hostname,
        method: ValidationMethod,
    },
    #[error("{}", not_validated(hostname, *method, problem.as_ref(), *relay_lost))]
    NotValidated {
        hostname: Hostname,
        method: ValidationMethod,
        problem: Option<Problem>,
        relay_lost: bool,
    },
    #[error("no relay is connected, so that the certificate authority would not reach this home")]
    NoRelay,
    #[error(
        "the certificate authority has no profile `{wanted}`; it has {offered}: correct `profile` \
         below [acme] in home.toml"
    )]
    ProfileNotOffered { wanted: String, offered: String },
    #[error("a part of the order stopped; see the log")]
    Task(#[source] JoinError),
}

impl OrderError {
    /// What it means for the next order.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Account(AccountError::ExternalAccountRequired) => Failure::Refused,
            Self::Account(AccountError::File(_)) => Failure::Local,
            Self::Account(AccountError::Acme(error)) | Self::Acme(error) => failure_of(error),
            Self::Answer(_) | Self::Key(_) | Self::Task(_) => Failure::Local,
            Self::Certificate(CertificateError::Write { .. } | CertificateError::Read { .. }) => {
                Failure::Local
            }
            // What came is of no use: the authority has counted it.
            Self::Certificate(_) => Failure::Refused,
            Self::Clock { .. } => Failure::Clock,
            Self::Deadline(_) | Self::Invalid => Failure::Unavailable,
            Self::Gate(_) | Self::GateTimedOut => Failure::Gate,
            Self::MethodNotOffered { .. } | Self::ProfileNotOffered { .. } => Failure::Refused,
            Self::NotValidated {
                relay_lost: true, ..
            } => Failure::RelayLost,
            Self::NotValidated { .. } => Failure::Validation,
            Self::NoRelay => Failure::Local,
        }
    }

    /// The same error, with what is known of the relay at its end.
    pub(super) fn with_relay_lost(mut self, is_lost: bool) -> Self {
        if let Self::NotValidated { relay_lost, .. } = &mut self {
            *relay_lost = is_lost;
        }
        self
    }

    /// For people: what happened and what to do.
    pub(super) fn message(&self) -> String {
        let text = printable(&chain(self));
        match self.advice() {
            Some(advice) => format!("{text}: {advice}"),
            None => text,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        let (Self::Account(AccountError::Acme(error)) | Self::Acme(error)) = self else {
            return None;
        };
        match problem_type(error)? {
            "accountDoesNotExist" | "unauthorized" => Some(
                "the account in acme-accounts.json is no account there, or no longer; put the copy \
                 from your backup back, or move the file away to make another account, which a CAA \
                 record then has to name",
            ),
            "caa" => Some(
                "a CAA record forbids it: compare its accounturi and validationmethods with what \
                 `cloudless home certificate show` says",
            ),
            "rateLimited" => Some("home asks again later by itself"),
            "externalAccountRequired" => Some(
                "write external_account with the key_id and hmac_key of the authority's site below \
                 [acme] in home.toml",
            ),
            _ => None,
        }
    }
}

pub(super) fn failure_of(error: &instant_acme::Error) -> Failure {
    use instant_acme::Error;
    match error {
        Error::Api(problem) => failure_of_problem(problem),
        Error::Crypto | Error::KeyRejected => Failure::Local,
        Error::Http(_) | Error::InvalidUri(_) | Error::Unsupported(_) => Failure::Refused,
        Error::Other(cause) => match cause.downcast_ref::<RequestError>() {
            Some(RequestError::WrongTime { .. }) => Failure::Clock,
            Some(RequestError::NotHttps(_) | RequestError::Name(..)) => Failure::Refused,
            _ => Failure::Unavailable,
        },
        // A page in place of an answer, and all that is unknown.
        _ => Failure::Unavailable,
    }
}

fn failure_of_problem(problem: &Problem) -> Failure {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    match kind.strip_prefix(PROBLEM).unwrap_or_default() {
        "badNonce" => Failure::Nonce,
        "rateLimited" => Failure::RateLimited,
        "serverInternal" => Failure::Unavailable,
        "caa" | "connection" | "dns" | "incorrectResponse" | "tls" => Failure::Validation,
        _ => match problem.status {
            Some(429) => Failure::RateLimited,
            Some(500..=599) => Failure::Unavailable,
            _ => Failure::Refused,
        },
    }
}

fn problem_type(error: &instant_acme::Error) -> Option<&str> {
    match error {
        instant_acme::Error::Api(problem) => problem.r#type.as_deref()?.strip_prefix(PROBLEM),
        _ => None,
    }
}

fn not_validated(
    hostname: &Hostname,
    method: ValidationMethod,
    problem: Option<&Problem>,
    relay_lost: bool,
) -> String {
    let detail = problem.and_then(|problem| problem.detail.as_deref());
    let detail = detail.unwrap_or("it does not say why");
    let port = match method {
        ValidationMethod::Http01 => 80,
        ValidationMethod::TlsAlpn01 => 443,
    };
    let advice = if relay_lost {
        "the relay was lost meanwhile; home asks again when it is back".to_owned()
    } else {
        format!(
            "let the A and AAAA records of {hostname} lead to the relay, where port {port} is open \
             to everybody, and check that no CAA record forbids it"
        )
    };
    format!(
        "the certificate authority came to look whether {hostname} is this home's ({method}) and was \
         not satisfied ({detail}): {advice}"
    )
}

/// The authority's words without what could confuse a terminal, and not too many of them.
fn printable(text: &str) -> String {
    let text = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it });
    text.take(MESSAGE_MAX).collect()
}

/// Whether two clocks are too far apart, and what to say then. Certificates begin an hour before they
/// are made, so that half an hour is harmless.
pub(super) fn compare_clocks(ours: SystemTime, theirs: SystemTime) -> Result<(), OrderError> {
    let apart = ours
        .duration_since(theirs)
        .unwrap_or_else(|error| error.duration());
    if apart <= super::CLOCKS_APART {
        return Ok(());
    }
    Err(OrderError::Clock {
        ours: httpdate::fmt_http_date(ours),
        theirs: httpdate::fmt_http_date(theirs),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn problem(kind: &str, status: Option<u16>) -> instant_acme::Error {
        instant_acme::Error::Api(Problem {
            r#type: Some(format!("{PROBLEM}{kind}")),
            detail: Some("no\u{1b}[2Jo".to_owned()),
            status,
            subproblems: Vec::new(),
        })
    }

    #[test]
    fn what_an_authority_says_decides_how_soon_it_is_asked_again() {
        for (kind, status, expected) in [
            ("badNonce", Some(400), Failure::Nonce),
            ("rateLimited", Some(429), Failure::RateLimited),
            ("unknown", Some(429), Failure::RateLimited),
            ("serverInternal", Some(500), Failure::Unavailable),
            ("unknown", Some(503), Failure::Unavailable),
            ("caa", Some(403), Failure::Validation),
            ("dns", None, Failure::Validation),
            ("connection", Some(400), Failure::Validation),
            ("accountDoesNotExist", Some(400), Failure::Refused),
            ("rejectedIdentifier", Some(400), Failure::Refused),
            ("unauthorized", Some(403), Failure::Refused),
            ("malformed", None, Failure::Refused),
        ] {
            let error = OrderError::Acme(problem(kind, status));
            assert_eq!(error.failure(), expected, "{kind}");
            assert!(!error.message().contains('\u{1b}'));
        }
        let lost = OrderError::Acme(problem("accountDoesNotExist", Some(400)));
        assert!(lost.message().contains("the copy from your backup"));
        // A page in the place of an answer.
        let page = serde_json::from_str::<u8>("<html>").unwrap_err();
        let error = OrderError::Acme(instant_acme::Error::Json(page));
        assert_eq!(error.failure(), Failure::Unavailable);
    }

    #[test]
    fn clocks_may_be_half_an_hour_apart() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let apart = super::super::CLOCKS_APART;
        let second = Duration::from_secs(1);
        assert!(compare_clocks(now, now + apart).is_ok());
        assert!(compare_clocks(now + apart, now).is_ok());
        for (ours, theirs) in [(now, now + apart + second), (now + apart + second, now)] {
            let error = compare_clocks(ours, theirs).unwrap_err();
            assert_eq!(error.failure(), Failure::Clock);
            assert!(
                error.message().contains("15 Jan 2027"),
                "{}",
                error.message()
            );
        }
    }
}
