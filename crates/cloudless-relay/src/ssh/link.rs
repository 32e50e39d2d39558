//! The way to a home over its SSH connection.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloudless_proto::Hostname;
use cloudless_proto::ssh::{Forward, Port};
use russh::ChannelOpenFailure;
use russh::server::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::channel::Channel;
use super::probe::Probes;
use crate::session::Session;
use crate::status::ProbeStatus;

/// Channels of one connection at a time, those included that have to be closed yet.
const CHANNELS_MAX: usize = 1024;
/// Channels that the relay may close of itself in the life of a connection. `russh` keeps a few
/// kilobytes of each until the connection ends.
const CLOSED_MAX: usize = 16 * 1024;

/// What an SSH client has had forwarded.
pub(crate) struct Link {
    handle: Handle,
    /// Each with the address as the client has written it, by which it knows its forward again.
    forwards: Mutex<BTreeMap<Forward, String>>,
    /// Whether visitors of these names are answered.
    pub(super) probes: Probes,
    n_closed: AtomicUsize,
    /// Those who open and close channels.
    tasks: TaskTracker,
}

impl Link {
    pub(super) fn new(handle: Handle, tasks: TaskTracker) -> Self {
        Self {
            handle,
            forwards: Mutex::default(),
            probes: Probes::default(),
            n_closed: AtomicUsize::new(0),
            tasks,
        }
    }

    /// Returns whether visitors are taken now that were not before.
    pub(super) fn add(&self, forward: Forward, address: &str) -> bool {
        let before = self.lock().insert(forward, address.to_owned());
        self.probes.ask();
        before.is_none()
    }

    pub(super) fn remove(&self, forward: &Forward) -> bool {
        if forward.port == Port::Https {
            self.probes.forget(&forward.hostname);
        }
        self.lock().remove(forward).is_some()
    }

    /// Whether visitors of this name and port can be brought to the home.
    pub(crate) fn has(&self, hostname: &Hostname, port: Port) -> bool {
        self.address_of(hostname, port).is_some()
    }

    /// The names whose visitors can be brought to the home.
    pub(super) fn names(&self) -> Vec<Hostname> {
        let forwards = self.lock();
        let https = forwards.keys().filter(|it| it.port == Port::Https);
        https.map(|it| it.hostname.clone()).collect()
    }

    /// What is known of whether visitors of a name are answered.
    pub(crate) fn probe(&self, hostname: &Hostname) -> Option<ProbeStatus> {
        self.probes.status(hostname)
    }

    fn address_of(&self, hostname: &Hostname, port: Port) -> Option<String> {
        let forward = Forward {
            hostname: hostname.clone(),
            port,
        };
        self.lock().get(&forward).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Forward, String>> {
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a channel that the relay has closed of itself. Returns whether there are too many now.
    pub(super) fn has_closed_too_many(&self) -> bool {
        self.n_closed.fetch_add(1, Ordering::Relaxed) >= CLOSED_MAX
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Opens a channel for a visitor (RFC 4254 section 7.2).
    pub(super) async fn open(
        &self,
        session: &Arc<Session>,
        visitor: SocketAddr,
        hostname: &Hostname,
        port: Port,
    ) -> Result<Channel, NotOpened> {
        let address = self
            .address_of(hostname, port)
            .ok_or(NotOpened::NotForwarded)?;
        let slot = session.slots.acquire(|| CHANNELS_MAX).await;
        let handle = self.handle.clone();
        let session = Arc::clone(session);
        let (opened, open) = oneshot::channel();
        // The visitor may leave before the answer comes, and somebody has to close the channel then:
        // it does so when it is dropped.
        self.tasks.spawn(async move {
            let answer = handle
                .channel_open_forwarded_tcpip(
                    address,
                    port.number().into(),
                    visitor.ip().to_string(),
                    visitor.port().into(),
                )
                .await;
            let answer = match answer {
                Ok(channel) => Ok(Channel::new(channel, slot, session)),
                Err(russh::Error::ChannelOpenFailure(reason)) => Err(NotOpened::Refused(reason)),
                Err(_) => Err(NotOpened::Lost),
            };
            let _ = opened.send(answer);
        });
        open.await.unwrap_or(Err(NotOpened::Lost))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Why there is no channel for a visitor.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// The connection ended.
    Lost,
    /// The client has not had this forwarded.
    NotForwarded,
    /// The client refuses: mostly because nothing listens where it forwards to.
    Refused(ChannelOpenFailure),
}
