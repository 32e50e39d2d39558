//! Accepts connections, within limits and without ever waiting for a client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::crowd::{Crowd, Place};
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
    /// Given back as soon as the connection has said what it wants, a tunnel when it may.
    undecided: Option<Place>,
    /// The drain at shutdown waits for it.
    visiting: Option<TaskTrackerToken>,
}

impl Permits {
    /// It is clear what the connection is, and that it may stay.
    pub(crate) fn decided(&mut self) {
        self.undecided = None;
    }

    /// The connection is a home's tunnel: a drain waits for its visitors, not for it.
    pub(crate) fn tunnel(&mut self) {
        self.visiting = None;
    }
}

/// Accepts until the relay drains.
pub(crate) async fn serve(relay: Arc<Relay>, listener: TcpListener, protocol: Protocol) {
    let undecided = Arc::new(Crowd::default());
    loop {
        let accepted = tokio::select! {
            () = relay.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&relay, stream, peer, &undecided, protocol),
            Err(error) => accept_backoff(&error).await,
        }
    }
}

fn admit(
    relay: &Arc<Relay>,
    stream: TcpStream,
    peer: SocketAddr,
    undecided: &Arc<Crowd>,
    protocol: Protocol,
) {
    let config = relay.config();
    let per_source_max = config.limits.connections_per_source;
    let Some(source) = relay.sources.admit(peer.ip(), per_source_max) else {
        relay.counters.count("source_limit");
        return;
    };
    if let Err(error) = socket::configure(&stream) {
        tracing::debug!(%error, "A connection was gone before it was served");
        return;
    }
    let undecided = undecided.admit(peer.ip(), config.limits.handshakes);
    let shed = undecided.shed();
    let connection = Connection {
        stream,
        peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        permits: Permits {
            _source: source,
            undecided: Some(undecided),
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
            () = shed.cancelled() => relay.counters.count("handshake_limit"),
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
