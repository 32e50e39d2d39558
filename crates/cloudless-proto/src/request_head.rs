//! Reads the host out of the first bytes of an HTTP/1 connection.
//!
//! The relay decides once per connection where its bytes go, so a head that two servers could read
//! in two ways is refused: two Host lines, a target that contradicts Host, folded lines, bare line
//! feeds, NUL (RFC 9112 sections 2.2, 3.2 and 5.2). The head is read to its end, because a second
//! Host line may be the last one.

use crate::Hostname;

/// Where certificate authorities look for what proves that a name is the applicant's. They follow a
/// redirect without checking the certificate it ends at, so these paths are never redirected.
const VALIDATION_PATHS: [&str; 2] = [
    "/.well-known/acme-challenge/",
    "/.well-known/pki-validation/",
];

/// How many bytes a request head may take, the empty line at its end included.
pub const MAX_LEN: usize = 16 * 1024;

/// Collects the bytes of one connection until its first request head is complete.
///
/// Push what the socket gives until the outcome is no longer [`Parsed::Incomplete`], then stop. The
/// outcome depends on the bytes alone, never on how they were cut, and the cost is linear in them.
///
/// A head may hold a password. The bytes are in one allocation of [`MAX_LEN`], made at the start
/// and never moved while no more than that is pushed: to leave no trace, push no more, take
/// [`into_bytes`](Self::into_bytes) and overwrite it.
#[derive(Debug)]
pub struct Reader {
    bytes: Vec<u8>,
    /// Where the line that is not complete yet starts.
    line_start: usize,
    /// Invariant: `bytes[..scanned]` is checked byte by byte, the lines before `line_start` whole.
    scanned: usize,
    lines: Lines,
    /// The outcome, once it is final.
    parsed: Option<Parsed>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader for a new connection.
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(MAX_LEN),
            line_start: 0,
            scanned: 0,
            lines: Lines::default(),
            parsed: None,
        }
    }

    /// Takes the next bytes and says what is known so far.
    ///
    /// Bytes behind the head are kept. Pushing after the outcome is final keeps the bytes, changes
    /// nothing else, and is not bounded.
    pub fn push(&mut self, bytes: &[u8]) -> Parsed {
        self.bytes.extend_from_slice(bytes);
        if self.parsed.is_none() {
            self.parsed = match self.scan() {
                Ok(None) => None,
                Ok(Some(parsed)) => Some(parsed),
                Err(malformed) => Some(Parsed::Malformed(malformed)),
            };
        }
        self.parsed.clone().unwrap_or(Parsed::Incomplete)
    }

    /// Everything pushed so far, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything pushed so far, byte for byte.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn scan(&mut self) -> Result<Option<Parsed>, Malformed> {
        let end = self.bytes.len().min(MAX_LEN);
        while self.scanned < end {
            let at = self.scanned;
            let after_carriage_return = at > self.line_start && self.bytes[at - 1] == b'\r';
            check_byte(self.bytes[at], after_carriage_return)?;
            self.scanned += 1;
            if self.bytes[at] == b'\n' {
                let line = &self.bytes[self.line_start..at - 1];
                self.line_start = self.scanned;
                if let Some(head) = self.lines.read(line)? {
                    return Ok(Some(Parsed::Request(head)));
                }
            }
        }
        Ok((end == MAX_LEN).then_some(Parsed::TooLong))
    }
}

/// What the first bytes of a connection are. All but `Incomplete` are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The start of a request head: read on.
    Incomplete,
    /// No HTTP/1 request, or one that could be read in two ways: answer 400 and close.
    Malformed(Malformed),
    /// A complete request head.
    Request(RequestHead),
    /// A request head of more than [`MAX_LEN`] bytes: answer 431 and close.
    TooLong,
}

/// The part of a request head that routing needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method as it was sent; methods are case-sensitive (RFC 9110 section 9.1).
    pub method: String,
    /// Path and query as they were sent, neither decoded nor normalized: only visible ASCII, first
    /// character `/`, or `*` alone for the server as a whole.
    pub target_path: String,
    /// The host that is asked for. `None` when an HTTP/1.0 request names none, and when it is an IP
    /// address or another name that no home can have.
    pub host: Option<Hostname>,
    /// The port in Host or in the target, if there is one.
    pub port: Option<u16>,
}

impl RequestHead {
    /// Whether the path is below one where certificate authorities look (RFC 8555 section 8.3).
    pub fn is_validation(&self) -> bool {
        VALIDATION_PATHS
            .iter()
            .any(|path| self.target_path.starts_with(path))
    }

    /// The request of a certificate authority, written anew: with nothing that its client sent but
    /// the path and the host, as the only one of its connection. `None` when it is another request,
    /// or its path could lead a server elsewhere: behind the well-known part there is one name of
    /// letters, digits, `-`, `_` and `.`.
    pub fn validation_request(&self) -> Option<Vec<u8>> {
        let mut paths = VALIDATION_PATHS.iter();
        let name = paths.find_map(|path| self.target_path.strip_prefix(path))?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = !name.is_empty() && !name.starts_with('.') && name.bytes().all(allowed);
        let host = self.host.as_ref()?;
        if self.method != "GET" || !is_name {
            return None;
        }
        let path = &self.target_path;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        Some(head.into_bytes())
    }
}

/// Why some bytes are no request head that can be routed (RFC 9112 unless said otherwise).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// `CONNECT`, whose target is no path (section 3.2.3).
    #[error("CONNECT is for proxies")]
    AuthorityForm,
    /// A carriage return without a line feed behind it (section 2.2).
    #[error("a carriage return stands alone")]
    BareCarriageReturn,
    /// A line feed without a carriage return before it (section 2.2).
    #[error("a line feed stands alone")]
    BareLineFeed,
    /// A control character other than NUL, for instance because the client speaks TLS.
    #[error("there is the control character 0x{0:02x}")]
    ControlCharacter(u8),
    /// Two Host lines, even if they agree (section 3.2).
    #[error("there are two Host lines")]
    DuplicateHost,
    /// A line that is no field (section 5).
    #[error("a header line has no name and colon at its start")]
    FieldLine,
    /// A Host that is no host and port (section 3.2).
    #[error("the host is no host and port")]
    Host,
    /// The target names another host than Host does (section 3.2.2).
    #[error("the request target and Host name different hosts")]
    HostMismatch,
    /// The start of an HTTP/2 connection (RFC 9113 section 3.4).
    #[error("the client speaks HTTP/2 without TLS")]
    Http2,
    /// An HTTP/1.1 request without Host (section 3.2).
    #[error("there is no Host line")]
    MissingHost,
    /// A NUL.
    #[error("there is a NUL")]
    Nul,
    /// A line that starts with white space, which once continued the line before (section 5.2).
    #[error("a header line is folded")]
    ObsFold,
    /// Not a method, a target and a version with one space between two (section 3).
    #[error("the request line is not \"METHOD target HTTP/1.1\"")]
    RequestLine,
    /// A target that is no path and no `http` URL, or has a character that neither has.
    #[error("the request target is no path and no http URL")]
    Target,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("the version is not HTTP/1.0 or HTTP/1.1")]
    Version,
}

fn check_byte(byte: u8, after_carriage_return: bool) -> Result<(), Malformed> {
    match byte {
        b'\n' if after_carriage_return => Ok(()),
        b'\n' => Err(Malformed::BareLineFeed),
        _ if after_carriage_return => Err(Malformed::BareCarriageReturn),
        0 => Err(Malformed::Nul),
        b'\r' | b'\t' => Ok(()),
        _ if byte.is_ascii_control() => Err(Malformed::ControlCharacter(byte)),
        _ => Ok(()),
    }
}

mod lines;
use lines::Lines;

#[cfg(test)]
mod tests;
