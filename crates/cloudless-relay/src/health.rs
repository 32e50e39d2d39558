//! Whether the servers beside the relay can be reached: asked from time to time, and told once when
//! it changes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloudless_proto::UpstreamAddress;
use cloudless_proto::proxy_protocol::{self, Version};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::routes;
use crate::run::Relay;
use crate::status::{ServerStatus, unix_now};
use crate::upstream::{self, Server};

/// The servers in use and how they were reached last.
#[derive(Debug, Default)]
pub(crate) struct Health {
    servers: Mutex<BTreeMap<UpstreamAddress, ServerStatus>>,
    look: Notify,
}

impl Health {
    /// Asks again soon: there are other servers.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    pub(crate) fn reached(&self, address: &UpstreamAddress) {
        self.set(address, None);
    }

    pub(crate) fn failed(&self, address: &UpstreamAddress, error: &io::Error) {
        self.set(address, Some(error.to_string()));
    }

    fn set(&self, address: &UpstreamAddress, error: Option<String>) {
        let mut servers = self.lock();
        let was_up = servers.get(address).is_none_or(|it| it.error.is_none());
        let is_up = error.is_none();
        let since = match servers.get(address) {
            Some(status) if was_up == is_up => status.since,
            _ => unix_now(),
        };
        let status = ServerStatus {
            address: address.clone(),
            since,
            error,
            covers: Vec::new(),
        };
        servers.insert(address.clone(), status);
        drop(servers);
        if was_up && !is_up {
            tracing::warn!(
                "A web server that connections are passed to is out of reach; \
                 `cloudless relay status` says which"
            );
        } else if is_up && !was_up {
            tracing::info!("A web server that was out of reach is back");
        }
    }

    pub(crate) fn status(&self) -> Vec<ServerStatus> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UpstreamAddress, ServerStatus>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks all servers again and again until the relay drains.
pub(crate) async fn watch(relay: Arc<Relay>) {
    let mut rounds = interval(relay.config().timings.health_check);
    loop {
        tokio::select! {
            () = relay.draining.cancelled() => return,
            _ = rounds.tick() => {}
            () = relay.health.look.notified() => {}
        }
        tokio::select! {
            () = relay.draining.cancelled() => return,
            () = round(&relay) => {}
        }
    }
}

async fn round(relay: &Arc<Relay>) {
    let config = relay.config();
    let servers = routes::all(&config.fallback, &config.routes);
    let health = &relay.health;
    health
        .lock()
        .retain(|address, _| servers.contains_key(address));
    let mut checks = JoinSet::new();
    for (address, version) in servers {
        let relay = Arc::clone(relay);
        let deadline = config.timings.connect;
        checks.spawn(async move {
            let checked = timeout(deadline, check(&address, version)).await;
            match checked.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                Ok(()) => relay.health.reached(&address),
                Err(error) => relay.health.failed(&address, &error),
            }
        });
    }
    while checks.join_next().await.is_some() {}
}

/// Connects and closes. A server that expects a header gets one that says it is nobody's connection.
async fn check(address: &UpstreamAddress, version: Option<Version>) -> io::Result<()> {
    let header = version.map(|version| proxy_protocol::encode(version, None));
    match upstream::connect(address, &header.unwrap_or_default()).await? {
        Server::Tcp(stream) => drop(stream),
        Server::Unix(stream) => drop(stream),
    }
    Ok(())
}
