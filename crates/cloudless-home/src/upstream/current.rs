//! The servers behind home that are in force, which a reload replaces.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::server::Server;
use super::watch as health;
use super::{RouteError, Upstream, Upstreams};
use crate::config::Clock;
use crate::status::UpstreamStatus;

/// The servers of this moment.
pub(crate) struct Current {
    upstreams: watch::Sender<Arc<Upstreams>>,
    clock: Clock,
    /// The connections to them, and to those of before.
    tasks: TaskTracker,
    /// Ends these.
    stop: CancellationToken,
}

impl Current {
    pub(crate) fn new(configured: Vec<Upstream>, clock: &Clock) -> Result<Self, RouteError> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let server = |upstream| Server::new(upstream, clock, &tasks, &stop).map(Arc::new);
        let upstreams = Upstreams::new(configured, server)?;
        Ok(Self {
            upstreams: watch::channel(Arc::new(upstreams)).0,
            clock: clock.clone(),
            tasks,
            stop,
        })
    }

    /// Those for a request that begins now.
    pub(crate) fn get(&self) -> Arc<Upstreams> {
        self.upstreams.borrow().clone()
    }

    /// Puts others in force for requests from here on; what is under way goes on. A server that is
    /// configured as before keeps its connections and counts.
    pub(crate) fn replace(&self, configured: Vec<Upstream>) -> Result<(), RouteError> {
        let before = self.get();
        let server = |upstream: Upstream| match before.find_same(&upstream) {
            Some(server) => Ok(server),
            None => Server::new(upstream, &self.clock, &self.tasks, &self.stop).map(Arc::new),
        };
        let upstreams = Upstreams::new(configured, server)?;
        self.upstreams.send_replace(Arc::new(upstreams));
        Ok(())
    }

    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        self.get().status()
    }

    /// Looks after the servers' health until `shutdown`, and at once after they were replaced.
    pub(crate) async fn watch(&self, interval: Duration, shutdown: CancellationToken) {
        let mut changes = self.upstreams.subscribe();
        loop {
            let upstreams = changes.borrow_and_update().clone();
            tokio::select! {
                () = health::watch(upstreams.servers(), interval, shutdown.clone()) => return,
                Ok(()) = changes.changed() => {}
            }
        }
    }

    /// Closes all connections to the servers, once nobody is served any more.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
