//! Reads home's file again while it runs. One that cannot be used changes nothing.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{Clock, unix_ms};
use crate::status::{ReloadStatus, chain};
use crate::upstream::{Current, Upstream};

/// Where a configuration came from.
#[derive(Clone)]
pub struct Source(Arc<ReadAgain>);

type ReadAgain = dyn Fn() -> Result<Reread, Box<dyn Error + Send + Sync>> + Send + Sync;

impl Source {
    /// `read` may block on the disk. It checks what it reads as completely as at the start.
    pub fn new(
        read: impl Fn() -> Result<Reread, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(..)")
    }
}

/// What a configuration that was read again says.
#[derive(Debug)]
pub struct Reread {
    /// The servers behind home.
    pub upstreams: Vec<Upstream>,
    /// What else it says that takes a restart to be in force, a sentence each.
    pub waiting: Vec<String>,
}

/// Puts in force what home's file says now.
pub(crate) struct Reload {
    source: Option<Source>,
    upstreams: Arc<Current>,
    clock: Clock,
    /// What came of the last time.
    last: Mutex<Option<ReloadStatus>>,
}

impl Reload {
    pub(crate) fn new(source: Option<Source>, upstreams: Arc<Current>, clock: Clock) -> Self {
        Self {
            source,
            upstreams,
            clock,
            last: Mutex::default(),
        }
    }

    /// For requests from here on; those under way go on. Returns what takes a restart, or why nothing
    /// has changed. Blocks on the disk.
    pub(crate) fn reload(&self) -> Result<Vec<String>, String> {
        // Held to the end: one after the other.
        let mut last = self.lock();
        let outcome = self.attempt();
        match &outcome {
            Ok(_) => tracing::info!("home.toml is read again and in force"),
            Err(reason) => {
                tracing::warn!(
                    "home.toml cannot be used, what it said before stays in force; \
                     `cloudless home status` says why"
                );
                // Names hosts, perhaps.
                tracing::debug!(reason);
            }
        }
        *last = Some(ReloadStatus {
            at: unix_ms((self.clock)()),
            refused: outcome.as_ref().err().cloned(),
            waiting: outcome.as_ref().ok().cloned().unwrap_or_default(),
        });
        outcome
    }

    pub(crate) fn status(&self) -> Option<ReloadStatus> {
        self.lock().clone()
    }

    fn attempt(&self) -> Result<Vec<String>, String> {
        let source = self.source.as_ref();
        let source = source.ok_or("this home was configured without a file")?;
        let Reread { upstreams, waiting } = (source.0)().map_err(|error| chain(error.as_ref()))?;
        let replaced = self.upstreams.replace(upstreams);
        replaced.map_err(|error| chain(&error))?;
        Ok(waiting)
    }

    fn lock(&self) -> MutexGuard<'_, Option<ReloadStatus>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
