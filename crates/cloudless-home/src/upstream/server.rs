//! One server behind home: its pools of connections, and how it fares.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudless_proto::Hostname;
use hyper::rt::Executor;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::RequestBody;
use super::connect::Connector;
use super::path::UpstreamPath;
use super::places::Places;
use super::{RouteError, Upstream, UpstreamServer, UpstreamTimeouts};
use crate::config::{Clock, unix_ms};
use crate::reach::Reach;
use crate::status::{PastError, UpstreamStatus, chain};

/// Connections kept for the next request, and how long: less than servers keep theirs, so that
/// seldom one is closed just when it is used.
const IDLE_MAX: usize = 32;
const IDLE: Duration = Duration::from_secs(4);
/// The head of an answer.
const HEAD_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
/// What a server may send ahead of the reading, HTTP/2.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const STREAM_SEND_BUFFER: usize = 64 * 1024;

/// A visitor may keep a server waiting for so long, or as long as `idle` where that is less, before
/// its request makes room for others when all places are taken.
const STALLED_MAX: Duration = Duration::from_secs(10);

/// One server behind home.
pub(crate) struct Server {
    upstream: Upstream,
    /// For requests.
    pub(super) client: Client<Connector, RequestBody>,
    /// For requests that end as a WebSocket, over HTTP/1.1 also where the server speaks HTTP/2.
    pub(super) upgrading: Client<Connector, RequestBody>,
    pub(super) connector: Connector,
    pub(super) places: Places,
    pub(super) failures: Failures,
    requests: AtomicU64,
}

impl Server {
    pub(super) fn new(
        upstream: Upstream,
        clock: &Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, RouteError> {
        let connector = |h2| {
            let limit = upstream.timeouts.connect;
            let connector = Connector::new(&upstream.server, limit, h2);
            connector.map_err(|source| RouteError::Tls {
                server: upstream.server.to_string(),
                source,
            })
        };
        let owned = Owned {
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let upgrading = connector(false)?;
        Ok(Self {
            client: client(connector(true)?, owned.clone()),
            upgrading: client(upgrading.clone(), owned),
            connector: upgrading,
            places: Places::new(STALLED_MAX.min(upstream.timeouts.idle)),
            failures: Failures::new(clock.clone()),
            requests: AtomicU64::new(0),
            upstream,
        })
    }

    /// Whether it is configured so.
    pub(super) fn is(&self, upstream: &Upstream) -> bool {
        self.upstream == *upstream
    }

    pub(super) fn hostname(&self) -> Option<&Hostname> {
        self.upstream.hostname.as_ref()
    }

    pub(super) fn path(&self) -> &UpstreamPath {
        &self.upstream.path
    }

    pub(super) fn timeouts(&self) -> UpstreamTimeouts {
        self.upstream.timeouts
    }

    /// What is taken from the beginning of paths.
    pub(super) fn stripped(&self) -> &str {
        if self.upstream.strip_prefix {
            self.upstream.path.prefix()
        } else {
            ""
        }
    }

    /// The scheme of the URLs that the server is asked for.
    pub(super) fn scheme(&self) -> &'static str {
        match self.upstream.server {
            UpstreamServer::Https { .. } => "https",
            UpstreamServer::Http(_) | UpstreamServer::Unix(_) => "http",
        }
    }

    pub(super) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn status(&self) -> UpstreamStatus {
        let state = self.failures.lock();
        UpstreamStatus {
            hostname: self.upstream.hostname.clone(),
            path: self.upstream.path.to_string(),
            server: self.upstream.server.to_string(),
            error: state.reach.error().map(str::to_owned),
            last_error: state.last.clone(),
            requests_now: self.places.count(),
            requests_total: self.requests.load(Ordering::Relaxed),
            failures_total: state.count,
        }
    }
}

fn client(connector: Connector, owned: Owned) -> Client<Connector, RequestBody> {
    Client::builder(owned)
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(HEAD_MAX)
        .http1_max_headers(HEADERS_MAX)
        .http2_max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_send_buf_size(STREAM_SEND_BUFFER)
        .build(connector)
}

/// What went wrong with one server.
#[derive(Clone)]
pub(super) struct Failures {
    state: Arc<Mutex<State>>,
    clock: Clock,
}

#[derive(Default)]
struct State {
    reach: Reach,
    last: Option<PastError>,
    count: u64,
}

impl Failures {
    fn new(clock: Clock) -> Self {
        let state = Arc::default();
        Self { state, clock }
    }

    /// An answer did not come, or was no HTTP, or broke off.
    pub(super) fn note(&self, error: &dyn Error) {
        self.lock().count += 1;
        self.keep(chain(error));
    }

    /// The server was not reached.
    pub(super) fn unreached(&self, error: &dyn Error) {
        let message = chain(error);
        let is_news = self.lock().reach.note(Some(message.clone()));
        self.keep(message);
        if is_news {
            tracing::warn!("A server behind home ([[upstream]]) is out of reach; see the status");
        }
    }

    /// The server was reached.
    pub(super) fn reached(&self) {
        if self.lock().reach.note(None) {
            tracing::info!("A server behind home ([[upstream]]) is reached again");
        }
    }

    fn keep(&self, message: String) {
        let at = unix_ms((self.clock)());
        self.lock().last = Some(PastError { message, at });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the tasks of connections where somebody can end them and wait for it.
#[derive(Clone)]
struct Owned {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<F> Executor<F> for Owned
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(future).await;
        });
    }
}
