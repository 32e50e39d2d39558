//! One session: from the dial over the relay's welcome to the end of its last visitor.

mod greeting;
mod reach;
mod relay_keys;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cloudless_http2::server::Respond;
use cloudless_http2::{PingPong, Reason, RecvStream};
use cloudless_proto::Hostname;
use cloudless_proto::control::{FromRelay, Refusal};
use cloudless_proto::leg::Ticket;
use cloudless_proto::redial::{Due, Liveness};
use cloudless_proto::takeover::{Instance, Process, SessionId};
use http::{Method, Request};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::budget::Budget;
use super::connection::{Connection, ConnectionError, Event, VISITORS_MAX, ok};
use super::dial::Way;
use super::leg::Legs;
use super::lookup::Known;
use super::path::Path;
use super::pinning::Pinning;
use super::portal::Portals;
use super::ssh;
use super::stream::Stream;
use super::visits::Visits;
use super::ways::Ways;
use crate::config::{Relay, Timings};
use crate::proxy::Proxy;
use crate::status::Board;
use crate::surroundings::Happened;
use crate::visitor::{self, Visitor, VisitorRefusal, Visitors};
use greeting::{Greeting, greet, refused};
use reach::Told;
use relay_keys::Announced;

/// Visitors that need one session,
const SESSION_VISITORS_MAX: usize = VISITORS_MAX as usize;
/// and all of the tunnel: those of a session that retires and those on legs are among them.
const TUNNEL_VISITORS_MAX: usize = 2 * SESSION_VISITORS_MAX;
/// How long a relay may take to close a session that home has ended.
const FAREWELL: Duration = Duration::from_secs(1);
/// What all visitors of a session may leave unread, in bytes: 32 whole windows.
const UNREAD_MAX: usize = 64 * 1024 * 1024;
/// How often that is looked at; HTTP/2 does not tell.
const UNREAD_CHECK: Duration = Duration::from_millis(100);
/// How often a session that ends looks whether its streams are through; HTTP/2 does not tell.
const FLUSH_CHECK: Duration = Duration::from_millis(20);

/// What all sessions of one tunnel share.
pub(crate) struct Context {
    /// The relay's row on the board.
    pub(crate) index: usize,
    pub(crate) transport: Transport,
    /// Where the relay was before.
    pub(crate) known: Known,
    pub(crate) timings: Timings,
    /// The relay is dialed through it.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) visits: Visits,
    pub(crate) board: Board,
    /// What happens to this machine.
    pub(crate) happened: watch::Receiver<Happened>,
    pub(crate) visitors: Arc<Visitors>,
}

/// How the far end is spoken to.
pub(crate) enum Transport {
    /// It is a relay of cloudless.
    Own(Arc<OwnRelay>),
    /// It is an SSH server.
    Ssh(Arc<ssh::Server>),
}

/// A relay of cloudless.
pub(crate) struct OwnRelay {
    pub(crate) relay: Relay,
    pub(crate) pinning: Pinning,
    /// Those that keep home from it.
    pub(crate) portals: Portals,
    pub(crate) process: Process,
    /// Whether legs that the relay offers are dialed.
    pub(crate) legs: bool,
    /// Whether it is told if phones get here.
    pub(crate) probes: bool,
}

/// What a session tells its tunnel before it ends.
#[derive(Debug)]
pub(crate) enum News {
    /// The dial has reached something: the relay, as far as can be told yet.
    Answered,
    /// The relay knows home, and does not send visitors yet: why, and what to do. Told again and again
    /// for as long as it is so.
    Waiting(String),
    /// Visitors come through it.
    Welcomed {
        epoch: u64,
        hostnames: Vec<Hostname>,
        /// Whence and where to.
        path: Option<Path>,
    },
    /// The names have changed.
    Hostnames(Vec<Hostname>),
    /// A ping was answered after this time.
    Measured(Duration),
    /// A ping is unanswered.
    Doubted,
    /// The ping was answered after all.
    Trusted,
    /// The relay is about to end it, and may be dialed after this wait.
    Draining(Duration),
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Another one is in its place, or home shuts down.
    Retired,
    /// It never came to be, or broke.
    Failed(ConnectionError),
    /// The relay did not want it.
    Refused {
        reason: Refusal,
        message: String,
        retry_after: Option<Duration>,
    },
}

/// The tunnel's hold on a session.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    /// Ends the session if it has not said its Hello. After that the relay may already have put it
    /// in the place of the one before, so it must go on.
    pub(crate) dialing: CancellationToken,
    /// Ends the session when its visitors are through, in `Timings::drain` at the latest.
    pub(crate) retire: CancellationToken,
    /// Asks the session to prove at once that it still works.
    pub(crate) probe: Arc<Notify>,
}

pub(crate) async fn run(
    context: Arc<Context>,
    own: Arc<OwnRelay>,
    number: u64,
    news: mpsc::Sender<(u64, News)>,
    tokens: Tokens,
) -> End {
    let deadline = Instant::now() + context.timings.dial;
    let answered = Notify::new();
    let way = Way {
        name: own.relay.server_name.as_str(),
        addresses: &own.relay.addresses,
        proxy: context.proxy.as_ref(),
        stagger: context.timings.stagger,
        handshake: context.timings.handshake,
        known: &context.known,
        answered: &answered,
    };
    let open = Connection::open(way, &own.relay, own.pinning.tls(), &own.portals);
    let tell = async {
        loop {
            answered.notified().await;
            if news.send((number, News::Answered)).await.is_err() {
                return;
            }
        }
    };
    let opened = tokio::select! {
        opened = tokio::time::timeout_at(deadline, open) => opened,
        () = tokens.dialing.cancelled() => return End::Retired,
        // The tunnel is gone.
        () = tell => return End::Retired,
    };
    let (mut connection, ping_pong) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return End::Failed(error),
        Err(_) => return End::Failed(ConnectionError::Timeout(context.timings.dial)),
    };
    let id = own.process.next_session();
    let greeted = tokio::select! {
        greeted = tokio::time::timeout_at(deadline, greet(&mut connection, &own, id)) => greeted,
        () = tokens.retire.cancelled() => return End::Retired,
    };
    let Greeting {
        hostnames,
        keys,
        early,
    } = match greeted {
        Ok(Ok(welcome)) => welcome,
        Ok(Err(end)) => {
            if let End::Refused {
                reason: Refusal::OldEpoch,
                ..
            } = end
            {
                outdated(&context, &own.process, id);
            }
            return end;
        }
        Err(_) => return End::Failed(ConnectionError::Timeout(context.timings.dial)),
    };
    let epoch = id.epoch;
    tracing::debug!(number, epoch, "Session welcomed");
    let path = connection.path;
    let legs = path.filter(|_| own.legs).map(|path| Legs::new(path.remote));
    let ended = CancellationToken::new();
    let told = Told::new(&context.board, &hostnames);
    let mut session = Session {
        liveness: Liveness::new(context.timings.pings),
        context,
        own,
        number,
        news,
        retire: tokens.retire,
        probe: tokens.probe,
        connection,
        ping_pong,
        visitors: TaskTracker::new(),
        ways: HashMap::new(),
        legs,
        _ended: ended.clone().drop_guard(),
        ended,
        budget: Budget::new(UNREAD_MAX),
        draining: false,
        announced: Announced::default(),
        told,
    };
    session
        .tell(News::Welcomed {
            epoch,
            hostnames,
            path,
        })
        .await;
    for (request, respond) in early {
        session.admit(request, respond);
    }
    session.relay_keys(keys).await;
    session.serve().await
}

/// The relay has a newer session of this instance.
fn outdated(context: &Context, process: &Process, id: SessionId) {
    let mut random = [0; 16];
    // Without random bytes all stays as it is until the next dial.
    if getrandom::fill(&mut random).is_ok() && process.outdated(id, Instance::new(random)) {
        tracing::warn!(
            relay = context.index,
            "A copy of this running machine is connected with this home's key"
        );
    }
}

/// A welcomed session.
struct Session {
    context: Arc<Context>,
    own: Arc<OwnRelay>,
    number: u64,
    news: mpsc::Sender<(u64, News)>,
    retire: CancellationToken,
    probe: Arc<Notify>,
    connection: Connection,
    ping_pong: PingPong,
    /// Those that need this session: on a leg they do no more.
    visitors: TaskTracker,
    /// The ways of the visitors that may go on on a leg, by stream.
    ways: HashMap<u32, Weak<Ways>>,
    /// `None` when no legs are made.
    legs: Option<Legs>,
    /// Ends the visitors that need this session, also when it is dropped.
    ended: CancellationToken,
    _ended: DropGuard,
    budget: Budget,
    liveness: Liveness,
    draining: bool,
    announced: Announced,
    /// What the relay knows of whether phones get here.
    told: Told,
}

impl Session {
    async fn serve(mut self) -> End {
        let (retire, probe) = (self.retire.clone(), self.probe.clone());
        let mut check = tokio::time::interval(UNREAD_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = match self.keep_alive().await {
                Ok(wake) => wake,
                Err(error) => return End::Failed(error),
            };
            tokio::select! {
                event = self.connection.next() => match event {
                    Ok(Event::Opened(request, respond)) => self.admit(request, respond),
                    Ok(Event::Said(message)) => {
                        if let Some(end) = self.heed(message).await {
                            return end;
                        }
                    }
                    Err(_) if self.draining => return End::Retired,
                    Err(error) => return End::Failed(error),
                },
                answered = pong(&mut self.ping_pong), if self.liveness.is_pinging() => {
                    if let Err(error) = answered {
                        return End::Failed(error);
                    }
                    self.answered().await;
                }
                _ = check.tick(), if !self.budget.is_empty() => {
                    self.budget.enforce();
                    self.ways.retain(|_, ways| ways.strong_count() > 0);
                }
                () = sleep_until(wake) => {}
                () = probe.notified() => self.liveness.probe(Instant::now().into_std()),
                () = self.told.has_news() => self.tell_reach(),
                () = retire.cancelled() => {
                    self.drain().await;
                    return End::Retired;
                }
            }
        }
    }

    /// Pings, doubts or gives up as the silence demands; returns when to look again.
    async fn keep_alive(&mut self) -> Result<Instant, ConnectionError> {
        loop {
            let now = Instant::now();
            if !self.visitors.is_empty() {
                self.liveness.visited(now.into_std());
            }
            let heard = self.connection.activity.last_read();
            match self.liveness.due(now.into_std(), heard.into_std()) {
                Due::Nothing(until) => return Ok(Instant::from_std(until)),
                Due::Ping => {
                    self.ping_pong.send().map_err(ConnectionError::Http2)?;
                    self.liveness.pinged(now.into_std());
                }
                Due::Doubt => self.tell(News::Doubted).await,
                Due::Death => return Err(ConnectionError::Silent(self.context.timings.pings.dead)),
            }
        }
    }

    /// The ping on its way is answered.
    async fn answered(&mut self) {
        let pong = self.liveness.answered(Instant::now().into_std());
        if let Some(time) = pong.time {
            self.tell(News::Measured(time)).await;
        }
        if pong.is_trusted_again {
            self.tell(News::Trusted).await;
        }
    }

    /// Acts on what the relay said; an end of the session is returned.
    async fn heed(&mut self, message: FromRelay) -> Option<End> {
        match message {
            FromRelay::Hostnames { hostnames } => {
                self.told.named(&hostnames);
                self.tell_reach();
                self.tell(News::Hostnames(hostnames)).await;
            }
            FromRelay::Keys { keys } => self.relay_keys(keys).await,
            FromRelay::Drain { retry_after_ms } => {
                self.draining = true;
                self.liveness.ending();
                self.context.visits.draining.notify_waiters();
                self.tell(News::Draining(Duration::from_millis(retry_after_ms)))
                    .await;
            }
            FromRelay::Refused {
                reason,
                message,
                retry_after_ms,
            } => {
                return Some(refused(reason, message, retry_after_ms));
            }
            FromRelay::Leg {
                stream,
                number,
                token,
            } => {
                let ways = self.ways.get(&stream).and_then(Weak::upgrade);
                if let (Some(legs), Some(ways)) = (&mut self.legs, ways) {
                    legs.make(Ticket { number, token }, &ways);
                }
            }
            FromRelay::LegReady { stream, number } => {
                if let Some(ways) = self.ways.get(&stream).and_then(Weak::upgrade) {
                    ways.ready(number);
                }
            }
            FromRelay::OtherInstance => {
                let relay = self.context.index;
                let message = "another machine connects with this home's key and is refused while \
                               this one is alive: stop one of the two";
                if self.context.board.warn(relay, message) {
                    tracing::warn!(relay, "Another machine connects with this home's key");
                }
            }
            FromRelay::Joined { .. } | FromRelay::Welcome { .. } => {}
        }
        None
    }

    /// Starts serving a visitor, or resets its stream.
    fn admit(&mut self, request: Request<RecvStream>, respond: Respond) {
        if request.method() != Method::CONNECT {
            respond.reset(Reason::PROTOCOL_ERROR);
            return;
        }
        let visits = self.context.visits.clone();
        if self.visitors.len() >= SESSION_VISITORS_MAX || visits.tasks.len() >= TUNNEL_VISITORS_MAX
        {
            respond.reset(Reason::REFUSED_STREAM);
            let refusals = &self.context.visitors.refusals;
            return refusals.count(VisitorRefusal::VisitorLimit);
        }
        let visitor = Visitor::new(&request);
        let send = match respond.answer(&ok()) {
            Ok(send) => send,
            Err(error) => {
                tracing::debug!(%error, "A visitor left before the answer");
                return;
            }
        };
        self.liveness.visited(Instant::now().into_std());
        let ways = Ways::new(self.visitors.token());
        if visitor.may_leave() {
            let stream = send.id();
            self.ways.insert(stream, Arc::downgrade(&ways));
        }
        let count = self.context.board.visitor(self.context.index);
        let visitors = self.context.visitors.clone();
        let traffic = self.context.board.traffic(self.context.index);
        let stream = Stream::new(request.into_body(), send, ways.clone(), traffic);
        let evicted = self.budget.open(stream.unread());
        let (retire, ended) = (self.retire.clone(), self.ended.clone());
        let shutdown = CancellationToken::new();
        let told = shutdown.clone();
        let tasks = visits.tasks.clone();
        // From now on, not from when the task first runs.
        let drain = visits.draining.clone().notified_owned();
        let is_draining = self.draining;
        tasks.spawn(async move {
            let rest = stream.rest();
            let visit = async {
                let stream = visitor::Stream::Tunnel(stream);
                visitors.serve(visitor, stream, shutdown).await;
                rest.linger(&visits.stopping).await;
            };
            // A visitor on a leg is told when home or the relay stops, another one when its session
            // retires, too.
            let tell = async {
                let retired = async {
                    retire.cancelled().await;
                    if ways.is_off_stream() {
                        visits.stopping.cancelled().await;
                    }
                };
                let drained = async {
                    if !is_draining {
                        drain.await;
                    }
                };
                tokio::select! {
                    () = retired => {}
                    () = drained => {}
                }
                told.cancel();
                std::future::pending().await
            };
            let cut = async {
                ended.cancelled().await;
                if ways.is_off_stream() {
                    visits.cut.cancelled().await;
                }
            };
            let stranded = async {
                loop {
                    visits.welcomed.notified().await;
                    if ways.is_stranded() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = visit => {}
                () = stranded => tracing::debug!("A leg's address is gone"),
                () = tell => {}
                () = cut => {}
                () = evicted.cancelled() => visitors.refusals.count(VisitorRefusal::UnreadLimit),
            }
            drop(count);
        });
    }

    /// Lets the visitors finish, then tells the relay and closes.
    async fn drain(&mut self) {
        let mut deadline = Instant::now() + self.context.timings.drain;
        self.connection.refuse_new_streams();
        let mut check = tokio::time::interval(FLUSH_CHECK);
        let mut is_over = false;
        loop {
            tokio::select! {
                event = self.connection.next() => match event {
                    Ok(Event::Opened(_, respond)) => respond.reset(Reason::REFUSED_STREAM),
                    Ok(Event::Said(_)) => {}
                    Err(_) => break,
                },
                _ = check.tick() => {
                    self.budget.enforce();
                    // Said before, it could overtake what visitors still have to get.
                    let is_alone = self.visitors.is_empty() && self.connection.n_streams() <= 1;
                    if !is_over && is_alone {
                        self.connection.control.end();
                        is_over = true;
                        deadline = deadline.min(Instant::now() + FAREWELL);
                    } else if is_over
                        && self.connection.n_streams() == 0
                        && !self.connection.has_unsent()
                    {
                        break;
                    }
                }
                () = sleep_until(deadline) => break,
            }
        }
        self.ended.cancel();
        self.visitors.close();
        self.visitors.wait().await;
    }

    async fn tell(&self, news: News) {
        // The tunnel outlives its sessions, so this fails only while it is being dropped.
        let _ = self.news.send((self.number, news)).await;
    }
}

/// Awaits the answer to the ping on its way.
async fn pong(ping_pong: &mut PingPong) -> Result<(), ConnectionError> {
    std::future::poll_fn(|cx| ping_pong.poll_answer(cx))
        .await
        .map_err(ConnectionError::Http2)
}
