//! Plain HTTP for programs on this machine.

use std::sync::Arc;
use std::time::Duration;

use cloudless_carddav::CardDav;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Timings;
use crate::http::{self, Hosts, Site};

/// Connections at one time on one listener; further ones wait.
const CONNECTIONS_MAX: usize = 256;
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a loopback listener until `shutdown`, then finishes the requests under way.
pub(crate) async fn serve(
    listener: TcpListener,
    carddav: CardDav,
    timings: Timings,
    shutdown: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            permit = permits.clone().acquire_owned() => {
                // The semaphore is never closed.
                let Ok(permit) = permit else { break };
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    accepted = listener.accept() => accepted.map(|(stream, _)| (stream, permit)),
                }
            }
        };
        match accepted
            .and_then(|(stream, permit)| stream.set_nodelay(true).map(|()| (stream, permit)))
        {
            Ok((stream, permit)) => {
                let (carddav, timings, shutdown) =
                    (carddav.clone(), timings.clone(), shutdown.clone());
                connections.spawn(async move {
                    let site = Site {
                        hosts: Hosts::Loopback,
                        carddav,
                        behind: None,
                    };
                    http::serve(stream, site, &timings, shutdown).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "Cannot accept on a local listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}
