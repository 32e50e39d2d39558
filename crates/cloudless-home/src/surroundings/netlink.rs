//! The kernel's word that links, addresses or routes have changed (rtnetlink(7)).

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and RTMGRP_IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// A socket that the kernel writes to. What it writes does not matter: whoever is told looks
/// whether its own connection is concerned.
pub(super) struct Changes(Option<UnixDatagram>);

impl Changes {
    pub(super) fn listen() -> Self {
        let socket = open();
        if let Err(error) = &socket {
            tracing::info!(
                %error,
                "The system does not tell of changes of the network; pings will notice them later"
            );
        }
        Self(socket.ok())
    }

    /// Waits for a change. A buffer that has overflown is a change too, and is told as an error.
    pub(super) async fn next(&self) {
        match &self.0 {
            Some(socket) => drop(socket.recv(&mut [0; 16]).await),
            None => std::future::pending().await,
        }
    }

    /// Takes what was told by now for told.
    pub(super) fn skip(&mut self) {
        let is_empty = |socket: &UnixDatagram| {
            let received = socket.try_recv(&mut [0; 16]);
            received.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        // A flood of changes must not keep the caller here.
        if let Some(socket) = &self.0 {
            let _ = (0..1000).any(|_| is_empty(socket));
        }
    }
}

fn open() -> io::Result<UnixDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    // Of the types that the runtime can wait for this is the one that receives datagrams and asks
    // for no address; the family does not matter for that.
    UnixDatagram::from_std(StdDatagram::from(socket))
}
