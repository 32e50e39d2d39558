//! The connections for which the server may keep home's place although home has given them up.
//!
//! Home knows of a dead session long before the server does. Once the path is whole again, what either
//! side had to say on the old connection waits until TCP tries it anew, up to two minutes later. A reset
//! leaves at once.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::connect_unspec;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Connections that are kept for nothing but a reset.
const OVER_MAX: usize = 4;
/// The system keeps the connection of a session in doubt for so long: one that it has closed cannot be
/// reset.
#[cfg(target_os = "linux")]
const DOUBT_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// By the numbers of their sessions.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<BTreeMap<u64, Holder>>);

#[derive(Debug)]
struct Holder {
    /// Another handle on the session's connection.
    socket: OwnedFd,
    /// Whether home has no use for it any more.
    is_over: bool,
}

impl Holder {
    /// Whoever else has a handle on it finds it closed.
    fn reset(self) {
        // That fails for a connection that is closed already.
        let _ = connect_unspec(&self.socket);
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }
}

/// Another handle on a connection; `None` when the system has no more.
pub(super) fn handle(tcp: &TcpStream) -> Option<OwnedFd> {
    tcp.as_fd().try_clone_to_owned().ok()
}

impl Holders {
    /// The server listens for this session.
    pub(super) fn add(&self, number: u64, socket: OwnedFd) {
        let holder = Holder {
            socket,
            is_over: false,
        };
        self.lock().insert(number, holder);
    }

    /// The server does so no more.
    pub(super) fn remove(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// The session may be dead.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(unused_variables, reason = "other systems have no such option")
    )]
    pub(super) fn doubt(&self, number: u64) {
        #[cfg(target_os = "linux")]
        if let Some(holder) = self.lock().get(&number) {
            let socket = SockRef::from(&holder.socket);
            if let Err(error) = socket.set_tcp_user_timeout(Some(DOUBT_TIMEOUT)) {
                tracing::debug!(%error, "The connection of a session in doubt may end early");
            }
        }
    }

    /// Home has no use for the session any more, and the server may not know.
    pub(super) fn over(&self, number: u64) {
        let mut holders = self.lock();
        if let Some(holder) = holders.get_mut(&number) {
            holder.is_over = true;
        }
        let n_too_many = holders.values().filter(|holder| holder.is_over).count();
        let n_too_many = n_too_many.saturating_sub(OVER_MAX);
        let oldest = holders.extract_if(.., |_, holder| holder.is_over);
        oldest.take(n_too_many).for_each(drop);
    }

    /// The server can be reached, and is told of all that are over.
    pub(super) fn reset_over(&self) {
        let mut holders = self.lock();
        let over = holders.extract_if(.., |_, holder| holder.is_over);
        over.for_each(|(_, holder)| holder.reset());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn only_what_is_over_is_reset_whoever_else_has_it() {
        let holders = Holders::default();
        let (mut kept, mut server_of_kept) = connection().await;
        let (mut dead, mut server_of_dead) = connection().await;
        holders.add(1, handle(&dead).unwrap());
        holders.add(2, handle(&kept).unwrap());
        holders.doubt(1);
        holders.over(1);
        // The server hears nothing of it before.
        let mut buffer = [0; 1];
        assert!(server_of_dead.try_read(&mut buffer).is_err());
        holders.reset_over();
        let ended = server_of_dead.read(&mut buffer).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
        assert!(!matches!(dead.read(&mut buffer).await, Ok(1..)));

        holders.remove(2);
        holders.over(2);
        holders.reset_over();
        tokio::io::AsyncWriteExt::write_all(&mut server_of_kept, b"x")
            .await
            .unwrap();
        assert_eq!(kept.read(&mut buffer).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn few_are_kept_and_those_are_the_newest() {
        let holders = Holders::default();
        let mut servers = Vec::new();
        for number in 0..=OVER_MAX as u64 {
            let (client, server) = connection().await;
            holders.add(number, handle(&client).unwrap());
            holders.over(number);
            servers.push(server);
        }
        let mut buffer = [0; 1];
        // Closed as it comes, with its last handle.
        assert_eq!(servers[0].read(&mut buffer).await.unwrap(), 0);
        assert_eq!(holders.lock().len(), OVER_MAX);
    }
}
