//! Accepts connections, within limits and without ever waiting for a client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::limits::SourcePermit;
use crate::run::Relay;
use crate::{port80, socket, visitor};

const BACKOFF: Duration = Duration::from_millis(250);

/// What the connections of a listener speak.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Http,
    Tls,
}

/// An accepted connection and its share of the limits, which it holds while it lives.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) permits: Permits,
}

/// One connection's share of the limits.
#[derive(Debug)]
pub(crate) struct Permits {
    _source: SourcePermit,
    /// Given back as soon as the connection has said what it wants.
    handshake: Option<OwnedSemaphorePermit>,
    /// The drain at shutdown waits for it.
    visiting: Option<TaskTrackerToken>,
}

impl Permits {
    /// The connection has said what it wants: another one may start to.
    pub(crate) fn classified(&mut self) {
        self.handshake = None;
    }

    /// The connection is a home's tunnel: a drain waits for its visitors, not for it.
    pub(crate) fn tunnel(&mut self) {
        self.classified();
        self.visiting = None;
    }
}

/// Accepts until the relay drains.
pub(crate) async fn serve(relay: Arc<Relay>, listener: TcpListener, protocol: Protocol) {
    let handshakes = Arc::new(Semaphore::new(relay.config.limits.handshakes));
    loop {
        let accept = async {
            // The permit comes first: what the relay cannot serve waits in the kernel's queue.
            let permit = Arc::clone(&handshakes).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = relay.draining.cancelled() => return,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&relay, stream, peer, permit.ok(), protocol),
            Err(error) => accept_backoff(&error).await,
        }
    }
}

fn admit(
    relay: &Arc<Relay>,
    stream: TcpStream,
    peer: SocketAddr,
    handshake: Option<OwnedSemaphorePermit>,
    protocol: Protocol,
) {
    let Some(source) = relay.sources.admit(peer.ip()) else {
        relay.counters.count("source_limit");
        return;
    };
    if let Err(error) = socket::configure(&stream) {
        tracing::debug!(%error, "A connection was gone before it was served");
        return;
    }
    let connection = Connection {
        stream,
        peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        permits: Permits {
            _source: source,
            handshake,
            visiting: Some(relay.visiting.token()),
        },
    };
    let relay = Arc::clone(relay);
    let connections = relay.connections.clone();
    connections.spawn(async move {
        let serve = async {
            match protocol {
                Protocol::Http => port80::serve(&relay, connection).await,
                Protocol::Tls => visitor::serve(&relay, connection).await,
            }
        };
        tokio::select! {
            () = relay.stopped.cancelled() => {}
            () = serve => {}
        }
    });
}

/// Waits after a failed accept, unless only that one connection failed.
pub(crate) async fn accept_backoff(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    match error.kind() {
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => {}
        _ => {
            tracing::warn!(%error, "Cannot accept connections, trying again");
            tokio::time::sleep(BACKOFF).await;
        }
    }
}
