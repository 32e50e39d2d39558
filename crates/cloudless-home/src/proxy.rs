//! An HTTP proxy, for networks that let nothing else out.

mod exceptions;

use std::io;

use cloudless_proto::Redacted;
use cloudless_proto::response_head::{self, NotHttp};
use data_encoding::BASE64;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use self::exceptions::Exceptions;

/// Where the proxy is, how home introduces itself to it, and for whom it is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// `host:port`, resolved anew for every dial.
    address: String,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Redacted<String>>,
    exceptions: Exceptions,
}

/// The text names no proxy that home can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an HTTP proxy as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
pub struct ProxyParseError;

/// Why a proxy did not let home through.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It did not answer as a proxy does.
    #[error("its answer is not that of an HTTP proxy")]
    Answer,
    /// No TCP connection to it.
    #[error("cannot connect to it; is it running, and is this machine in its network?")]
    Connect(#[source] io::Error),
    /// TLS does not get through to the relay unopened.
    #[error(
        "it intercepts TLS, or leads to another server: a certificate of \"{issuer}\" is shown in the \
         relay's place; nothing was sent: ask whoever runs it for an exception for the relay's address"
    )]
    Intercepts {
        /// Who issued the certificate, in its own words.
        issuer: String,
    },
    /// The connection broke.
    #[error("the connection to it broke")]
    Io(#[source] io::Error),
    /// It wants to know who asks, or knows and says no.
    #[error(
        "it wants a user and a password, or others than it got: \
         HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    )]
    Login,
    /// It does not connect to the relay.
    #[error(
        "it does not connect to the relay (status {0}); if that lasts, ask whoever runs it to allow \
         CONNECT to the relay's address and port"
    )]
    Refused(u16),
}

impl Proxy {
    /// Reads `HTTPS_PROXY` and `NO_PROXY` as other programs do: `[http://][USER:PASSWORD@]HOST:PORT`,
    /// user and password percent-encoded where needed (RFC 3986 §3.2.1), and a list, with commas, of
    /// hosts, domains (`example.org` and `.example.org` are the same, with all below), addresses and
    /// networks (`10.0.0.0/8`) that are reached without the proxy; `*` for all. What is on this very
    /// machine is never reached through it.
    ///
    /// # Errors
    /// [`ProxyParseError`], which does not repeat the text. What in `exceptions` is none of these
    /// excepts nothing.
    pub fn new(url: &str, exceptions: &str) -> Result<Self, ProxyParseError> {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, rest),
        };
        let (host, port) = address.rsplit_once(':').ok_or(ProxyParseError)?;
        // Only an IPv6 address has colons: what else has them may hold a password.
        let (host, others) = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            Some(ipv6) => (ipv6, &b":."[..]),
            None => (host, &b"-._"[..]),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) || port.parse::<u16>().is_err() {
            return Err(ProxyParseError);
        }
        let authorization = match login {
            None => None,
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let mut credentials = Zeroizing::new(percent_decoded(user)?);
                credentials.push(b':');
                credentials.extend(percent_decoded(password)?);
                let login = format!("Basic {}", BASE64.encode(&credentials));
                Some(Redacted::new(login))
            }
        };
        Ok(Self {
            address: address.to_owned(),
            authorization,
            exceptions: Exceptions::new(exceptions),
        })
    }

    /// Whether what is at `host:port` is reached through the proxy.
    pub(crate) fn is_for(&self, address: &str) -> bool {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        !self.exceptions.contain(host)
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks the proxy at the other end of `tcp` for a connection to `target`, a `host:port` that it
    /// resolves (RFC 9110 §9.3.6). Sets no deadline of its own.
    pub(crate) async fn connect(
        &self,
        tcp: &mut TcpStream,
        target: &str,
    ) -> Result<(), ProxyError> {
        let login = Zeroizing::new(match &self.authorization {
            Some(login) => format!("Proxy-Authorization: {}\r\n", login.expose()),
            None => String::new(),
        });
        let request = format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n",
            *login
        );
        let request = Zeroizing::new(request);
        tcp.write_all(request.as_bytes())
            .await
            .map_err(ProxyError::Io)?;
        let mut head = response_head::Reader::default();
        let status = loop {
            // What follows the head belongs to the relay.
            let byte = tcp.read_u8().await.map_err(ProxyError::Io)?;
            match head.push(byte) {
                Ok(None) => {}
                Ok(Some(status)) => break status,
                Err(NotHttp) => return Err(ProxyError::Answer),
            }
        };
        match status {
            200..=299 => Ok(()),
            401 | 407 => Err(ProxyError::Login),
            status => Err(ProxyError::Refused(status)),
        }
    }
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, ProxyParseError> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || {
                    let digit = char::from(bytes.next()?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                let (high, low) = (digit(), digit());
                let (high, low) = high.zip(low).ok_or(ProxyParseError)?;
                high << 4 | low
            }
            byte => byte,
        });
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests;
