//! The value of an `issue` or `issuewild` Property (RFC 8659 §4.2).

const ACCOUNT_URI: &str = "accounturi";
const VALIDATION_METHODS: &str = "validationmethods";

/// A value that could be read: who may issue, and under which conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The Issuer Domain Name, as it stands there; empty when nobody may issue.
    pub domain: String,
    /// In their order, repeated ones too.
    pub parameters: Vec<Parameter>,
}

/// One `tag=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// CAs match it with regard to case.
    pub tag: String,
    /// Printable ASCII without `;`.
    pub value: String,
}

/// The value breaks the grammar: no CA may issue on its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not `DOMAIN; TAG=VALUE; …`")]
pub struct InvalidIssue;

impl Issue {
    /// Reads a Property Value.
    ///
    /// # Errors
    /// [`InvalidIssue`] for anything that RFC 8659 §4.2 has no reading for.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidIssue> {
        let text = str::from_utf8(value).map_err(|_| InvalidIssue)?;
        let (domain, rest) = match text.split_once(';') {
            Some((domain, rest)) => (trim(domain), trim(rest)),
            None => (trim(text), ""),
        };
        if !domain.is_empty() && !domain.split('.').all(is_label) {
            return Err(InvalidIssue);
        }
        let parameters = match rest {
            "" => Vec::new(),
            rest => rest.split(';').map(parameter).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            domain: domain.to_owned(),
            parameters,
        })
    }

    /// Whether an account may get a certificate: any may without `accounturi`, none with two.
    pub fn admits_account(&self, account_uri: &str) -> bool {
        match self.only(ACCOUNT_URI) {
            Ok(None) => true,
            Ok(Some(uri)) => uri == account_uri,
            Err(Repeated) => false,
        }
    }

    /// Whether a validation method may be used: any may without `validationmethods`. One method
    /// that breaks the grammar spoils them all.
    pub fn admits_method(&self, method: &str) -> bool {
        match self.only(VALIDATION_METHODS) {
            Ok(None) => true,
            Ok(Some(methods)) => {
                methods.split(',').all(is_method) && methods.split(',').any(|it| it == method)
            }
            Err(Repeated) => false,
        }
    }

    /// The account that the record is bound to; `None` without one, and with two.
    pub fn account_uri(&self) -> Option<&str> {
        self.only(ACCOUNT_URI).ok().flatten()
    }

    /// The methods that the record is bound to; `None` without, and when there are two such lists.
    pub fn methods(&self) -> Option<&str> {
        self.only(VALIDATION_METHODS).ok().flatten()
    }

    /// The first tag that stands there twice.
    pub(super) fn repeated(&self) -> Option<&str> {
        let mut seen = self.parameters.iter().enumerate();
        seen.find_map(|(index, it)| {
            let before = self.parameters.iter().take(index);
            let is_repeated = before.into_iter().any(|other| other.tag == it.tag);
            is_repeated.then_some(it.tag.as_str())
        })
    }

    /// The first tag that RFC 8657 does not name, other spellings of its tags included: a CA
    /// takes no notice of it.
    pub(super) fn unknown(&self) -> Option<&str> {
        let mut tags = self.parameters.iter().map(|it| it.tag.as_str());
        tags.find(|tag| ![ACCOUNT_URI, VALIDATION_METHODS].contains(tag))
    }

    fn only(&self, tag: &str) -> Result<Option<&str>, Repeated> {
        let mut found = self.parameters.iter().filter(|it| it.tag == tag);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Repeated),
            (first, None) => Ok(first.map(|it| it.value.as_str())),
        }
    }
}

struct Repeated;

fn parameter(text: &str) -> Result<Parameter, InvalidIssue> {
    let (tag, value) = text.split_once('=').ok_or(InvalidIssue)?;
    let (tag, value) = (trim(tag), trim(value));
    let is_value = value
        .bytes()
        .all(|byte| matches!(byte, 0x21..=0x3a | 0x3c..=0x7e));
    if !is_label(tag) || !is_value {
        return Err(InvalidIssue);
    }
    Ok(Parameter {
        tag: tag.to_owned(),
        value: value.to_owned(),
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// `(ALPHA / DIGIT) *( *("-") (ALPHA / DIGIT))`, the grammar of labels and of parameter tags.
fn is_label(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(is_inside)
}

/// `1*(ALPHA / DIGIT / "-")` (RFC 8657 §4).
fn is_method(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
