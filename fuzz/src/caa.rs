//! Values of CAA records, which anybody can put into a zone: no bytes panic, what is read is written as
//! the same again, and what lets an account have a certificate leaves out no other one by mistake.

use cloudless_proto::caa::{Issue, Property, Request, authorizes};

const ISSUER: &str = "letsencrypt.org";
const ACCOUNT: &str = "https://acme.example/acct/1";

/// Panics when that does not hold.
pub fn check(bytes: &[u8]) {
    // Shown to people, and never in a way that steers a terminal.
    let record = Property::new("issue", bytes);
    assert!(!record.to_string().contains(char::is_control));

    let request = Request {
        issuer: ISSUER,
        account_uri: ACCOUNT,
        method: "tls-alpn-01",
        is_wildcard: false,
    };
    let is_authorized = authorizes(&[record], &request);
    let Ok(issue) = Issue::parse(bytes) else {
        assert!(!is_authorized);
        return;
    };
    let bound = issue.account_uri();
    if is_authorized {
        assert!(issue.domain == ISSUER && bound.is_none_or(|it| it == ACCOUNT));
    }
    if let Some(account) = bound {
        assert!(issue.admits_account(account));
        assert!(account == ACCOUNT || !issue.admits_account(ACCOUNT));
    }

    let mut text = issue.domain.clone();
    for parameter in &issue.parameters {
        text += &format!("; {}={}", parameter.tag, parameter.value);
    }
    assert_eq!(Issue::parse(text.as_bytes()), Ok(issue));
}
