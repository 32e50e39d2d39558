//! The tunnel to one relay: dials, keeps a session, and replaces it before it is missed.

mod activity;
mod budget;
mod connection;
mod control;
mod dial;
mod identity;
mod inspection;
pub(crate) mod join;
mod leg;
mod lookup;
mod path;
mod pinning;
mod portal;
mod resolver;
mod session;
pub mod ssh;
mod stream;
mod visits;
mod ways;

use std::collections::HashMap;
use std::sync::Arc;

use cloudless_proto::Hostname;
use cloudless_proto::control::Refusal;
use cloudless_proto::redial;
pub(crate) use cloudless_proto::takeover::Process;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(crate) use activity::{Activity, Watched};
pub use connection::ConnectionError;
pub use control::ControlError;
pub use dial::DialError;
pub(crate) use identity::Identity;
pub use identity::IdentityError;
pub(crate) use lookup::Known;
use path::Path;
pub(crate) use pinning::Pinning;
pub(crate) use portal::Portals;
pub(crate) use resolver::Resolver;
pub(crate) use session::{Context, OwnRelay, Transport};
use session::{End, News, Tokens};
pub(crate) use stream::{Cut, Stream};
pub(crate) use visits::Visits;

use crate::proxy::ProxyError;
use crate::status::{RelayState, chain};
use crate::surroundings::Happened;

/// What home calls itself to a relay.
const SOFTWARE: &str = concat!("cloudless ", env!("CARGO_PKG_VERSION"));
/// Sessions and dials at a time. A dial that hangs does not hold back the next.
const ATTEMPTS_MAX: usize = 10;
/// News of sessions that the tunnel has not read yet.
const NEWS_MAX: usize = 32;

/// Keeps a tunnel to one relay until `shutdown`, then lets the visitors finish.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let (news_sender, news) = mpsc::channel(NEWS_MAX);
    let redial = redial::Tunnel::new(context.timings.redial, now());
    let mut happened = context.happened.clone();
    let seen = *happened.borrow_and_update();
    let tunnel = Tunnel {
        context: Arc::new(context),
        redial,
        sessions: JoinSet::new(),
        tokens: HashMap::new(),
        last_number: 0,
        path: None,
        happened,
        seen,
        dialing: CancellationToken::new(),
        news_sender,
    };
    tunnel.supervise(news, shutdown).await;
}

struct Tunnel {
    context: Arc<Context>,
    /// Which session counts, and when the next one is dialed.
    redial: redial::Tunnel,
    sessions: JoinSet<(u64, End)>,
    /// How to end or probe each session in `sessions`.
    tokens: HashMap<u64, Tokens>,
    last_number: u64,
    /// That of the session that counted last.
    path: Option<Path>,
    happened: watch::Receiver<Happened>,
    /// What of it is dealt with.
    seen: Happened,
    /// Ends the dials under way.
    dialing: CancellationToken,
    news_sender: mpsc::Sender<(u64, News)>,
}

impl Tunnel {
    async fn supervise(
        mut self,
        mut news: mpsc::Receiver<(u64, News)>,
        shutdown: CancellationToken,
    ) {
        loop {
            let next_dial = self.redial.next_dial().map(Instant::from_std);
            let wait = next_dial.map(|at| at.saturating_duration_since(Instant::now()));
            self.context.board.next_dial(self.context.index, wait);
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some((number, news)) = news.recv() => self.heed(number, news),
                Some(ended) = self.sessions.join_next() => match ended {
                    Ok((number, end)) => self.ended(number, end),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                Ok(()) = self.happened.changed() => self.react(),
                () = sleep_until(next_dial.unwrap_or_else(Instant::now)), if next_dial.is_some() => {
                    self.dial();
                }
            }
        }
        let deadline = Instant::now() + self.context.timings.drain;
        self.dialing.cancel();
        for tokens in self.tokens.values() {
            tokens.retire.cancel();
        }
        // The sessions' last words must not fill the channel and hold them up.
        news.close();
        while self.sessions.join_next().await.is_some() {}
        self.context.visits.end(deadline).await;
    }

    /// The network has changed, or the machine has woken up. A session that cannot have outlived it
    /// is replaced at once; another one has to prove itself, and soon.
    fn react(&mut self) {
        let happened = *self.happened.borrow_and_update();
        let has_slept = happened.wakes != self.seen.wakes;
        self.seen = happened;
        let may_survive = !has_slept && self.path.is_some_and(|path| path.is_current());
        let survivor = self.redial.shaken(may_survive, now());
        if let Some(tokens) = survivor.and_then(|number| self.tokens.get(&number)) {
            tokens.probe.notify_one();
        }
    }

    /// Starts a session.
    fn dial(&mut self) {
        self.redial.dialed(now(), random());
        if self.tokens.len() >= ATTEMPTS_MAX {
            self.give_up_oldest_dial();
        }
        if self.tokens.len() >= ATTEMPTS_MAX * 2 {
            return;
        }
        self.last_number += 1;
        let number = self.last_number;
        let tokens = Tokens {
            dialing: self.dialing.child_token(),
            retire: CancellationToken::new(),
            probe: Arc::default(),
        };
        self.tokens.insert(number, tokens.clone());
        let context = self.context.clone();
        let news = self.news_sender.clone();
        self.sessions.spawn(async move {
            let ended = match &context.transport {
                Transport::Own(relay) => {
                    let relay = relay.clone();
                    session::run(context, relay, number, news, tokens).await
                }
                Transport::Ssh(server) => {
                    let server = server.clone();
                    ssh::run(context, server, number, news, tokens).await
                }
            };
            (number, ended)
        });
    }

    fn heed(&mut self, number: u64, news: News) {
        let context = &self.context;
        let counts = self.redial.current() == Some(number);
        match news {
            News::Welcomed {
                epoch,
                hostnames,
                path,
            } => self.welcomed(number, epoch, hostnames, path),
            // A dial that has ended meanwhile holds nothing back.
            News::Answered if self.tokens.contains_key(&number) => {
                self.redial.answered(number, now());
            }
            // Nor does one that has come too late.
            News::Waiting(error) if self.is_wanted(number) => self.waits(number, error),
            News::Answered | News::Waiting(_) => {}
            News::Hostnames(hostnames) if counts => {
                context.board.hostnames(context.index, hostnames);
            }
            News::Measured(time) if counts => context.board.measured(context.index, time),
            News::Hostnames(_) | News::Measured(_) => {}
            News::Doubted => {
                if self.redial.doubted(number, now()) {
                    tracing::debug!(number, "A ping is unanswered: dialing in parallel");
                    let error = "a ping is unanswered: dialing beside this session".to_owned();
                    context
                        .board
                        .set(context.index, RelayState::Connected, Some(error));
                }
            }
            News::Trusted => {
                if self.redial.trusted(number) {
                    context
                        .board
                        .set(context.index, RelayState::Connected, None);
                    self.stop_dialing();
                }
            }
            News::Draining(wait) => self.redial.draining(number, wait, now(), random()),
        }
    }

    fn is_wanted(&self, number: u64) -> bool {
        let tokens = self.tokens.get(&number);
        tokens.is_some_and(|tokens| !tokens.dialing.is_cancelled())
    }

    fn welcomed(&mut self, number: u64, epoch: u64, hostnames: Vec<Hostname>, path: Option<Path>) {
        let previous = self.redial.current();
        if !self.redial.welcomed(number, epoch, now()) {
            return;
        }
        self.stop_dialing();
        self.path = path;
        if let Some(tokens) = previous.and_then(|previous| self.tokens.get(&previous)) {
            tokens.retire.cancel();
        }
        let context = &self.context;
        context.visits.welcomed.notify_waiters();
        context.board.hostnames(context.index, hostnames);
        if context
            .board
            .set(context.index, RelayState::Connected, None)
        {
            tracing::info!(relay = context.index, "Connected to the relay");
        }
        // What was reached may be a proxy.
        let remote = path.filter(|_| context.proxy.is_none());
        context
            .board
            .reached(context.index, remote.map(|path| path.remote));
    }

    /// A session is as good as there, but for what the relay holds back. As long as it goes on asking
    /// for that, no other dial would come to more.
    fn waits(&mut self, number: u64, error: String) {
        let doubted = self.redial.waits(number, now());
        if let Some(tokens) = doubted.and_then(|doubted| self.tokens.get(&doubted)) {
            tokens.retire.cancel();
        }
        let (relay, board) = (self.context.index, &self.context.board);
        if board.set(relay, RelayState::Refused, Some(error)) {
            tracing::warn!(relay, "The relay does not send visitors; see the status");
        }
    }

    fn ended(&mut self, number: u64, end: End) {
        self.tokens.remove(&number);
        let counted = self.redial.current() == Some(number);
        let is_retired = matches!(end, End::Retired);
        self.redial.ended(number, is_retired, now(), random());
        if is_retired && !counted {
            return;
        }
        let (state, error) = match &end {
            End::Retired => (RelayState::Dialing, None),
            End::Failed(error) => match error.retry_after() {
                Some(wait) => {
                    self.redial.retry_after(wait, now(), random());
                    (RelayState::Refused, Some(chain(error)))
                }
                None => (RelayState::Dialing, Some(chain(error))),
            },
            // Another session of this very process is newer.
            End::Refused {
                reason: Refusal::OldEpoch,
                ..
            } => return,
            End::Refused {
                reason,
                message,
                retry_after,
            } => {
                let wait = retry_after.unwrap_or(self.context.timings.redial.backoff_max);
                self.redial.retry_after(wait, now(), random());
                (RelayState::Refused, Some(explain(*reason, message)))
            }
        };
        tracing::debug!(number, ?state, error, "Session ended");
        // What a parallel dial meets is of no concern while a session works.
        if self.redial.current().is_some() {
            return;
        }
        let relay = self.context.index;
        if !self.context.board.set(relay, state, error.clone()) {
            return;
        }
        match end {
            // What names hosts, perhaps, is told at DEBUG above: the relay's words, and an issuer.
            End::Refused { reason, .. } => tracing::warn!(
                relay,
                ?reason,
                "The relay refuses this home; `cloudless home status` says what to do"
            ),
            End::Failed(ConnectionError::Dial(DialError::WrongKey { .. })) => {
                tracing::warn!(relay, "Somebody answers for the relay with another key");
            }
            End::Failed(ConnectionError::Dial(DialError::Intercepted { .. })) => {
                tracing::warn!(
                    relay,
                    "This network intercepts TLS, or another server is in the relay's place; \
                     `cloudless home status` says whose certificate it shows"
                );
            }
            End::Failed(ConnectionError::Dial(DialError::Proxy {
                source: ProxyError::Intercepts { .. },
                ..
            })) => {
                tracing::warn!(
                    relay,
                    "The proxy intercepts TLS, or leads to another server than the relay; \
                     `cloudless home status` says whose certificate it shows"
                );
            }
            End::Failed(ConnectionError::Dial(DialError::Portal { .. })) => {
                tracing::warn!(relay, "A captive portal answers for the relay");
            }
            End::Failed(error) if error.retry_after().is_some() => {
                tracing::warn!(relay, "The relay refuses this home; see the status");
            }
            End::Failed(ConnectionError::Control(ControlError::Version { .. })) => {
                tracing::warn!(relay, error, "Relay and home do not go together");
            }
            End::Failed(_) | End::Retired => {
                tracing::info!(relay, "No relay, dialing; `cloudless home status` says why")
            }
        }
    }

    /// A dial that hangs for so long gives way to one that knows the network as it is now.
    fn give_up_oldest_dial(&self) {
        let current = self.redial.current();
        let under_way = self
            .tokens
            .iter()
            .filter(|(number, tokens)| Some(**number) != current && !tokens.dialing.is_cancelled());
        if let Some((_, tokens)) = under_way.min_by_key(|(number, _)| **number) {
            tokens.dialing.cancel();
        }
    }

    fn stop_dialing(&mut self) {
        self.dialing.cancel();
        self.dialing = CancellationToken::new();
    }
}

/// What a refusal means and what to do about it.
fn explain(reason: Refusal, message: &str) -> String {
    let advice = match reason {
        Refusal::UnknownKey => {
            "the relay has no name for this home's key: on the relay run `cloudless relay invite \
             HOST`, here `cloudless home join CODE`"
        }
        Refusal::Version => "home and relay speak different versions of the tunnel protocol",
        Refusal::OtherInstance => {
            "another machine is connected with this home's key: stop one of the two"
        }
        Refusal::OldEpoch => "a newer session of this home is connected",
        Refusal::RateLimited => "too many attempts: the relay asks to wait",
        Refusal::HostnameTaken => {
            "the name is not free: from another home `cloudless relay invite --replace HOST`, run on \
             the relay, takes it"
        }
        Refusal::JoinRejected => {
            "the join code is expired, already used, replaced by a newer one or not for this relay: \
             on the relay run `cloudless relay invite HOST` for a new one, and check both \
             machines' clocks"
        }
        Refusal::Malformed => "the relay could not read this home's message: upgrade the older one",
        Refusal::Other => "the relay refuses for a reason newer than this home: upgrade home",
    };
    format!("{advice} (the relay says: {})", printable(message))
}

/// The relay's words without what could confuse a terminal, and not too many of them.
fn printable(message: &str) -> String {
    message
        .chars()
        .filter(|character| !character.is_control())
        .take(300)
        .collect()
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A number in `[0, 1)` for spreading out dials, where nothing depends on its quality.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |random| {
        f64::from(random) / (f64::from(u32::MAX) + 1.0)
    })
}
