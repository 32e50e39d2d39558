//! The visitors of one tunnel as tasks. One on a leg outlives the session that brought it.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Who waits for a tunnel's visitors, and how they are told to end.
#[derive(Clone, Debug)]
pub(crate) struct Visits {
    pub(super) tasks: TaskTracker,
    /// Home stops: a request under way is the last.
    pub(super) stopping: CancellationToken,
    /// The relay stops: the same, for those who are there.
    pub(super) draining: Arc<Notify>,
    /// There is a new session: a leg that comes from nowhere is dropped.
    pub(super) welcomed: Arc<Notify>,
    /// Whoever is still there ends at once.
    pub(super) cut: CancellationToken,
}

impl Visits {
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        Self {
            tasks: TaskTracker::new(),
            stopping,
            draining: Arc::default(),
            welcomed: Arc::default(),
            cut: CancellationToken::new(),
        }
    }

    /// Returns when all have ended; at the deadline they are made to.
    pub(super) async fn end(&self, deadline: Instant) {
        self.tasks.close();
        let _ = timeout_at(deadline, self.tasks.wait()).await;
        self.cut.cancel();
        self.tasks.wait().await;
    }
}
