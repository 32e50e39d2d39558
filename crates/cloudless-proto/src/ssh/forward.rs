use std::fmt;

use crate::{Hostname, InvalidHostname};

/// What a home may have forwarded: one port of one of its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forward {
    /// The name that visitors ask for.
    pub hostname: Hostname,
    /// The port that they mean.
    pub port: Port,
}

/// A port that visitors mean, whatever ports the relay listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// 80, of which a home gets what proves its name to a certificate authority.
    Http,
    /// 443.
    Https,
}

impl Port {
    /// Its number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Forward {
    /// Reads what a `tcpip-forward` request asks for (RFC 4254 section 7.1). The address to bind is
    /// taken for the name to publish.
    ///
    /// # Errors
    /// When it is no name, or another port.
    pub fn read(address: &str, port: u32) -> Result<Self, NotForwarded> {
        // What clients send for all addresses.
        if ["", "*"].contains(&address) {
            return Err(NotForwarded::NoName(port));
        }
        let hostname = Hostname::from_bytes(address.as_bytes()).map_err(NotForwarded::Name)?;
        let port = match port {
            80 => Port::Http,
            443 => Port::Https,
            _ => return Err(NotForwarded::Port(port)),
        };
        Ok(Self { hostname, port })
    }

    /// Why this is refused to whoever has not got the name.
    pub fn not_yours(&self) -> NotForwarded {
        // What clients send when no address is given.
        if self.hostname.as_str() == "localhost" {
            NotForwarded::NoName(self.port.number().into())
        } else {
            NotForwarded::NotYours(self.hostname.clone())
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.hostname, self.port.number())
    }
}

/// Why a request is refused, in words for whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotForwarded {
    /// Something that is no hostname.
    #[error("-R needs one of your names before the port, such as -R HOST:443:localhost:443")]
    Name(#[source] InvalidHostname),
    /// No name at all.
    #[error("say which name: -R HOST:{0}:localhost:{0}")]
    NoName(u32),
    /// A name that the client has not got.
    #[error("{0} is no name of this key: on the relay run `cloudless relay allow-ssh`")]
    NotYours(Hostname),
    /// Another port.
    #[error("only the ports 443 and 80 of a name are forwarded, not {0}")]
    Port(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_port() {
        let forward = Forward::read("Home.Example.", 443).unwrap();
        assert_eq!(forward.to_string(), "home.example:443");
        let forward = Forward::read("home.example", 80).unwrap();
        assert_eq!(forward.port, Port::Http);
    }

    #[test]
    fn everything_else_is_refused() {
        for address in ["", "*"] {
            assert_eq!(Forward::read(address, 443), Err(NotForwarded::NoName(443)));
        }
        let nameless = Forward::read("localhost", 80).unwrap();
        assert_eq!(nameless.not_yours(), NotForwarded::NoName(80));
        let other = Forward::read("other.example", 443).unwrap().not_yours();
        assert!(
            other
                .to_string()
                .starts_with("other.example is no name of this key")
        );
        for address in [
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "a_b.example",
            "home example",
            "\0",
            "ü.example",
        ] {
            let refused = Forward::read(address, 443);
            assert!(matches!(refused, Err(NotForwarded::Name(_))), "{address}");
        }
        for port in [0, 22, 81, 8443, 65_536 + 443, u32::MAX] {
            let refused = Forward::read("home.example", port);
            assert_eq!(refused, Err(NotForwarded::Port(port)));
        }
    }
}
