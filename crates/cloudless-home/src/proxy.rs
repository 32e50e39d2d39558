//! An HTTP proxy, for networks that let nothing else out.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A proxy's whole answer; what it says after the first line does not matter.
const HEAD_MAX: usize = 16 * 1024;

/// Where the proxy is and how home introduces itself: `http://[USER:PASSWORD@]HOST:PORT`. The user
/// and the password may be percent-encoded (RFC 3986 §3.2.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `host:port`, resolved anew for every dial.
    address: String,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

/// The text names no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a proxy as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
pub struct ProxyParseError;

/// Why a proxy did not let home through.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It did not answer as a proxy does.
    #[error("its answer is not that of an HTTP proxy")]
    Answer,
    /// The connection broke.
    #[error("the connection to it broke")]
    Io(#[source] std::io::Error),
    /// It wants to know who asks.
    #[error(
        "it wants a user and password, or others: write proxy = \"http://USER:PASSWORD@HOST:PORT\" \
         to home.toml"
    )]
    Login,
    /// It does not connect to the relay.
    #[error("it refuses to connect to the relay (status {0}); ask who runs it to allow that")]
    Refused(u16),
}

impl Proxy {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks the proxy at the other end of `tcp` for a connection to `target` (RFC 9110 §9.3.6).
    /// Sets no deadline of its own.
    pub(crate) async fn connect(&self, tcp: &mut TcpStream, target: &str) -> Result<(), ProxyError> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        tcp.write_all(request.as_bytes())
            .await
            .map_err(ProxyError::Io)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= HEAD_MAX {
                return Err(ProxyError::Answer);
            }
            // What follows the head belongs to the relay.
            head.push(tcp.read_u8().await.map_err(ProxyError::Io)?);
        }
        match status(&head) {
            Some(200..=299) => Ok(()),
            Some(401 | 407) => Err(ProxyError::Login),
            Some(status) => Err(ProxyError::Refused(status)),
            None => Err(ProxyError::Answer),
        }
    }
}

/// The status of an HTTP/1 response (RFC 9112 §4).
pub(crate) fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let code = rest.get(2..5)?;
    (rest[1] == b' ').then_some(())?;
    std::str::from_utf8(code).ok()?.parse().ok()
}

impl FromStr for Proxy {
    type Err = ProxyParseError;

    fn from_str(text: &str) -> Result<Self, ProxyParseError> {
        let rest = text.strip_prefix("http://").ok_or(ProxyParseError)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, rest),
        };
        let (host, port) = address.rsplit_once(':').ok_or(ProxyParseError)?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) || port.parse::<u16>().is_err() {
            return Err(ProxyParseError);
        }
        let authorization = match login {
            None => None,
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let mut credentials = percent_decoded(user)?;
                credentials.push(b':');
                credentials.extend(percent_decoded(password)?);
                Some(format!("Basic {}", BASE64.encode(&credentials)))
            }
        };
        Ok(Self {
            address: address.to_owned(),
            authorization,
        })
    }
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, ProxyParseError> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(Option::unwrap_or_default);
                let digits = std::str::from_utf8(&digits).map_err(|_| ProxyParseError)?;
                u8::from_str_radix(digits, 16).map_err(|_| ProxyParseError)?
            }
            byte => byte,
        });
    }
    Ok(decoded)
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_and_without_a_login() {
        let proxy: Proxy = "http://proxy.example:3128/".parse().unwrap();
        assert_eq!(proxy.address, "proxy.example:3128");
        assert_eq!(proxy.authorization, None);
        let proxy: Proxy = "http://me:p%40ss%3A@[2001:db8::1]:8080".parse().unwrap();
        assert_eq!(proxy.address, "[2001:db8::1]:8080");
        // "me:p@ss:"
        assert_eq!(proxy.authorization.as_deref(), Some("Basic bWU6cEBzczo="));
        assert!(!format!("{proxy:?}").contains("Basic"));
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for text in [
            "",
            "proxy.example:3128",
            "https://proxy.example:3128",
            "http://proxy.example",
            "http://:3128",
            "http://proxy.example:99999",
            "http://a b:1",
            "http://me:%4@proxy.example:1",
            "http://me:%zz@proxy.example:1",
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(ProxyParseError), "{text}");
        }
    }

    #[test]
    fn only_a_status_line_has_a_status() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for head in [&b""[..], b"HTTP/1.", b"HTTP/1.1 ", b"HTTP/1.1 20", b"SSH-2.0-x 200"] {
            assert_eq!(status(head), None);
        }
    }
}
