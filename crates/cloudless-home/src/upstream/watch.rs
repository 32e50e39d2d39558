//! Whether servers behind home can be reached, also while nobody wants anything of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Upstream;
use super::connect::Connector;
use super::server::Server;
use crate::status::chain;

/// Whether a server accepts a connection, TLS included, and what is wrong if it does not.
///
/// # Errors
/// A text for the owner: what failed, with what, and why.
pub async fn reach(upstream: &Upstream) -> Result<(), String> {
    let connector = Connector::new(&upstream.server, upstream.timeouts.connect, true);
    let connector = connector.map_err(|error| chain(&error))?;
    connector
        .connect()
        .await
        .map(drop)
        .map_err(|error| chain(&error))
}

/// Tries each server now and after every interval.
pub(super) async fn watch(
    servers: &[Arc<Server>],
    interval: Duration,
    shutdown: CancellationToken,
) {
    let rounds = async {
        loop {
            let mut tries = JoinSet::new();
            for server in servers.iter().cloned() {
                tries.spawn(async move {
                    match server.connector.connect().await {
                        Ok(_) => server.failures.reached(),
                        Err(error) => server.failures.unreached(&error),
                    }
                });
            }
            while tries.join_next().await.is_some() {}
            sleep(interval).await;
        }
    };
    shutdown.run_until_cancelled(rounds).await;
}
