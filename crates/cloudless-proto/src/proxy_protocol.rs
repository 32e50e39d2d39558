//! The PROXY protocol, versions 1 and 2: the line or block that a load balancer puts before a
//! connection's bytes, to say who its client is.
//!
//! Whoever connects can write one, so it is parsed only on connections from a load balancer that
//! the configuration names, and required there.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How many bytes a header may take. The longest of version 1 is 107 bytes long; one of version 2
/// also holds what the load balancer adds, such as the client's certificate.
pub const MAX_LEN: usize = 4096;

/// How a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A line of text.
    V1,
    /// A block of bytes.
    V2,
}

/// Both ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// What the first bytes of a connection are. All but `Incomplete` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A complete header; the client's bytes follow behind it.
    Header {
        /// How many bytes it takes.
        len: usize,
        /// The client's connection. `None` when the header names none: the load balancer speaks
        /// for itself, as for a health check, or does not know.
        addresses: Option<Addresses>,
    },
    /// The start of a header: read on.
    Incomplete {
        /// So many bytes belong to it yet, or more: who reads no more than these reads none of the
        /// client's.
        missing: usize,
    },
    /// No header: close the connection.
    Malformed(Malformed),
}

/// Why some bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not two addresses of the family that is named.
    #[error("the header's addresses are wrong")]
    Addresses,
    /// Neither LOCAL nor PROXY.
    #[error("the header has the unknown command {0}")]
    Command(u8),
    /// The checksum does not match.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// An address family or a transport that does not exist.
    #[error("the header has the unknown address family and transport 0x{0:02x}")]
    Family(u8),
    /// The line of version 1 is none.
    #[error("the header is not \"PROXY TCP4 source destination port port\"")]
    Line,
    /// The connection starts with something else.
    #[error("the connection does not start with a PROXY protocol header")]
    Signature,
    /// More than [`MAX_LEN`] bytes, or a line of more than 107.
    #[error("the header is too long")]
    TooLong,
    /// What follows the addresses of version 2 does not fit into the header.
    #[error("an additional value ends outside of the header")]
    Value,
    /// Another version.
    #[error("the header has the unknown version {0}")]
    Version(u8),
}

/// Reads the header at the start of `bytes`, all that a connection has sent so far. Call it again
/// with more of them while it is incomplete.
pub fn parse(bytes: &[u8]) -> Parsed {
    let starts = |signature: &[u8]| {
        let len = signature.len().min(bytes.len());
        bytes[..len] == signature[..len]
    };
    // Without a byte it may be either: version 1 has the shorter header.
    let parsed = if starts(v1::SIGNATURE) {
        v1::parse(bytes)
    } else if starts(v2::SIGNATURE) {
        v2::parse(bytes)
    } else {
        Err(Malformed::Signature.into())
    };
    match parsed {
        Ok((len, addresses)) => Parsed::Header { len, addresses },
        Err(NotYet::Missing(missing)) => Parsed::Incomplete { missing },
        Err(NotYet::Malformed(malformed)) => Parsed::Malformed(malformed),
    }
}

/// The header for a client's connection. Without addresses it says that they are unknown.
pub fn encode(version: Version, addresses: Option<Addresses>) -> Vec<u8> {
    let addresses = addresses.map(Addresses::of_one_family);
    match version {
        Version::V1 => v1::encode(addresses),
        Version::V2 => v2::encode(addresses),
    }
}

impl Addresses {
    /// A header has one family for both: IPv4 if both are, else IPv6 with the other one mapped.
    fn of_one_family(self) -> Self {
        let source = self.source.ip().to_canonical();
        let destination = self.destination.ip().to_canonical();
        let both = match (source, destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                [source, destination]
            }
            _ => [source, destination].map(mapped),
        };
        Self {
            source: SocketAddr::new(both[0], self.source.port()),
            destination: SocketAddr::new(both[1], self.destination.port()),
        }
    }
}

fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}

/// The length of a header and what it says.
type Header = (usize, Option<Addresses>);

/// Why there is no header.
enum NotYet {
    Malformed(Malformed),
    /// At least so many bytes.
    Missing(usize),
}

impl From<Malformed> for NotYet {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

mod v1;
mod v2;

#[cfg(test)]
mod tests;
