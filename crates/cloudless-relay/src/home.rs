//! Brings a visitor to its home, also when the home is away for a moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cloudless_http2::{Error, Reason, RecvStream, SendStream, Side};
use cloudless_proto::Hostname;
use cloudless_proto::control::VISITOR_HEADER;
use cloudless_proto::ssh::Port;
use http::{Method, Request, Response};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::crowd::ranks::Standing;
use crate::home_key::HomeKey;
use crate::listener::Connection;
use crate::outcome::Outcome;
use crate::pump;
use crate::run::Relay;
use crate::session::{Link, Session, TunnelLink};
use crate::slots::Slot;
use crate::status::Visit;
use crate::visitors::Goal;
use crate::{socket, ssh};

/// What proves a name to a certificate authority is a line of text.
const VALIDATION_LEN_MAX: usize = 64 * 1024;

/// Counts a visitor of a hostname that belongs to the home with this key. It may have to make room
/// from here on, which its listener sees to.
pub(crate) fn enter(
    relay: &Relay,
    connection: &mut Connection,
    hostname: &Hostname,
    key: HomeKey,
) -> Arc<Visit> {
    let limits = &relay.config().limits;
    let (source, shed) = (connection.peer.ip(), &connection.permits.shed);
    let of_home = (Goal::Home(key), limits.visitors_per_home);
    let arrival = relay.strangers.arrive(relay, key, source);
    let standing = match arrival.is_known() {
        true => Standing::Settled,
        false => Standing::Waiting,
    };
    let seat = relay
        .visitors
        .admit(shed, source, of_home, limits.visitors(), standing);
    connection.permits.decided();
    let (counters, home) = (relay.counters.of(hostname), relay.homes.of(key));
    Arc::new(Visit::new(counters, hostname, home, (seat, arrival)))
}

/// Serves a visitor of a registered hostname, to its end. `opening` is what was read from it.
///
/// The visitor is held while its home is offline, and gets a TLS alert when that takes too long.
pub(crate) async fn visit(
    relay: &Arc<Relay>,
    mut connection: Connection,
    (hostname, key): (Hostname, HomeKey),
    opening: Bytes,
) {
    let visit = enter(relay, &mut connection, &hostname, key);
    let Connection {
        stream: visitor,
        peer,
        permits: _permits,
        ..
    } = connection;
    bring(relay, visitor, peer, &hostname, opening, &visit).await;
}

/// Asks the home of `hostname` for what a certificate authority wants to see: `request`, which is
/// all that the home gets. `None` when the home is offline, or does not answer such requests.
pub(crate) async fn validate(
    relay: &Relay,
    peer: SocketAddr,
    hostname: &Hostname,
    request: Vec<u8>,
) -> Option<Vec<u8>> {
    let config = relay.config();
    let deadline = Instant::now() + config.hold;
    let key = || relay.registry.key_of(hostname);
    let takes = |session: &Session| session.takes(hostname, Port::Http);
    let session = relay.sessions.wait(key, takes, deadline).await?;
    let request = request.into();
    let answer = async {
        let link = match &session.link {
            Link::Tunnel(link) => link,
            Link::Ssh(link) => {
                let (to, max) = ((&session, link), VALIDATION_LEN_MAX);
                return ssh::validate(relay, to, peer, hostname, request, max).await;
            }
        };
        let to = (&*session, link);
        let opened = connect(relay, to, peer, hostname, Port::Http, &request);
        let Opened {
            response,
            send: _send,
            slot: _slot,
        } = opened.await.ok()?;
        let mut receive = response.into_body();
        let mut answer = Vec::new();
        while let Some(chunk) = receive.data().await {
            let chunk = chunk.ok()?;
            receive.release(chunk.len());
            answer.extend_from_slice(&chunk);
            if answer.len() > VALIDATION_LEN_MAX {
                return None;
            }
        }
        (!answer.is_empty()).then_some(answer)
    };
    tokio::select! {
        () = session.closed.cancelled() => None,
        answer = relay.in_time(config.timings.handshake, answer) => answer.ok().flatten(),
    }
}

/// Serves a counted visitor. May be dropped at any time, which resets its stream.
async fn bring(
    relay: &Relay,
    visitor: TcpStream,
    peer: SocketAddr,
    hostname: &Hostname,
    opening: Bytes,
    visit: &Arc<Visit>,
) {
    let reached = tokio::select! {
        reached = reach(relay, &visitor, peer, (hostname, visit), &opening) => reached,
        // No home comes online any more, and others wait for the next process.
        () = relay.in_a_hurry() => Err(Unreached::Offline),
    };
    match reached {
        Ok(stream) => {
            relay.counters.count(Outcome::Visitor);
            visit
                .counters()
                .bytes_up
                .fetch_add(opening.len() as u64, Ordering::Relaxed);
            drop(opening);
            let key = stream.session().key;
            let is_bound = || relay.registry.key_of(hostname) == Some(key);
            let unbound = relay.sessions.unbound(is_bound);
            match stream {
                Stream::Ssh(stream) => ssh::pump(relay, visitor, stream, visit, unbound).await,
                Stream::Tunnel(stream) => pump::pump(relay, visitor, stream, visit, unbound).await,
            }
        }
        Err(Unreached::Crowded) => {
            relay.counters.count(Outcome::StrangerLimit);
            socket::alert(visitor).await;
        }
        Err(Unreached::Offline) => {
            relay.counters.count(Outcome::HomeOffline);
            socket::alert(visitor).await;
        }
        Err(Unreached::Refused) => {
            relay.counters.count(Outcome::HomeRefused);
            socket::alert(visitor).await;
        }
        Err(Unreached::Reset) => {
            relay.counters.count(Outcome::HomeReset);
            socket::reset(visitor);
        }
    }
}

/// A visitor's way to its home, once the home has accepted it.
enum Stream {
    Ssh(ssh::Stream),
    Tunnel(pump::Stream),
}

impl Stream {
    fn session(&self) -> &Session {
        match self {
            Self::Ssh(stream) => stream.session(),
            Self::Tunnel(stream) => &stream.session,
        }
    }
}

/// Why a visitor does not get to its home.
enum Unreached {
    /// Too many strangers came before.
    Crowded,
    /// There was no session until the hold ended.
    Offline,
    /// The home does not take this visitor.
    Refused,
    /// The home closed the visitor's connection.
    Reset,
}

/// Opens a stream to the home, on another session if one fails before the home has said a byte to
/// the visitor: until then nobody can tell.
async fn reach(
    relay: &Relay,
    visitor: &TcpStream,
    peer: SocketAddr,
    (hostname, visit): (&Hostname, &Visit),
    opening: &Bytes,
) -> Result<Stream, Unreached> {
    let deadline = Instant::now() + relay.config().hold;
    let mut lost = None;
    loop {
        let wanted = |session: &Session| {
            Some(session.number) != lost && session.takes(hostname, Port::Https)
        };
        // The name may go to another home while this waits.
        let session = relay
            .sessions
            .wait(|| relay.registry.key_of(hostname), wanted, deadline)
            .await
            .ok_or(Unreached::Offline)?;
        let attempt = async {
            // Counted from here: it may have waited for its home before.
            let begin = timeout(relay.config().hold, visit.begin(relay));
            let has_waited = begin.await.map_err(|_| Failure::Crowded)?;
            if has_waited && socket::has_gone(visitor) {
                visit.gives_up();
                return Err(Failure::Crowded);
            }
            let link = match &session.link {
                Link::Tunnel(link) => link,
                Link::Ssh(link) => {
                    let (to, from) = ((&session, link), (visitor, peer));
                    let reached = ssh::reach(relay, to, from, hostname, opening).await;
                    return reached.map(Stream::Ssh);
                }
            };
            let to = (&*session, link);
            let opened = connect(relay, to, peer, hostname, Port::Https, opening).await?;
            let stream = first_bytes(relay, (&session, link), visitor, opened).await?;
            Ok(Stream::Tunnel(stream))
        };
        let is_bound = || relay.registry.key_of(hostname) == Some(session.key);
        let failure = tokio::select! {
            biased;
            () = session.closed.cancelled() => Failure::SessionLost,
            () = relay.sessions.unbound(is_bound) => Failure::SessionLost,
            stream = attempt => match stream {
                Ok(stream) => return Ok(stream),
                Err(failure) => failure,
            },
        };
        match failure {
            Failure::Crowded => return Err(Unreached::Crowded),
            Failure::Refused => return Err(Unreached::Refused),
            Failure::Reset => return Err(Unreached::Reset),
            Failure::SessionLost => lost = Some(session.number),
        }
    }
}

/// Why one session did not bring the visitor to its home.
pub(crate) enum Failure {
    Crowded,
    Refused,
    Reset,
    SessionLost,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.reason() {
            Some(Reason::REFUSED_STREAM) if error.is_reset() && error.is_remote() => Self::Refused,
            _ if error.is_reset() && error.is_remote() => Self::Reset,
            _ => Self::SessionLost,
        }
    }
}

/// A stream that the home has accepted.
struct Opened {
    response: Response<RecvStream>,
    send: SendStream,
    slot: Slot,
}

/// Asks the home to take the visitor, and sends the visitor's bytes along without waiting.
async fn connect(
    relay: &Relay,
    (session, link): (&Session, &TunnelLink),
    peer: SocketAddr,
    hostname: &Hostname,
    port: Port,
    opening: &Bytes,
) -> Result<Opened, Failure> {
    session.liveness.ask_if_quiet(relay.config().timings.quiet);
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("{hostname}:{}", port.number()))
        .header(VISITOR_HEADER, peer.to_string())
        .body(())
        .map_err(|_| Failure::Refused)?;
    let connect = async {
        let streams_max = || link.requests.streams_max();
        let slot = session.slots.acquire(streams_max).await;
        let opened = link.requests.open(&request);
        if let Err(Error::GoneAway {
            by: Side::Local, ..
        }) = &opened
        {
            // It has had as many streams as there are numbers.
            session.closed.cancel();
        }
        let (response, mut send) = opened?;
        // Few enough to be left to HTTP/2, so that nothing but the answer is waited for.
        send.queue(opening.clone())?;
        let response = response.await?;
        Ok::<_, Error>(Opened {
            response,
            send,
            slot,
        })
    };
    let opened = match timeout(relay.config().timings.connect, connect).await {
        Ok(connected) => connected?,
        Err(_) => return Err(Failure::SessionLost),
    };
    let status = opened.response.status();
    if status.is_success() {
        Ok(opened)
    } else {
        tracing::debug!(%status, "A home refused a visitor");
        Err(Failure::Refused)
    }
}

/// Waits until the home or the visitor says something: before that the session may still be
/// changed for another one.
async fn first_bytes(
    relay: &Relay,
    (session, link): (&Arc<Session>, &TunnelLink),
    visitor: &TcpStream,
    opened: Opened,
) -> Result<pump::Stream, Failure> {
    let mut receive = opened.response.into_body();
    tokio::select! {
        arrived = receive.arrival() => arrived?,
        _ = visitor.readable() => {}
        () = sleep(relay.config().timings.half_closed_silence) => {}
    }
    Ok(pump::Stream {
        send: opened.send,
        receive,
        share: session.budget.open(),
        slot: opened.slot,
        session: Arc::clone(session),
        legs: link.legs.clone().filter(|_| relay.config().legs),
    })
}
