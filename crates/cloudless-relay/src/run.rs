use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cloudless_splice::Pipes;
use rustls::ServerConfig;
use tokio::task::{JoinError, JoinSet};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::background::Background;
use crate::coalescing::{self, Coalescing};
use crate::config::{Config, Listeners};
use crate::crowd::Crowd;
use crate::health::{self, Health};
use crate::home_key::HomeKey;
use crate::home_share::HomeShares;
use crate::home_sources::HomeSources;
use crate::identity::IdentityError;
use crate::keys::{self, Keys};
use crate::legs::Legs;
use crate::listener::{self, Protocol};
use crate::rate::Rate;
use crate::registry::Registry;
use crate::sessions::Sessions;
use crate::ssh;
use crate::status::{Counters, ReloadStatus, Reloads};
use crate::strangers::Strangers;
use crate::tunnel;
use crate::turns::Turns;
use crate::visitors::Visitors;

/// Connections that are spliced at the same moment; each takes two file descriptors and up to
/// 256 KiB of the system's memory. More are copied.
pub(crate) const PIPES_MAX: usize = 256;
/// Those of one home: a few homes whose visitors stop reading leave others theirs.
const PIPES_PER_HOME_MAX: usize = PIPES_MAX / 4;
/// Those of the servers beside the relay.
const PIPES_PASSED_MAX: usize = PIPES_MAX / 2;

/// Serves until `shutdown` is cancelled; then homes are told, no connection is accepted any more,
/// and visitors may go on for `config.timings.drain`, as long as something moves for them. All tasks have ended when this returns.
///
/// # Errors
/// When the configuration cannot be served; nothing was accepted then.
pub async fn run(
    config: Config,
    registry: Registry,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    if !registry.routed(&config.routes).is_empty() {
        tracing::warn!(
            "A name with a route of its own in relay.toml belongs to a home, which gets its \
             connections; `cloudless relay status` says which"
        );
    }
    let relay = Arc::new(Relay::new(config, registry, shutdown.child_token())?);
    let mut parts = JoinSet::new();
    for listener in listeners.https {
        parts.spawn(listener::serve(Arc::clone(&relay), listener, Protocol::Tls));
    }
    for listener in listeners.http {
        parts.spawn(listener::serve(
            Arc::clone(&relay),
            listener,
            Protocol::Http,
        ));
    }
    for listener in listeners.ssh {
        parts.spawn(listener::serve(Arc::clone(&relay), listener, Protocol::Ssh));
    }
    if let Some(listener) = listeners.admin {
        parts.spawn(admin::serve(Arc::clone(&relay), listener));
    }
    parts.spawn(health::watch(Arc::clone(&relay)));
    parts.spawn(coalescing::watch(Arc::clone(&relay)));
    parts.spawn(keys::watch(Arc::clone(&relay)));
    tracing::info!("The relay is up");

    // A part ends before the shutdown only by a panic; the others end with it.
    let ended = tokio::select! {
        () = shutdown.cancelled() => None,
        Some(ended) = parts.join_next() => Some(ended),
    };
    tracing::info!("The relay stops");
    relay.draining.cancel();
    relay.visiting.close();
    let drained = timeout(relay.config().timings.drain, relay.visiting.wait()).await;
    if drained.is_err() {
        tracing::info!("Visitors that were still there are cut");
    }
    relay.stopped.cancel();
    relay.connections.close();
    relay.connections.wait().await;
    let mut results: Vec<_> = ended.into_iter().collect();
    while let Some(result) = parts.join_next().await {
        results.push(result);
    }
    let panic = |result: Result<(), JoinError>| result.err()?.try_into_panic().ok();
    if let Some(panic) = results.into_iter().find_map(panic) {
        std::panic::resume_unwind(panic);
    }
    Ok(())
}

/// Why a relay cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The relay's own key is unusable.
    #[error("cannot prove the relay's identity to homes")]
    Identity(#[source] IdentityError),
    /// The cryptography library refuses the relay's settings.
    #[error("cannot set up TLS for tunnels")]
    Tls(#[source] rustls::Error),
    /// The system gives the process too few threads.
    #[error("cannot start the threads for strangers; raise the limit of tasks")]
    Threads(#[source] io::Error),
}

/// What all connections of a running relay share.
pub(crate) struct Relay {
    config: RwLock<Arc<Config>>,
    /// What came of the last attempt to read it again.
    pub(crate) reloaded: Mutex<(Reloads, Option<ReloadStatus>)>,
    pub(crate) registry: Registry,
    pub(crate) keys: Arc<Keys>,
    pub(crate) tls: Arc<ServerConfig>,
    /// What is spoken with homes that are SSH clients; `None` when none are taken.
    pub(crate) ssh: Option<ssh::Protocol>,
    /// Asks whether they answer visitors.
    pub(crate) prober: ssh::Prober,
    /// The tunnels whose handshake has to wait for its turn.
    pub(crate) waiting: Arc<Crowd>,
    /// Those whose handshake has begun, with no home proven to be behind them yet.
    pub(crate) unwelcomed: Arc<Crowd>,
    /// For the handshakes of tunnels from where homes have come,
    pub(crate) handshakes: Turns,
    /// for those that anybody can begin,
    pub(crate) strange_handshakes: Turns,
    /// and for those of SSH clients, which anybody can begin, too.
    pub(crate) ssh_handshakes: Turns,
    pub(crate) home_sources: HomeSources,
    /// Where tunnels' handshakes are computed that anybody can begin.
    pub(crate) handshaking: Background,
    /// Where what is for the servers beside the relay is passed on.
    pub(crate) passing: Background,
    pub(crate) counters: Counters,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) legs: Arc<Legs>,
    pub(crate) joins: Mutex<Rate>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) strangers: Strangers,
    /// What those are spliced through that are for no home.
    pub(crate) pipes: Pipes,
    pub(crate) homes: Arc<HomeShares>,
    pub(crate) health: Health,
    pub(crate) coalescing: Coalescing,
    /// Every task that serves a connection.
    pub(crate) connections: TaskTracker,
    /// The connections that a drain waits for: all but tunnels.
    pub(crate) visiting: TaskTracker,
    /// Cancelled when no connection is accepted any more.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the drain is over: every task ends at once.
    pub(crate) stopped: CancellationToken,
}

impl Relay {
    pub(crate) fn new(
        config: Config,
        registry: Registry,
        draining: CancellationToken,
    ) -> Result<Self, RunError> {
        let keys = Keys::new(&config.identity, &registry).map_err(RunError::Identity)?;
        let keys = Arc::new(keys);
        let pipes = Pipes::new(PIPES_MAX);
        let background =
            |work_max: usize| Background::new(work_max.max(2)).map_err(RunError::Threads);
        Ok(Self {
            tls: tunnel::tls(Arc::clone(&keys)).map_err(RunError::Tls)?,
            keys,
            ssh: config
                .ssh
                .as_ref()
                .map(|ssh| ssh::Protocol::new(&ssh.host_key, &config.timings)),
            prober: ssh::Prober::new().map_err(RunError::Tls)?,
            waiting: Crowd::new(),
            unwelcomed: Crowd::new(),
            handshakes: Turns::new(),
            strange_handshakes: Turns::new(),
            ssh_handshakes: Turns::new(),
            home_sources: HomeSources::default(),
            // Twice as many as are ever under way; what a reload allows beyond that waits for a restart.
            handshaking: background(config.limits.handshakes.saturating_mul(2))?,
            passing: background(config.limits.visitors)?,
            counters: Counters::new(),
            sessions: Sessions::new(),
            legs: Arc::default(),
            joins: Mutex::new(Rate::new(Instant::now())),
            visitors: Arc::default(),
            strangers: Strangers::default(),
            pipes: pipes.part(PIPES_PASSED_MAX),
            homes: HomeShares::new(pipes, PIPES_PER_HOME_MAX),
            health: Health::default(),
            coalescing: Coalescing::default(),
            connections: TaskTracker::new(),
            visiting: TaskTracker::new(),
            draining,
            stopped: CancellationToken::new(),
            config: RwLock::new(Arc::new(config)),
            reloaded: Mutex::default(),
            registry,
        })
    }

    /// The configuration in force. A connection that asks once keeps it for its life.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits so long for `future`, and not much longer once the relay drains.
    pub(crate) async fn in_time<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        tokio::select! {
            biased;
            done = timeout(limit, future) => done,
            () = self.in_a_hurry() => timeout(Duration::ZERO, pending()).await,
        }
    }

    /// Returns once the relay has drained for so long that nobody may keep those waiting who come
    /// next.
    pub(crate) async fn in_a_hurry(&self) {
        self.draining.cancelled().await;
        sleep(self.config().timings.drain_idle).await;
    }

    /// Puts another configuration in force, from the next look at it on.
    pub(crate) fn configure(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// What went wrong with a home's tunnel, for the status of all of its names. Returns whether it is
    /// something else than the last time; of a key without a name it never is.
    pub(crate) fn failed(&self, key: &HomeKey, message: &str) -> bool {
        let mut is_news = false;
        for hostname in self.registry.hostnames_of(key) {
            is_news |= self.counters.of(&hostname).failed(message);
        }
        is_news
    }
}
