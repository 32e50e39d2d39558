//! Whether the servers beside the relay can be reached: asked from time to time, and told when it
//! changes, but not each time where it does so all the time.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloudless_proto::proxy_protocol::{self, Version};
use cloudless_proto::{Told, UpstreamAddress};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::routes;
use crate::run::Relay;
use crate::status::{ServerStatus, unix_now};
use crate::upstream::{self, Server};

/// The servers in use and how they were reached last.
#[derive(Debug, Default)]
pub(crate) struct Health {
    servers: Mutex<BTreeMap<UpstreamAddress, Known>>,
    look: Notify,
}

#[derive(Debug)]
struct Known {
    status: ServerStatus,
    told: Told,
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
        let is_up = error.is_none();
        match (self.note(address, error), is_up) {
            (true, false) => tracing::warn!(
                "A web server that connections are passed to is out of reach; \
                 `cloudless relay status` says which"
            ),
            (true, true) => tracing::info!("A web server that was out of reach is back"),
            (false, _) => {}
        }
    }

    /// Says whether the log is to hear of it.
    fn note(&self, address: &UpstreamAddress, error: Option<String>) -> bool {
        let mut servers = self.lock();
        let known = servers.get(address);
        let is_up = error.is_none();
        let since = match known {
            Some(Known { status, .. }) if status.error.is_none() == is_up => status.since,
            _ => unix_now(),
        };
        let mut told = known.map(|known| known.told).unwrap_or_default();
        let is_due = told.is_due(is_up, Instant::now().into_std());
        let status = ServerStatus {
            address: address.clone(),
            since,
            error,
            covers: Vec::new(),
        };
        servers.insert(address.clone(), Known { status, told });
        is_due
    }

    pub(crate) fn status(&self) -> Vec<ServerStatus> {
        let servers = self.lock();
        servers.values().map(|known| known.status.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UpstreamAddress, Known>> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_flaps_is_told_once_in_a_while_and_shown_as_it_is() {
        let health = Health::default();
        let address: UpstreamAddress = "127.0.0.1:443".parse().unwrap();
        let mut lines = 0;
        for number in 0..1000 {
            let error = (number % 2 == 0).then(|| "refused".to_owned());
            lines += usize::from(health.note(&address, error.clone()));
            assert_eq!(health.status()[0].error, error);
            advance(Duration::from_millis(20)).await;
        }
        assert_eq!(lines, 5, "in 20 s");
        // What it is in the end is told in the end.
        advance(Duration::from_secs(10)).await;
        assert!(health.note(&address, None));
        assert!(!health.note(&address, None));
    }
}
