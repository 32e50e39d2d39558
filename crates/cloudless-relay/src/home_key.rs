use std::fmt;
use std::str::FromStr;

use cloudless_proto::PublicKey;
use cloudless_proto::ssh::{AuthorizedKey, Fingerprint};
use serde::{Deserialize, Serialize};

/// The key that proves who a home is, by the way it reaches the relay.
///
/// As text it is that of a [`PublicKey`] or of a [`Fingerprint`]; a whole line of `authorized_keys` is
/// read as the fingerprint of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HomeKey {
    /// Of a `cloudless home`, which dials the relay's tunnel.
    Tunnel(PublicKey),
    /// Of an SSH client.
    Ssh(Fingerprint),
}

impl HomeKey {
    /// The key of a tunnel.
    pub fn of_tunnel(self) -> Option<PublicKey> {
        match self {
            Self::Tunnel(key) => Some(key),
            Self::Ssh(_) => None,
        }
    }

    /// Whether its home is an SSH client.
    pub fn is_ssh(self) -> bool {
        matches!(self, Self::Ssh(_))
    }
}

impl From<PublicKey> for HomeKey {
    fn from(key: PublicKey) -> Self {
        Self::Tunnel(key)
    }
}

impl fmt::Display for HomeKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tunnel(key) => key.fmt(formatter),
            Self::Ssh(fingerprint) => fingerprint.fmt(formatter),
        }
    }
}

impl FromStr for HomeKey {
    type Err = InvalidHomeKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(key) = text.parse() {
            return Ok(Self::Tunnel(key));
        }
        let fingerprint = text.parse::<Fingerprint>();
        let read = fingerprint.or_else(|_| text.parse().map(|key: AuthorizedKey| key.fingerprint));
        read.map(Self::Ssh).map_err(|_| InvalidHomeKey)
    }
}

impl TryFrom<String> for HomeKey {
    type Error = InvalidHomeKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HomeKey> for String {
    fn from(key: HomeKey) -> Self {
        key.to_string()
    }
}

/// The text is no [`HomeKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a home's key is \"ed25519:\" and 43 characters, or of an SSH client \"SHA256:\" and 43 characters, \
     or its whole line such as \"ssh-ed25519 AAAA…\""
)]
pub struct InvalidHomeKey;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_back() {
        for key in [
            HomeKey::Tunnel(PublicKey([7; 32])),
            HomeKey::Ssh(Fingerprint([7; 32])),
        ] {
            assert_eq!(key.to_string().parse(), Ok(key));
            let json = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<HomeKey>(&json).unwrap(), key);
        }
        let line =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH x";
        let key: HomeKey = line.parse().unwrap();
        assert!(key.is_ssh());
        assert_eq!("ssh-rsa AAAA".parse::<HomeKey>(), Err(InvalidHomeKey));
    }
}
