//! Where a server on this side of the relay or of home listens.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

const UNIX_SCHEME: &str = "unix:";

/// The address of a server that connections are passed to: a socket address, or a unix socket
/// written `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UpstreamAddress {
    /// TCP, at this address.
    Tcp(SocketAddr),
    /// A unix stream socket, at this absolute path.
    Unix(PathBuf),
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "{UNIX_SCHEME}{}", path.display()),
        }
    }
}

impl FromStr for UpstreamAddress {
    type Err = InvalidUpstreamAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidUpstreamAddress(text.to_owned());
        match text.strip_prefix(UNIX_SCHEME) {
            Some(path) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(invalid()),
            None => match text.parse::<SocketAddr>() {
                Ok(address) if address.port() != 0 => Ok(Self::Tcp(address)),
                _ => Err(invalid()),
            },
        }
    }
}

impl TryFrom<String> for UpstreamAddress {
    type Error = InvalidUpstreamAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<UpstreamAddress> for String {
    fn from(address: UpstreamAddress) -> Self {
        address.to_string()
    }
}

impl From<SocketAddr> for UpstreamAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// The text is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the address of a server; expected an IP address and a port, such as \
     \"127.0.0.1:8443\" or \"[::1]:8443\", or a unix socket, such as \"unix:/run/web.sock\""
)]
pub struct InvalidUpstreamAddress(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["127.0.0.1:443", "[2001:db8::1]:8443", "unix:/run/web.sock"] {
            let address: UpstreamAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused() {
        for text in [
            "",
            "443",
            "127.0.0.1",
            "127.0.0.1:0",
            "localhost:443",
            "::1:443",
            "unix:",
            "unix:relative.sock",
            "unix:/a\0b",
            "/run/web.sock",
        ] {
            assert!(text.parse::<UpstreamAddress>().is_err(), "{text:?}");
        }
    }
}
