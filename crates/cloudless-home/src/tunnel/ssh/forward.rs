//! Where an SSH server listens for home's visitors.

use std::fmt;
use std::str::FromStr;

/// The longest path that a socket can have on Linux.
const PATH_LEN_MAX: usize = 107;

/// A remote forward (RFC 4254 section 7.1, and OpenSSH's for Unix sockets).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The server listens on a TCP port.
    Tcp {
        /// The address as it is asked for; empty for all of them. What the server makes of it is up
        /// to its GatewayPorts.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// The server makes a Unix socket at this absolute path.
    Unix(String),
}

/// The text is no forward.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no place where an SSH server could listen; expected ADDRESS:PORT, such as \
     `127.0.0.1:8443` or `*:443`, or `unix:/PATH`"
)]
pub struct ForwardParseError(String);

impl Forward {
    /// Whether only programs on the server itself reach it, as far as the request says.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host == "localhost" || host == "127.0.0.1" || host == "::1",
            Self::Unix(_) => true,
        }
    }

    /// The option of a line in `authorized_keys` without which a key that is restricted may not ask
    /// for it; `None` for Unix sockets, which no such option is about.
    pub fn permission(&self) -> Option<String> {
        match self {
            Self::Tcp { host, port } if host.is_empty() => Some(format!("permitlisten=\"{port}\"")),
            Self::Tcp { host, port } if host.contains(':') => {
                Some(format!("permitlisten=\"[{host}]:{port}\""))
            }
            Self::Tcp { host, port } => Some(format!("permitlisten=\"{host}:{port}\"")),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Forward {
    type Err = ForwardParseError;

    fn from_str(text: &str) -> Result<Self, ForwardParseError> {
        let refused = || ForwardParseError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = path.starts_with('/') && path.len() <= PATH_LEN_MAX;
            let is_clean = !path.bytes().any(|byte| byte.is_ascii_control());
            return match is_path && is_clean {
                true => Ok(Self::Unix(path.to_owned())),
                false => Err(refused()),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let port: u16 = port.parse().map_err(|_| refused())?;
        let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let host = match (inner, host) {
            (Some(inner), _) => inner,
            (None, "*") => "",
            (None, host) if host.contains(':') => return Err(refused()),
            (None, host) => host,
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
        if port == 0 || !host.bytes().all(allowed) {
            return Err(refused());
        }
        let host = host.to_owned();
        Ok(Self::Tcp { host, port })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.is_empty() => write!(f, "*:{port}"),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwards_round_trip_and_say_what_permits_them() {
        for (text, permission) in [
            ("127.0.0.1:8443", Some("permitlisten=\"127.0.0.1:8443\"")),
            ("localhost:8443", Some("permitlisten=\"localhost:8443\"")),
            ("*:443", Some("permitlisten=\"443\"")),
            ("[::1]:8443", Some("permitlisten=\"[::1]:8443\"")),
            ("unix:/run/cloudless/contacts.sock", None),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.to_string(), text);
            assert_eq!(forward.permission().as_deref(), permission);
        }
    }

    #[test]
    fn what_is_no_place_to_listen_is_refused() {
        let long = format!("unix:/{}", "a".repeat(PATH_LEN_MAX));
        for text in [
            "8443",
            "localhost",
            "localhost:0",
            "a b:1",
            "::1:8443",
            "unix:relative",
            "unix:/a\nb",
            "a:70000",
            "\"x:1",
            &long,
        ] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }
}
