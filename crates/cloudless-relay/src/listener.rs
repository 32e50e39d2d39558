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

use crate::crowd::{Crowd, Place, Room, Shed};
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::{load_balancer, port80, socket, ssh, visitor};

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
#[cfg_attr(test, derive(Default))]
pub(crate) struct Permits {
    /// Told by whichever crowd it has to make room in.
    pub(crate) shed: Shed,
    /// Given back when the connection has another place: a visitor its seat, a tunnel its session.
    undecided: Option<Place>,
    /// The drain at shutdown waits for it.
    visiting: Option<TaskTrackerToken>,
}

impl Permits {
    /// It is clear what the connection is, and it has a place among its like.
    pub(crate) fn decided(&mut self) {
        self.undecided = None;
    }

    /// The connection has said a part of what it wants, and competes with others that have.
    pub(crate) fn competes_as(&mut self, place: Place) {
        self.undecided = Some(place);
    }

    /// The connection has shown that it may get what it wants. It goes only after all others of its
    /// source that have not.
    pub(crate) fn settle(&self) {
        if let Some(place) = &self.undecided {
            place.settle();
        }
    }

    /// The connection is a home's tunnel: a drain waits for its visitors, not for it.
    pub(crate) fn tunnel(&mut self) {
        self.visiting = None;
    }
}

/// Accepts until the relay drains.
pub(crate) async fn serve(relay: Arc<Relay>, listener: TcpListener, protocol: Protocol) {
    if let Err(error) = socket::configure(&listener) {
        tracing::warn!(%error, "Clients that are gone are missed late: no keepalive on a listener");
    }
    let undecided = Crowd::new();
    let room = relay.config().limits.undecided();
    let unseen_max = UNSEEN_MAX.min(room.all.min(room.per_source) / 2).max(1);
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
            (Err(error), _) => {
                relay.counters.count(Outcome::AcceptFailed);
                accept_backoff(&error).await;
            }
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
            let serve = client.map(|it| serve_client(&relay, it, &undecided, protocol, None));
            drop(accepting);
            if let Some(serve) = serve {
                serve.await;
            }
        });
    } else {
        let serve = serve_client(relay, client, undecided, protocol, unseen);
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
    let shed = Shed::default();
    // The load balancer's address is that of many.
    let room = Room::for_all(config.limits.handshakes);
    let _place = undecided.admit(&shed, client.peer.ip(), room);
    let header = relay.in_time(
        config.timings.client_hello,
        load_balancer::read_header(&mut client.stream),
    );
    let outcome = tokio::select! {
        () = relay.stopped.cancelled() => return None,
        outcome = shed.told() => outcome,
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

/// Serves a connection to its end.
fn serve_client(
    relay: &Arc<Relay>,
    client: Client,
    undecided: &Arc<Crowd>,
    protocol: Protocol,
    unseen: Option<OwnedSemaphorePermit>,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let Client {
        stream,
        peer,
        destination,
    } = client;
    let shed = Shed::default();
    let undecided = undecided.admit(&shed, peer.ip(), relay.config().limits.undecided());
    let connection = Connection {
        stream,
        peer,
        destination,
        permits: Permits {
            shed: shed.clone(),
            undecided: Some(undecided),
            visiting: Some(relay.visiting.token()),
        },
    };
    let relay = Arc::clone(relay);
    async move {
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
            outcome = shed.told() => relay.counters.count(outcome),
            () = serve => {}
        }
    }
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
