//! Binding TCP ports, with errors that say what to do.

use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// As many as most systems allow: after a restart all homes come at once.
const BACKLOG: i32 = 4096;

/// Binds all of `addresses`; `[::]` takes IPv4 too unless the list has an IPv4 address of the same
/// port. `setting` is what to change when a port cannot be had.
pub(crate) fn bind(addresses: &[SocketAddr], setting: &str) -> anyhow::Result<Vec<TcpListener>> {
    let bind = |address: &SocketAddr| {
        let only_v6 = addresses
            .iter()
            .any(|it| it.is_ipv4() && it.port() == address.port());
        bind_one(*address, only_v6).map_err(|error| {
            let failure = failure(&error, *address, setting);
            anyhow::Error::new(error).context(failure)
        })
    };
    addresses.iter().map(bind).collect()
}

/// Where the listeners are bound in fact, port 0 resolved.
pub(crate) fn bound(listeners: &[TcpListener]) -> anyhow::Result<Vec<SocketAddr>> {
    let address = |listener: &TcpListener| listener.local_addr();
    listeners
        .iter()
        .map(address)
        .collect::<io::Result<_>>()
        .context("cannot see what was bound")
}

fn bind_one(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let (socket, address) = match Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    ) {
        // A kernel without IPv6 can still serve everybody it knows.
        Err(error) if is_without_ipv6(&error) && address.ip().is_unspecified() => {
            let address = SocketAddr::from(([0, 0, 0, 0], address.port()));
            (
                Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?,
                address,
            )
        }
        socket => (socket?, address),
    };
    if address.is_ipv6() {
        socket.set_only_v6(only_v6 || !address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_without_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// What failed, and what to do about it.
fn failure(error: &io::Error, address: SocketAddr, setting: &str) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program has the port, `ss -ltnp` shows which",
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has the address",
        io::ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        _ => "the system refuses it",
    };
    format!("cannot listen on {address}: {advice}; {setting} chooses another")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_means_ipv4_too() {
        let listeners = bind(&["[::]:0".parse().unwrap()], "").unwrap();
        let port = bound(&listeners).unwrap()[0].port();
        let (accepted, connected) = tokio::join!(
            listeners[0].accept(),
            tokio::net::TcpStream::connect(("127.0.0.1", port))
        );
        accepted.unwrap();
        connected.unwrap();
    }

    #[tokio::test]
    async fn both_families_can_be_named() {
        let first = bind(&["127.0.0.1:0".parse().unwrap()], "").unwrap();
        let port = bound(&first).unwrap()[0].port();
        drop(first);
        let both = [
            SocketAddr::from(([0, 0, 0, 0], port)),
            format!("[::]:{port}").parse().unwrap(),
        ];
        if let Ok(listeners) = bind(&both, "") {
            assert_eq!(listeners.len(), 2);
        } else {
            // Somebody else took the port in between; that is an error with advice.
            let error = bind(&both, "`listen`").unwrap_err();
            assert!(error.to_string().contains("`listen`"));
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_told_with_advice() {
        let first = bind(&["127.0.0.1:0".parse().unwrap()], "").unwrap();
        let taken = bound(&first).unwrap();
        let error = bind(&taken, "`local` in home.toml").unwrap_err();
        assert!(
            error.to_string().contains("`local` in home.toml"),
            "{error}"
        );
    }
}
