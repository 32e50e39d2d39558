//! Whether a connection still takes the way that the system would choose now.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

impl Path {
    /// Whether a connection begun now would come from the same address. If not, this machine has
    /// moved to another network, or has a better one now. Sends nothing.
    pub(crate) fn is_current(&self) -> bool {
        self.source().is_ok_and(|source| source == self.local.ip())
    }

    fn source(&self) -> io::Result<IpAddr> {
        let any: IpAddr = if self.remote.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0))?;
        // For UDP this chooses a route and an address, no more.
        socket.connect(self.remote)?;
        Ok(socket.local_addr()?.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_on_loopback_is_current_and_one_from_an_address_of_others_is_not() {
        for (here, elsewhere) in [
            ("127.0.0.1:1", "192.0.2.1:1"),
            ("[::1]:1", "[2001:db8::1]:1"),
        ] {
            let remote = here.parse().unwrap();
            let path = |local: &str| Path {
                local: local.parse().unwrap(),
                remote,
            };
            assert!(path(here).is_current());
            assert!(!path(elsewhere).is_current());
        }
    }
}
