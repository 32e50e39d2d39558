//! Reads the relay's files again while it runs. A file that cannot be used changes nothing.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, PoisonError};

use cloudless_proto::control::FromRelay;

use crate::admin::chain;
use crate::config::Config;
use crate::identity::public_key;
use crate::run::Relay;
use crate::status::{ReloadStatus, Reloads, unix_now};

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

/// A configuration that was read again.
#[derive(Debug)]
pub struct Reread {
    /// What it says. Its `source` is not looked at.
    pub config: Config,
    /// What else it says that takes a restart to be in force, a sentence each.
    pub waiting: Vec<String>,
}

/// Puts in force what the relay's files say now, for connections from here on; those that are open
/// stay, but for visitors of a name that is not their home's any more. Returns what takes a restart,
/// or why nothing has changed. Blocks on the disk.
pub(crate) fn reload(relay: &Relay) -> Result<Vec<String>, String> {
    // Held to the end: one after the other.
    let mut reloaded = relay
        .reloaded
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let outcome = attempt(relay);
    match &outcome {
        Ok(_) => {
            reloaded.0.taken += 1;
            tracing::info!("The relay's files are read again and in force");
        }
        Err(reason) => {
            reloaded.0.refused += 1;
            tracing::warn!(
                "The relay's files cannot be used, what they said before stays in force; \
                 `cloudless relay status` says why"
            );
            // Names hosts, perhaps.
            tracing::debug!(reason);
        }
    }
    reloaded.1 = Some(ReloadStatus {
        at: unix_now(),
        refused: outcome.as_ref().err().cloned(),
        waiting: outcome.as_ref().ok().cloned().unwrap_or_default(),
    });
    outcome
}

/// How often it was done, and what came of the last time.
pub(crate) fn status(relay: &Relay) -> (Reloads, Option<ReloadStatus>) {
    let reloaded = relay.reloaded.lock();
    reloaded.unwrap_or_else(PoisonError::into_inner).clone()
}

fn attempt(relay: &Relay) -> Result<Vec<String>, String> {
    let current = relay.config();
    let source = current.source.clone();
    let source = source.ok_or("this relay was configured without a file")?;
    let Reread {
        mut config,
        mut waiting,
    } = (source.0)().map_err(|error| chain(error.as_ref()))?;
    if config.server_name != current.server_name {
        waiting.push(format!(
            "`server_name` stays {}: homes dial it, and those that joined would have to join again",
            current.server_name
        ));
        config.server_name = current.server_name.clone();
    }
    let is_proven = |key| relay.keys.public().contains(&key);
    if !public_key(&config.identity).is_ok_and(is_proven) {
        waiting.push(
            "the relay's key stays: homes that joined trust no other; put it back, and change it \
             with `cloudless relay rotate-key`"
                .to_owned(),
        );
        config.identity = current.identity.clone_key();
    }
    config.source = Some(source);
    let hostnames = |relay: &Relay| -> Vec<_> {
        let rows = relay.registry.homes();
        rows.into_iter().map(|row| row.hostname).collect()
    };
    let before = hostnames(relay);
    let changed = relay.registry.reload(&config.routes, unix_now());
    let changed = changed.map_err(|error| chain(&error))?;
    relay.configure(config);
    relay.health.look();
    relay.coalescing.look();
    if !changed.is_empty() {
        relay.sessions.names_changed();
    }
    for key in changed {
        let names = relay.registry.hostnames_of(&key);
        if names.is_empty() {
            relay.sessions.close(&key);
        } else if let Some(session) = relay.sessions.live(&key) {
            session.tell(FromRelay::Hostnames { hostnames: names });
        }
    }
    for hostname in before {
        if relay.registry.key_of(&hostname).is_none() {
            relay.counters.forget(&hostname);
        }
    }
    Ok(waiting)
}
