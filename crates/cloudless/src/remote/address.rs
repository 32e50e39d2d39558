//! URLs of a server, and which of them get the password.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// Where something is: `https://host[:port]/path`. Plain HTTP is for this machine only, since the
/// password is in clear there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) is_tls: bool,
    /// In lower case; IPv6 in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// With the query.
    pub(crate) path: String,
}

/// The text is no such URL.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no URL of a CardDAV server; expected one such as https://cloud.example.org, \
     without a password (http:// is for this machine only)"
)]
pub(crate) struct AddressError(String);

impl Address {
    /// `host[:port]`, as in `Host`.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.is_tls { 443 } else { 80 };
        match self.port {
            port if port == usual => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// The host as a certificate has it.
    pub(crate) fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// Whether both are the same server (RFC 6454).
    pub(crate) fn has_origin_of(&self, other: &Self) -> bool {
        (self.is_tls, &self.host, self.port) == (other.is_tls, &other.host, other.port)
    }

    /// The same server with another path.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// Where a reference leads that stands in an answer from here (RFC 3986 section 5).
    pub(crate) fn join(&self, reference: &str) -> Result<Self, AddressError> {
        let reference = reference.split('#').next().unwrap_or_default();
        let failed = || AddressError(reference.to_owned());
        let is_sane =
            reference.bytes().all(|byte| byte.is_ascii_graphic()) && !reference.is_empty();
        if !is_sane {
            return Err(failed());
        }
        if let Some(rest) = reference.strip_prefix("//") {
            let scheme = if self.is_tls { "https" } else { "http" };
            return format!("{scheme}://{rest}").parse();
        }
        if reference.starts_with('/') {
            return Ok(self.with_path(reference));
        }
        let colon = reference.find(':');
        let is_absolute = colon.is_some_and(|at| !reference[..at].contains(['/', '?']));
        if is_absolute {
            return reference.parse();
        }
        let folder_end = self.path.split('?').next().and_then(|path| path.rfind('/'));
        let folder = &self.path[..folder_end.map_or(0, |at| at + 1)];
        if reference
            .split('/')
            .any(|segment| matches!(segment, "." | ".."))
        {
            return Err(failed());
        }
        Ok(self.with_path(&format!("{folder}{reference}")))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // Never with a password that stands in it.
        let shown = || match text.rsplit_once('@') {
            Some((_, rest)) => AddressError(format!("…@{rest}")),
            None => AddressError(text.to_owned()),
        };
        let uri: Uri = text.parse().map_err(|_| shown())?;
        let authority = uri.authority().ok_or_else(shown)?;
        let host = authority.host().to_ascii_lowercase();
        let is_here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_here => false,
            _ => return Err(shown()),
        };
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.as_str().contains('@') || (has_port && authority.port_u16().is_none()) {
            return Err(shown());
        }
        Ok(Self {
            is_tls,
            port: authority
                .port_u16()
                .unwrap_or(if is_tls { 443 } else { 80 }),
            host,
            path: uri
                .path_and_query()
                .map_or("/", |it| it.as_str())
                .to_owned(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_where_rfc_3986_says() {
        let base: Address = "https://Cloud.example.org/dav/me/?x=1".parse().unwrap();
        assert_eq!(base.to_string(), "https://cloud.example.org/dav/me/?x=1");
        for (reference, expected) in [
            ("/a/b", "https://cloud.example.org/a/b"),
            ("c.vcf", "https://cloud.example.org/dav/me/c.vcf"),
            (
                "https://other.example.org:8443/x",
                "https://other.example.org:8443/x",
            ),
            (
                "https://cloud.example.org:443/x",
                "https://cloud.example.org/x",
            ),
            ("//cdn.example.org/x", "https://cdn.example.org/x"),
            ("/a:b", "https://cloud.example.org/a:b"),
            ("b/a:c", "https://cloud.example.org/dav/me/b/a:c"),
        ] {
            assert_eq!(
                base.join(reference).unwrap().to_string(),
                expected,
                "{reference}"
            );
        }
        for reference in [
            "",
            "http://cloud.example.org/",
            "../x",
            "javascript:x",
            "a b",
            "/a\r\nb",
            "https://u:p@h/",
        ] {
            assert!(base.join(reference).is_err(), "{reference:?}");
        }
        let same: Address = "https://cloud.example.org:443/".parse().unwrap();
        assert!(base.has_origin_of(&same));
        for other in ["https://cloud.example.org:8443/", "https://example.org/"] {
            assert!(!base.has_origin_of(&other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn a_password_goes_to_no_network_in_clear_and_into_no_message() {
        for text in [
            "http://cloud.example.org",
            "cloud.example.org",
            "ftp://x",
            "https://",
            "https://x:",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!("http://127.0.0.1:5232/".parse::<Address>().is_ok());
        let error = "https://me:secret@cloud.example.org/"
            .parse::<Address>()
            .unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
