//! One session with an SSH server: from the dial to the end of its last visitor.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloudless_proto::Hostname;
use cloudless_proto::redial::{Due, Liveness};

use russh::client::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::client::{Client, Notes};
use super::closings::Closings;
use super::forward::Forward;
use super::handshake::{Link, shake};
use super::holders::Holders;
use super::server::SshRelay;
use super::stream::{Stream, linger};
use super::visit::{Arrival, Kind, answer, identify};
use crate::status::chain;
use crate::tunnel::activity::Activity;
use crate::tunnel::connection::{ConnectionError, VISITORS_MAX};
use crate::tunnel::dial::{DialError, Reached, Way, dial};
use crate::tunnel::path::Path;
use crate::tunnel::session::{Context, End, News, Tokens};
use crate::visitor::VisitorRefusal;

/// Visitors of all sessions with the server, of which each has at most [`VISITORS_MAX`].
const ALL_VISITORS_MAX: usize = 2 * VISITORS_MAX as usize;
/// How soon, and then how often, a server is asked again for a place that it does not give.
const ASK_SOON: Duration = Duration::from_millis(125);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long a server may take to close a session that home has ended, or a channel.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a session with an SSH server came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The server does not listen where it was asked to.
    #[error(
        "the SSH server does not listen at {forward} for home: {}. `cloudless relay doctor --ssh` on \
         the server tells what to change",
        reason(*.had_it)
    )]
    Forward {
        /// Where.
        forward: Forward,
        /// Whether it has done so for this home before.
        had_it: bool,
    },
    /// The connection broke.
    #[error("the connection to the SSH server broke")]
    Ssh(#[source] russh::Error),
}

impl SshError {
    /// For how long the server is not to be dialed, where it has said no.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Forward { .. } => Some(ASK_AGAIN),
            Self::Ssh(_) => None,
        }
    }
}

/// What keeps a server from listening. It does not say itself.
fn reason(had_it: bool) -> &'static str {
    if had_it {
        "it did so before, and still keeps the place for a session that is dead; home takes it as soon \
         as sshd gives that up, which it does sooner with ClientAliveInterval 5 and ClientAliveCountMax \
         2 in sshd_config, or never misses it with a Unix socket and StreamLocalBindUnlink yes"
    } else {
        "something else listens there, or an older session does, or this user may not \
         (AllowTcpForwarding, PermitListen, the options in authorized_keys; ports below 1024 are for \
         root)"
    }
}

/// An SSH server, and what its sessions share.
pub(crate) struct Server {
    pub(crate) relay: Arc<SshRelay>,
    /// The names that lead to this home: the server knows of none.
    pub(crate) hostnames: Vec<Hostname>,
    /// The last epoch used at any relay.
    epochs: Arc<AtomicU64>,
    /// Whether it has listened for this home since the start.
    has_listened: AtomicBool,
    holders: Holders,
    /// The session that closed too many channels last, which goes on for its visitors.
    worn_out: Mutex<CancellationToken>,
}

impl Server {
    pub(crate) fn new(relay: SshRelay, hostnames: Vec<Hostname>, epochs: Arc<AtomicU64>) -> Self {
        Self {
            relay: Arc::new(relay),
            hostnames,
            epochs,
            has_listened: AtomicBool::new(false),
            holders: Holders::default(),
            worn_out: Mutex::default(),
        }
    }

    /// One session at a time goes on for its visitors when it has closed too many channels: the one
    /// before ends.
    fn wear_out(&self) -> CancellationToken {
        let replaced = CancellationToken::new();
        let mut worn_out = self.worn_out.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *worn_out, replaced.clone()).cancel();
        replaced
    }
}

pub(crate) async fn run(
    context: Arc<Context>,
    server: Arc<Server>,
    number: u64,
    news: mpsc::Sender<(u64, News)>,
    tokens: Tokens,
) -> End {
    let deadline = Instant::now() + context.timings.dial;
    let tell = Teller { number, news };
    let link = tokio::select! {
        opened = timeout_at(deadline, open(&context, &server.relay, &tell)) => match opened {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => return End::Failed(ConnectionError::Dial(error)),
            Err(_) => return End::Failed(ConnectionError::Timeout(context.timings.dial)),
        },
        () = tokens.dialing.cancelled() => return End::Retired,
    };
    let Link {
        handle,
        arrivals,
        activity,
        notes,
        path,
        socket,
        cut,
    } = link;
    let ended = CancellationToken::new();
    let mut session = Session {
        liveness: Liveness::new(context.timings.pings),
        context,
        server,
        tell,
        handle: Arc::new(handle),
        arrivals,
        activity,
        notes,
        cut,
        visitors: TaskTracker::new(),
        closings: Arc::default(),
        worn_out: None,
        retire: tokens.retire,
        probe: tokens.probe,
        _ended: ended.clone().drop_guard(),
        ended,
    };
    let end = match session.listen(&tokens.dialing).await {
        Ok(()) => {
            if let Some(socket) = socket {
                session.server.holders.add(number, socket);
            }
            session.welcome(path).await;
            session.serve().await
        }
        Err(end) => end,
    };
    session.close(&end).await;
    end
}

/// Dials the server and proves both keys.
async fn open(context: &Context, server: &Arc<SshRelay>, tell: &Teller) -> Result<Link, DialError> {
    let (answered, addresses) = (Notify::new(), [server.address()]);
    let way = Way {
        name: &server.host,
        addresses: &addresses,
        proxy: context.proxy.as_ref(),
        stagger: context.timings.stagger,
        handshake: context.timings.handshake,
        known: &context.known,
        answered: &answered,
    };
    let shake = |reached: Reached, tcp| {
        let (server, refusals) = (server.clone(), context.visitors.refusals.clone());
        async move {
            let shaken = shake(server, tcp, refusals).await;
            shaken.map_err(|source| DialError::Ssh {
                address: reached.address,
                source: Box::new(source),
            })
        }
    };
    let telling = async {
        loop {
            answered.notified().await;
            tell.tell(News::Answered).await;
        }
    };
    tokio::select! {
        dialed = dial(way, shake) => dialed,
        never = telling => never,
    }
}

struct Teller {
    number: u64,
    news: mpsc::Sender<(u64, News)>,
}

impl Teller {
    async fn tell(&self, news: News) {
        // The tunnel outlives its sessions, so this fails only while it is being dropped.
        let _ = self.news.send((self.number, news)).await;
    }
}

/// A ping on its way.
type Ping = Pin<Box<dyn Future<Output = Result<(), russh::Error>> + Send>>;

struct Session {
    context: Arc<Context>,
    server: Arc<Server>,
    tell: Teller,
    handle: Arc<Handle<Client>>,
    arrivals: mpsc::Receiver<Arrival>,
    activity: Activity,
    notes: Notes,
    /// Ends the connection, whatever it is at.
    cut: DropGuard,
    liveness: Liveness,
    visitors: TaskTracker,
    closings: Arc<Closings>,
    /// Set when it has closed too many channels; cancelled when the next session has.
    worn_out: Option<CancellationToken>,
    retire: CancellationToken,
    probe: Arc<Notify>,
    /// Ends the visitors, also when it is dropped.
    ended: CancellationToken,
    _ended: DropGuard,
}

impl Session {
    /// Has the server listen for visitors; asks again for as long as it does not, and tells why.
    async fn listen(&mut self, dialing: &CancellationToken) -> Result<(), End> {
        let server = self.server.relay.clone();
        // What this key may ask for is settled when it is proven, so that the owner's changes count
        // for the next session.
        let deadline = Instant::now() + self.context.timings.dial;
        for forward in std::iter::once(&server.forward).chain(&server.forward_http) {
            let mut wait = ASK_SOON;
            while let Err(error) = self.ask(forward, dialing).await? {
                let error = ConnectionError::Ssh(error);
                if Instant::now() > deadline {
                    return Err(End::Failed(error));
                }
                // The session before was asked to leave, at the first refusal at the latest.
                if wait > ASK_SOON {
                    self.server.holders.reset_over();
                }
                self.tell.tell(News::Waiting(chain(&error))).await;
                tokio::select! {
                    () = sleep(wait) => {}
                    () = dialing.cancelled() => return Err(End::Retired),
                    () = self.retire.cancelled() => return Err(End::Retired),
                }
                wait = (wait * 2).min(ASK_AGAIN);
            }
        }
        self.server.holders.reset_over();
        self.server.has_listened.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Asks once.
    async fn ask(
        &self,
        forward: &Forward,
        dialing: &CancellationToken,
    ) -> Result<Result<(), SshError>, End> {
        let handle = &self.handle;
        let asked = async {
            match forward {
                Forward::Tcp { host, port } => {
                    let asked = handle.tcpip_forward(host.as_str(), u32::from(*port)).await;
                    asked.map(drop)
                }
                Forward::Unix(path) => handle.streamlocal_forward(path.as_str()).await,
            }
        };
        let limit = self.context.timings.dial;
        let asked = tokio::select! {
            asked = timeout(limit, asked) => asked,
            () = dialing.cancelled() => return Err(End::Retired),
            () = self.retire.cancelled() => return Err(End::Retired),
        };
        match asked {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(russh::Error::RequestDenied)) => Ok(Err(SshError::Forward {
                forward: forward.clone(),
                had_it: self.server.has_listened.load(Ordering::Relaxed),
            })),
            Ok(Err(error)) => Err(End::Failed(self.broken(Some(error)))),
            Err(_) => Err(End::Failed(ConnectionError::Timeout(limit))),
        }
    }

    async fn welcome(&mut self, path: Option<Path>) {
        let welcomed = News::Welcomed {
            epoch: self.server.epochs.fetch_add(1, Ordering::Relaxed) + 1,
            hostnames: self.server.hostnames.clone(),
            path,
        };
        self.tell.tell(welcomed).await;
    }

    async fn serve(&mut self) -> End {
        let (retire, probe) = (self.retire.clone(), self.probe.clone());
        let mut ping: Option<Ping> = None;
        loop {
            if self.closings.are_too_many() {
                tracing::debug!("A session has closed many channels: dialing beside it");
                self.worn_out = Some(self.server.wear_out());
                self.tell.tell(News::Draining(Duration::ZERO)).await;
            }
            let now = Instant::now();
            if !self.visitors.is_empty() {
                self.liveness.visited(now.into_std());
            }
            let wake = match self
                .liveness
                .due(now.into_std(), self.activity.last_read().into_std())
            {
                Due::Nothing(until) => Instant::from_std(until),
                Due::Ping => {
                    self.liveness.pinged(now.into_std());
                    let handle = self.handle.clone();
                    ping = Some(Box::pin(async move { handle.send_ping().await }));
                    continue;
                }
                Due::Doubt => {
                    self.server.holders.doubt(self.tell.number);
                    self.tell.tell(News::Doubted).await;
                    continue;
                }
                Due::Death => {
                    return End::Failed(ConnectionError::Silent(self.context.timings.pings.dead));
                }
            };
            tokio::select! {
                arrival = self.arrivals.recv() => match arrival {
                    Some(arrival) => self.admit(arrival),
                    None => return End::Failed(self.broken(None)),
                },
                answered = pong(&mut ping) => {
                    ping = None;
                    match answered {
                        Ok(()) => self.answered().await,
                        Err(error) => return End::Failed(self.broken(Some(error))),
                    }
                }
                () = sleep_until(wake) => {}
                () = probe.notified() => self.liveness.probe(Instant::now().into_std()),
                () = retire.cancelled() => {
                    self.drain().await;
                    return End::Retired;
                }
            }
        }
    }

    /// The ping on its way is answered.
    async fn answered(&mut self) {
        let pong = self.liveness.answered(Instant::now().into_std());
        if let Some(time) = pong.time {
            self.tell.tell(News::Measured(time)).await;
        }
        if pong.is_trusted_again {
            self.tell.tell(News::Trusted).await;
        }
    }

    /// Starts serving a visitor, or resets it.
    fn admit(&mut self, arrival: Arrival) {
        let visits = self.context.visits.clone();
        self.liveness.visited(Instant::now().into_std());
        let is_full = visits.tasks.len() >= ALL_VISITORS_MAX;
        let count = self.context.board.visitor(self.context.index);
        let traffic = self.context.board.traffic(self.context.index);
        let visitors = self.context.visitors.clone();
        let (server, limit) = (self.server.clone(), self.context.timings.tls_handshake);
        let closings = self.closings.clone();
        let (retire, ended) = (self.retire.clone(), self.ended.clone());
        let in_session = self.visitors.token();
        let tasks = visits.tasks.clone();
        tasks.spawn(async move {
            let (inbox, evicted) = (arrival.inbox.clone(), arrival.inbox.evicted.clone());
            let stream = Stream::new(inbox.clone(), &arrival.channel, traffic);
            let has_written = stream.has_written();
            let visit = async {
                let is_own = |hostname: &Hostname| server.hostnames.contains(hostname);
                let version = server.relay.proxy_protocol;
                let identified = identify(stream, &arrival, version, is_own);
                match timeout(limit, identified).await {
                    Ok(Ok(Some((visitor, stream)))) => {
                        visitors.serve(visitor, stream, retire).await;
                        // What is no validation under way is not there.
                        if arrival.kind == Kind::Http && !has_written.load(Ordering::Relaxed) {
                            answer(arrival.channel.make_writer(), "404 Not Found", None).await;
                        }
                    }
                    Ok(Ok(None)) => {}
                    Ok(Err(refusal)) => visitors.refusals.count(refusal),
                    Err(_) => visitors.refusals.count(VisitorRefusal::HandshakeTimeout),
                }
                linger(&inbox).await;
            };
            if is_full {
                visitors.refusals.count(VisitorRefusal::VisitorLimit);
            } else {
                tokio::select! {
                    // First: its reader hears of that too.
                    biased;
                    why = evicted.wait() => visitors.refusals.count(*why),
                    () = visit => {}
                    () = ended.cancelled() => {}
                    () = visits.cut.cancelled() => {}
                }
            }
            drop(count);
            let has_to_go = is_full || evicted.initialized();
            tokio::select! {
                () = close(&arrival, has_to_go, &closings) => {}
                () = ended.cancelled() => {}
                () = visits.cut.cancelled() => {}
            }
            drop(in_session);
        });
    }

    /// Has the server listen no more where that would keep the next session out, and lets the visitors
    /// finish.
    async fn drain(&mut self) {
        let server = self.server.clone();
        let (relay, number) = (&server.relay, self.tell.number);
        let cancel = async {
            for forward in std::iter::once(&relay.forward).chain(&relay.forward_http) {
                // At a Unix socket the next session may listen already.
                if let Forward::Tcp { host, port } = forward {
                    server.holders.over(number);
                    let port = u32::from(*port);
                    let _ = self.handle.cancel_tcpip_forward(host.as_str(), port).await;
                }
            }
        };
        if timeout(FAREWELL, cancel).await.is_ok() {
            server.holders.remove(number);
        }
        let (worn_out, drain) = (self.worn_out.take(), self.context.timings.drain);
        let stopping = self.context.visits.stopping.clone();
        let limit = async {
            if let Some(replaced) = worn_out {
                // None of its visitors has done anything to be cut for.
                tokio::select! {
                    () = replaced.cancelled() => return,
                    () = stopping.cancelled() => {}
                }
            }
            sleep(drain).await;
        };
        let mut limit = pin!(limit);
        self.visitors.close();
        loop {
            tokio::select! {
                arrival = self.arrivals.recv() => match arrival {
                    // It came just before.
                    Some(arrival) => self.admit(arrival),
                    None => break,
                },
                () = self.visitors.wait() => break,
                () = &mut limit => break,
            }
        }
    }

    /// Ends the connection and all that needs it.
    async fn close(mut self, end: &End) {
        self.ended.cancel();
        self.visitors.close();
        self.visitors.wait().await;
        if let End::Failed(ConnectionError::Silent(_)) = end {
            // The server hears nothing now. A router that heard a farewell would soon forget the
            // connection, and let no reset through.
            self.server.holders.over(self.tell.number);
            drop(self.cut);
            return;
        }
        self.server.holders.remove(self.tell.number);
        let goodbye = russh::Disconnect::ByApplication;
        let _ = timeout(FAREWELL, self.handle.disconnect(goodbye, "", "")).await;
        if let Some(handle) = Arc::get_mut(&mut self.handle)
            && timeout(FAREWELL, &mut *handle).await.is_err()
        {
            drop(self.cut);
            // It cannot go on without its connection.
            let _ = handle.await;
        }
    }

    /// Why the connection is no more.
    fn broken(&self, error: Option<russh::Error>) -> ConnectionError {
        match self.notes.end().or(error) {
            None | Some(russh::Error::Disconnect | russh::Error::HUP) => ConnectionError::Closed,
            Some(error) => ConnectionError::Ssh(SshError::Ssh(error)),
        }
    }
}

/// Ends a visitor's channel. Unless the visitor `has_to_go` the server ends it first if it does so soon: of
/// one that home closes first russh keeps something.
async fn close(arrival: &Arrival, has_to_go: bool, closings: &Closings) {
    let by_server = async {
        let _ = arrival.channel.eof().await;
        arrival.inbox.closed.cancelled().await;
    };
    if has_to_go || timeout(FAREWELL, by_server).await.is_err() {
        closings.add();
    }
    // There is no channel until both sides have closed it.
    let _ = arrival.channel.close().await;
}

/// Awaits the answer to the ping on its way, for ever if there is none.
async fn pong(ping: &mut Option<Ping>) -> Result<(), russh::Error> {
    match ping {
        Some(ping) => ping.await,
        None => std::future::pending().await,
    }
}
