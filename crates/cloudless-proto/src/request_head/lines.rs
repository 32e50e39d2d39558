//! The lines of a request head, one after the other.

use std::net::Ipv6Addr;

use super::{Malformed, RequestHead};
use crate::Hostname;

/// What the lines so far have said.
#[derive(Debug, Default)]
pub(super) struct Lines {
    request: Option<RequestLine>,
    host: Option<Authority>,
}

impl Lines {
    /// Takes the next line, without its end; the head when this is the empty line that ends it.
    pub(super) fn read(&mut self, line: &[u8]) -> Result<Option<RequestHead>, Malformed> {
        if self.request.is_none() {
            // A server ignores empty lines before the request line (RFC 9112 section 2.2).
            if !line.is_empty() {
                self.request = Some(RequestLine::read(line)?);
            }
            return Ok(None);
        }
        if !line.is_empty() {
            return self.read_field(line).map(|()| None);
        }
        match self.request.take() {
            Some(request) => request.into_head(self.host.take()).map(Some),
            None => Ok(None),
        }
    }

    fn read_field(&mut self, line: &[u8]) -> Result<(), Malformed> {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(Malformed::ObsFold);
        }
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or(Malformed::FieldLine)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err(Malformed::FieldLine);
        }
        if !name.eq_ignore_ascii_case(b"host") {
            return Ok(());
        }
        if self.host.is_some() {
            return Err(Malformed::DuplicateHost);
        }
        self.host = Some(Authority::read(value.trim_ascii())?);
        Ok(())
    }
}

/// The first line of a request (RFC 9112 section 3).
#[derive(Debug)]
struct RequestLine {
    method: String,
    target_path: String,
    /// The host in an absolute target.
    authority: Option<Authority>,
    host_is_required: bool,
}

impl RequestLine {
    fn read(line: &[u8]) -> Result<Self, Malformed> {
        if line == b"PRI * HTTP/2.0" {
            return Err(Malformed::Http2);
        }
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Malformed::RequestLine);
        };
        if !is_token(method) || target.is_empty() || !version.starts_with(b"HTTP/") {
            return Err(Malformed::RequestLine);
        }
        let host_is_required = match version {
            b"HTTP/1.0" => false,
            b"HTTP/1.1" => true,
            _ => return Err(Malformed::Version),
        };
        if method == b"CONNECT" {
            return Err(Malformed::AuthorityForm);
        }
        let (authority, target_path) = read_target(target)?;
        let method = String::from_utf8_lossy(method).into_owned();
        Ok(Self {
            method,
            target_path,
            authority,
            host_is_required,
        })
    }

    fn into_head(self, host: Option<Authority>) -> Result<RequestHead, Malformed> {
        if host.is_none() && self.host_is_required {
            return Err(Malformed::MissingHost);
        }
        if let (Some(host), Some(authority)) = (&host, &self.authority)
            && host != authority
        {
            return Err(Malformed::HostMismatch);
        }
        let authority = self.authority.or(host);
        Ok(RequestHead {
            method: self.method,
            target_path: self.target_path,
            port: authority.as_ref().and_then(|authority| authority.port),
            host: authority.and_then(|authority| authority.hostname()),
        })
    }
}

/// Splits a target into the host, if it has one, and path and query (RFC 9112 section 3.2).
fn read_target(target: &[u8]) -> Result<(Option<Authority>, String), Malformed> {
    // A fragment never goes to a server, so '#' is refused with what no URL has.
    let allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    if !target.iter().all(allowed) {
        return Err(Malformed::Target);
    }
    let target = String::from_utf8_lossy(target);
    if target == "*" || target.starts_with('/') {
        return Ok((None, target.into_owned()));
    }
    const SCHEME: &str = "http://";
    let rest = match target.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
        _ => return Err(Malformed::Target),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = Authority::read(authority.as_bytes())?;
    if authority.host.is_empty() {
        return Err(Malformed::Host);
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((Some(authority), format!("{slash}{path}")))
}

/// A host and perhaps a port (RFC 3986 section 3.2), without user information.
#[derive(Debug, PartialEq, Eq)]
struct Authority {
    /// Lower-case and without a trailing dot.
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn read(text: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(text).map_err(|_| Malformed::Host)?;
        // The colons of an IPv6 address stand between brackets.
        let host_end = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[host_end..].find(':') {
            Some(colon) => (
                &text[..host_end + colon],
                Some(&text[host_end + colon + 1..]),
            ),
            None => (text, None),
        };
        let host_is_valid = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
            None => host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
        };
        if !host_is_valid {
            return Err(Malformed::Host);
        }
        // "host:" is the default port, as in URLs.
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| Malformed::Host)?)
            }
            Some(_) => return Err(Malformed::Host),
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(Self { host, port })
    }

    fn hostname(&self) -> Option<Hostname> {
        self.host.parse().ok()
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(allowed)
}
