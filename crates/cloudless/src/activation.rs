//! Sockets that systemd holds for this process, so that no connection attempt is lost while it is
//! started anew (sd_listen_fds(3)).

use std::env;
use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use tokio::net::TcpListener;

/// Nothing else is ever expected there.
const HTTP_PORT: u16 = 80;

/// The listeners that were handed over, by what they are for.
#[derive(Debug)]
pub(crate) struct Activated {
    pub(crate) https: Vec<TcpListener>,
    pub(crate) http: Vec<TcpListener>,
    pub(crate) ssh: Vec<TcpListener>,
}

/// Takes the sockets that were handed over; `None` when there are none, and the role binds its own.
///
/// A socket is for plain HTTP when `FileDescriptorName=` calls it `http`, or its port is 80 or one of
/// `http_ports`; for SSH when it is called `ssh`, or its port is one of `ssh_ports`; and for visitors and
/// homes otherwise. Must be called inside the runtime.
///
/// # Errors
/// When something else than a TCP listener was handed over, or none for visitors.
pub(crate) fn take(http_ports: &[u16], ssh_ports: &[u16]) -> anyhow::Result<Option<Activated>> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = ListenFd::from_env();
    if sockets.len() == 0 {
        return Ok(None);
    }
    let mut activated = Activated {
        https: Vec::new(),
        http: Vec::new(),
        ssh: Vec::new(),
    };
    for index in 0..sockets.len() {
        let listener = sockets.take_tcp_listener(index).ok().flatten();
        let listener = listener.with_context(|| {
            format!("socket {index} from systemd is no TCP listener; see ListenStream= in its .socket unit")
        })?;
        listener
            .set_nonblocking(true)
            .context("cannot use a socket from systemd")?;
        let listener =
            TcpListener::from_std(listener).context("cannot use a socket from systemd")?;
        let port = listener.local_addr().map(|address| address.port());
        let is_in = |ports: &[u16]| port.as_ref().is_ok_and(|port| ports.contains(port));
        let listeners = match names.next() {
            Some("http") => &mut activated.http,
            Some("https") => &mut activated.https,
            Some("ssh") => &mut activated.ssh,
            _ if is_in(ssh_ports) => &mut activated.ssh,
            _ if is_in(&[HTTP_PORT]) || is_in(http_ports) => &mut activated.http,
            _ => &mut activated.https,
        };
        listeners.push(listener);
    }
    if activated.https.is_empty() {
        bail!(
            "systemd handed over no socket for visitors; add a ListenStream= for visitors and \
             homes, port 443"
        );
    }
    Ok(Some(activated))
}

/// The ports in a list of addresses.
pub(crate) fn ports(addresses: &[SocketAddr]) -> Vec<u16> {
    addresses.iter().map(SocketAddr::port).collect()
}
