//! Accepts connections, within limits and without ever waiting for a client.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::crowd::{Crowd, Place};
use crate::limits::SourcePermit;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::{load_balancer, port80, ssh, visitor};

const BACKOFF: Duration = Duration::from_millis(250);
/// Connections that are accepted before the first of them was looked at. The others wait in the
/// system: a flood is accepted faster than read, and would push out who has said all that it had to.
const UNSEEN_MAX: usize = 64;

/// What the connections of a listener speak.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Http,
    Ssh,
    Tls,
}

/// An accepted connection and its share of the limits, which it holds while it lives.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// The client, as a load balancer before the relay tells if there is one.
    pub(crate) peer: SocketAddr,
    /// Where the client connected to, if a load balancer told it.
    pub(crate) destination: Option<SocketAddr>,
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

    /// The connection has said a part of what it wants, and competes with others that have.
    pub(crate) fn competes_as(&mut self, place: Place) {
        self.undecided = Some(place);
    }

    /// The connection is a home's tunnel: a drain waits for its visitors, not for it.
    pub(crate) fn tunnel(&mut self) {
        self.visiting = None;
    }
}

/// Accepts until the relay drains.
pub(crate) async fn serve(relay: Arc<Relay>, listener: TcpListener, protocol: Protocol) {
    let undecided = Arc::new(Crowd::default());
    let unseen_max = UNSEEN_MAX.min(relay.config().limits.handshakes / 2).max(1);
    let unseen = Arc::new(Semaphore::new(unseen_max));
    // A drain waits until what was accepted last is among the connections that it waits for.
    let _accepting = relay.visiting.token();
    loop {
        let accept = async {
            // The semaphore is never closed.
            let unseen = Arc::clone(&unseen).acquire_owned().await.ok();
            (listener.accept().await, unseen)
        };
        let accepted = tokio::select! {
            () = relay.draining.cancelled() => return,
            accepted = accept => accepted,
        };
        match accepted {
            (Ok((stream, peer)), unseen) => {
                admit(&relay, stream, peer, &undecided, protocol, unseen);
            }
            (Err(error), _) => accept_backoff(&error).await,
        }
    }
}

fn admit(
    relay: &Arc<Relay>,
    stream: TcpStream,
    peer: SocketAddr,
    undecided: &Arc<Crowd>,
    protocol: Protocol,
    unseen: Option<OwnedSemaphorePermit>,
) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let client = Client {
        stream,
        peer,
        destination: None,
    };
    if relay.config().is_load_balancer(peer.ip()) {
        // Whoever is behind it has said more than it could wait for.
        drop(unseen);
        let (relay, undecided) = (Arc::clone(relay), Arc::clone(undecided));
        let connections = relay.connections.clone();
        let accepting = relay.visiting.token();
        connections.spawn(async move {
            let client = behind_load_balancer(&relay, client, &undecided).await;
            let serve = client.and_then(|it| serve_client(&relay, it, &undecided, protocol, None));
            drop(accepting);
            if let Some(serve) = serve {
                serve.await;
            }
        });
    } else if let Some(serve) = serve_client(relay, client, undecided, protocol, unseen) {
        relay.connections.spawn(serve);
    }
}

/// Who connected.
struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    destination: Option<SocketAddr>,
}

/// Learns who connected to the load balancer that connected to the relay.
async fn behind_load_balancer(
    relay: &Relay,
    mut client: Client,
    undecided: &Arc<Crowd>,
) -> Option<Client> {
    let config = relay.config();
    let place = undecided.admit(client.peer.ip(), config.limits.handshakes);
    let shed = place.shed();
    let header = relay.in_time(
        config.timings.client_hello,
        load_balancer::read_header(&mut client.stream),
    );
    let outcome = tokio::select! {
        () = relay.stopped.cancelled() => return None,
        () = shed.cancelled() => Outcome::HandshakeLimit,
        header = header => match header {
            Ok(Ok(None)) => return Some(client),
            Ok(Ok(Some(addresses))) => {
                client.peer = addresses.source;
                client.destination = Some(addresses.destination);
                return Some(client);
            }
            Ok(Err(error)) => {
                tracing::debug!(?error, "A load balancer's connection is closed");
                Outcome::ProxyProtocolMissing
            }
            Err(_) => Outcome::ProxyProtocolTimeout,
        },
    };
    relay.counters.count(outcome);
    None
}

/// Serves a connection to its end; `None` when it is not taken.
fn serve_client(
    relay: &Arc<Relay>,
    client: Client,
    undecided: &Arc<Crowd>,
    protocol: Protocol,
    unseen: Option<OwnedSemaphorePermit>,
) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
    let Client {
        stream,
        peer,
        destination,
    } = client;
    let config = relay.config();
    let per_source_max = config.limits.connections_per_source;
    let Some(source) = relay.sources.admit(peer.ip(), per_source_max) else {
        relay.counters.count(Outcome::SourceLimit);
        return None;
    };
    let undecided = undecided.admit(peer.ip(), config.limits.handshakes);
    let shed = undecided.shed();
    let connection = Connection {
        stream,
        peer,
        destination,
        permits: Permits {
            _source: source,
            undecided: Some(undecided),
            visiting: Some(relay.visiting.token()),
        },
    };
    let relay = Arc::clone(relay);
    Some(async move {
        let mut serve = pin!(async {
            match protocol {
                Protocol::Http => port80::serve(&relay, connection).await,
                Protocol::Ssh => Box::pin(ssh::serve(&relay, connection)).await,
                Protocol::Tls => visitor::serve(&relay, connection).await,
            }
        });
        let looked = poll_fn(|cx| Poll::Ready(serve.as_mut().poll(cx))).await;
        drop(unseen);
        if looked.is_ready() {
            return;
        }
        tokio::select! {
            () = relay.stopped.cancelled() => {}
            () = shed.cancelled() => relay.counters.count(Outcome::HandshakeLimit),
            () = serve => {}
        }
    })
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
