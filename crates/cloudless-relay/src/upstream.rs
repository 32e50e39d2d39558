//! Passes connections that are for no home to the servers beside the relay.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::UpstreamAddress;
use cloudless_proto::proxy_protocol::{self, Addresses, Version};
use cloudless_splice::{ForwardError, Pipes, Socket};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::activity::Activity;
use crate::config::Config;
use crate::crowd::ranks::Standing;
use crate::listener::Connection;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::socket;
use crate::visitors::{Goal, Seat};

/// A connection to a server.
pub(crate) enum Server {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects to a server and sends it the first bytes.
pub(crate) async fn connect(address: &UpstreamAddress, opening: &[u8]) -> io::Result<Server> {
    async fn begin<S: AsyncWrite + Unpin>(mut server: S, opening: &[u8]) -> io::Result<S> {
        server.write_all(opening).await?;
        Ok(server)
    }
    match address {
        UpstreamAddress::Tcp(address) => {
            let server = TcpStream::connect(address).await?;
            socket::configure(&server)?;
            begin(server, opening).await.map(Server::Tcp)
        }
        UpstreamAddress::Unix(path) => {
            let server = UnixStream::connect(path).await?;
            begin(server, opening).await.map(Server::Unix)
        }
    }
}

/// Sends `opening`, which was read from the visitor already, to the server at `address`, and then
/// all that either side says to the other. A server that speaks the PROXY protocol is told the
/// visitor's address first. Who asks for one that cannot be reached is told `last_words`.
///
/// All of that is done in the background: anybody can ask for it, and the visitors of homes go first.
pub(crate) async fn pass(
    relay: &Arc<Relay>,
    config: Arc<Config>,
    mut connection: Connection,
    opening: Bytes,
    (address, version): (&UpstreamAddress, Option<Version>),
    last_words: fn() -> Vec<u8>,
) {
    let (source, shed) = (connection.peer.ip(), &connection.permits.shed);
    let limits = &config.limits;
    let passed = (Goal::Server, limits.visitors / 2);
    let seat = relay
        .visitors
        .admit(shed, source, passed, limits.visitors(), Standing::Stranger);
    let seat = Arc::new(seat);
    connection.permits.decided();
    let opening = match version {
        Some(version) => {
            let mut bytes = proxy_protocol::encode(version, addresses(&connection));
            bytes.extend_from_slice(&opening);
            Bytes::from_owner(zeroize::Zeroizing::new(bytes))
        }
        None => opening,
    };
    let passed = Passed {
        relay: Arc::clone(relay),
        config,
        address: address.clone(),
        client: match connection.stream.into_std() {
            Ok(client) => client,
            Err(error) => return tracing::debug!(%error, "A connection cannot be passed on"),
        },
        seat: Arc::clone(&seat),
        last_words,
    };
    let serve = Box::pin(relay.connections.track_future(passed.serve(opening)));
    relay.passing.work(serve).await;
}

/// A connection on its way to a server.
struct Passed {
    relay: Arc<Relay>,
    config: Arc<Config>,
    address: UpstreamAddress,
    /// Of no runtime yet.
    client: std::net::TcpStream,
    seat: Arc<Seat>,
    last_words: fn() -> Vec<u8>,
}

impl Passed {
    async fn serve(self, opening: Bytes) {
        let Self {
            relay,
            config,
            address,
            client,
            seat,
            last_words,
        } = self;
        let client = match TcpStream::from_std(client) {
            Ok(client) => client,
            Err(error) => return tracing::debug!(%error, "A connection cannot be passed on"),
        };
        let connected = relay.in_time(config.timings.connect, connect(&address, &opening));
        let server = match connected
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
        {
            Ok(server) => server,
            Err(error) => {
                relay.health.failed(&address, &error);
                relay.counters.count(Outcome::ServerUnreachable);
                return socket::close(client, &last_words()).await;
            }
        };
        relay.health.reached(&address);
        drop(opening);
        match server {
            Server::Tcp(server) => join(&relay, &config, (client, &seat), server).await,
            Server::Unix(server) => join(&relay, &config, (client, &seat), server).await,
        }
    }
}

/// Who is connected to what; `None` when the system does not tell any more.
fn addresses(connection: &Connection) -> Option<Addresses> {
    let destination = match connection.destination {
        Some(destination) => destination,
        None => connection.stream.local_addr().ok()?,
    };
    Some(Addresses {
        source: connection.peer,
        destination,
    })
}

/// Moves bytes both ways until both sides have ended, or one cuts the other.
async fn join<S: Socket + AsFd>(
    relay: &Relay,
    config: &Config,
    (client, seat): (TcpStream, &Seat),
    server: S,
) {
    let (activity, pipes) = (Activity::new(), &relay.pipes);
    let up = |n| seat.moved_up(n);
    let down = |n| {
        // That there is a talk changes the seat alone.
        let _is_talk = seat.moved_down(n);
    };
    let both = async {
        tokio::try_join!(
            one_way(&client, &server, pipes, (&activity, up)),
            one_way(&server, &client, pipes, (&activity, down))
        )
    };
    let cut = tokio::select! {
        outcome = both => outcome.err().map(Cut::Failed),
        () = activity.silent(&config.timings, &relay.draining) => Some(Cut::Silent),
    };
    if let Some(cut) = cut {
        tracing::debug!(?cut, "A connection to a server was cut");
        if matches!(cut, Cut::Silent) {
            relay.counters.count(Outcome::VisitorSilent);
        }
        socket::reset(client);
        socket::reset(server);
    }
}

/// Why a connection is cut before both sides have ended.
#[derive(Debug)]
#[expect(dead_code, reason = "the cause is read in the log, through Debug")]
enum Cut {
    Failed(ForwardError),
    /// No byte moved for too long.
    Silent,
}

async fn one_way(
    from: &impl Socket,
    to: &impl Socket,
    pipes: &Pipes,
    (activity, count): (&Activity, impl Fn(u64)),
) -> Result<(), ForwardError> {
    let moved = |n| {
        activity.moved();
        count(n);
    };
    cloudless_splice::forward(from, to, pipes, moved).await?;
    activity.half_closed();
    Ok(())
}
