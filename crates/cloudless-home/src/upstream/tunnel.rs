//! WebSockets (RFC 6455): after the handshake, bytes between a visitor and a server.

use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::places::Place;
use crate::tunnel::{Activity, Watched};

/// From the server's word until both sides have their connections.
const SWITCH: Duration = Duration::from_secs(10);

/// The WebSockets of one connection. They end when this is dropped.
pub(crate) struct Tunnels {
    tasks: TaskTracker,
    stop: CancellationToken,
    _end: DropGuard,
}

impl Tunnels {
    /// They also end on `shutdown`: nothing says when a WebSocket would by itself.
    pub(crate) fn new(shutdown: &CancellationToken) -> Self {
        let stop = shutdown.child_token();
        Self {
            tasks: TaskTracker::new(),
            _end: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Moves bytes between both until they have ended, or none has moved for `idle`.
    pub(super) fn join(&self, visitor: OnUpgrade, server: OnUpgrade, idle: Duration, place: Place) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(copy(visitor, server, idle)).await;
            drop(place);
        });
    }

    /// Waits until none is left.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn copy(visitor: OnUpgrade, server: OnUpgrade, idle: Duration) {
    let both = timeout(SWITCH, async { tokio::try_join!(visitor, server) });
    let Ok(Ok((visitor, server))) = both.await else {
        tracing::debug!("A WebSocket was agreed on and did not begin");
        return;
    };
    let activity = Activity::new();
    let mut visitor = Watched::new(TokioIo::new(visitor), activity.clone());
    let mut server = TokioIo::new(server);
    let mut copying = std::pin::pin!(copy_bidirectional(&mut visitor, &mut server));
    loop {
        tokio::select! {
            copied = copying.as_mut() => {
                if let Err(error) = copied {
                    tracing::debug!(%error, "A WebSocket was cut");
                }
                return;
            }
            () = sleep_until(activity.last() + idle) => {
                if activity.last() + idle <= Instant::now() {
                    tracing::debug!("A WebSocket was idle");
                    return;
                }
            }
        }
    }
}

/// Whether this answer switches to a WebSocket and nothing else.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    protocols
        .next()
        .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

/// Asks for a WebSocket, or agrees to one.
pub(super) fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}
