//! Homes that are plain SSH clients: `ssh -N -R HOST:443:localhost:443` instead of `cloudless home`.
//!
//! `russh` speaks SSH, in a task of its own for each connection; what it asks is answered by `client`.
//! A key that has a name gets that name's visitors forwarded, each in a channel, and nothing else.

mod channel;
mod client;
mod host_key;
mod link;
mod ping;
mod probe;
mod protocol;
mod pump;
mod stream;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::server::{Handle, run_stream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::listener::Connection;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::session::{Ended, Online, Session};
use crate::socket;
use client::{Client, Shared};
use stream::Guarded;

pub use host_key::{HOST_KEY_FILE, HostKey, HostKeyError};
pub(crate) use link::Link;
pub(crate) use probe::{Prober, refresh};
pub(crate) use protocol::Protocol;
pub(crate) use pump::{Stream, pump};
pub(crate) use visit::{reach, validate};

/// How long a client has to close after it was told the last word.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long after a refused request others may come that are good.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
const STOPS: &str = "the relay stops, or is started anew";

/// How SSH clients reach the relay.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// What proves the relay to them.
    pub host_key: HostKey,
    /// The port that they dial.
    pub port: u16,
}

/// Serves one connection of an SSH listener, to its end.
pub(crate) async fn serve(relay: &Arc<Relay>, connection: Connection) {
    let Some(protocol) = &relay.ssh else {
        return;
    };
    let Connection {
        stream,
        peer,
        permits,
        ..
    } = connection;
    if let Err(error) = socket::configure_accepted(&stream) {
        tracing::debug!(%error, "A connection ended before it was looked at");
        return relay.counters.count(Outcome::SshHandshakeFailed);
    }
    socket::prefer_bbr(&stream);
    socket::limit_unsent(&stream);
    let cut = CancellationToken::new();
    // However this ends, so does the task of the connection.
    let _cut = cut.clone().drop_guard();
    let shared = Arc::new(Shared::default());
    let (stream, heard, told) = Guarded::new(relay, stream, cut.clone(), Arc::clone(&shared));
    let client = Client::new(relay, peer, (heard, told), permits, Arc::clone(&shared));
    let start = run_stream(protocol.config(), stream, client);
    let start = timeout(relay.config().timings.client_hello, start);
    let started = tokio::select! {
        // A drain waits for these connections, so that each can be told.
        () = relay.draining.cancelled() => return,
        started = start => started,
    };
    let mut running = match started {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => {
            tracing::debug!(%error, "An SSH connection ended before its key exchange");
            return relay.counters.count(Outcome::SshHandshakeFailed);
        }
        Err(_) => return relay.counters.count(Outcome::SshLoginTimeout),
    };
    let handle = running.handle();
    let mut online = None;
    let last_word = tokio::select! {
        ended = &mut running => {
            if let Err(error) = &ended {
                tracing::debug!(%error, "An SSH connection failed");
            }
            match &mut online {
                Some(online) if ended.is_ok() => online.ended(Ended::ByHome),
                Some(_) => relay.counters.count(Outcome::TunnelFailed),
                // Said already why.
                None if shared.over.is_cancelled() => {}
                None if shared.proven.initialized() => {
                    relay.counters.count(Outcome::SshNothingForwarded);
                }
                None => relay.counters.count(Outcome::SshHandshakeFailed),
            }
            return;
        }
        last_word = hold(relay, &shared, &handle, &mut online) => last_word,
    };
    if let Some(text) = last_word {
        let farewell = async {
            let told = handle.disconnect(Disconnect::ByApplication, text, String::new());
            let _ = told.await;
            let _ = (&mut running).await;
        };
        if timeout(FAREWELL, farewell).await.is_ok() {
            return;
        }
    }
    cut.cancel();
    let _ = running.await;
}

/// Waits until the relay has to end the connection; returns what the client is told then, if it may
/// still hear it.
async fn hold<'a>(
    relay: &'a Arc<Relay>,
    shared: &Shared,
    handle: &Handle,
    online: &mut Option<Online<'a>>,
) -> Option<String> {
    let timings = relay.config().timings.clone();
    tokio::select! {
        _ = shared.proven.wait() => {}
        () = sleep(timings.ssh_login) => {
            relay.counters.count(Outcome::SshLoginTimeout);
            return None;
        }
        () = relay.draining.cancelled() => return Some(STOPS.to_owned()),
    }
    let session = tokio::select! {
        session = shared.session.wait() => Arc::clone(session),
        text = nothing_forwarded(shared, timings.handshake) => {
            relay.counters.count(Outcome::SshNothingForwarded);
            return Some(text);
        }
        () = shared.over.cancelled() => {
            sleep(FAREWELL).await;
            return None;
        }
        () = relay.draining.cancelled() => return Some(STOPS.to_owned()),
    };
    let online = online.insert(Online::new(relay, &session));
    let ping = ping::Ping::new(handle.clone());
    let ended = tokio::select! {
        () = session.closed.cancelled() => Ended::ByRelay,
        () = session.liveness.watch(ping, &timings) => Ended::NoAnswer,
        never = probe::watch(relay, &session) => match never {},
        () = async {
            relay.draining.cancelled().await;
            session.slots.all_free().await;
        } => Ended::ByRelay,
        () = shared.over.cancelled() => {
            session.closed.cancel();
            sleep(FAREWELL).await;
            Ended::ByRelay
        }
    };
    online.ended(ended);
    if let Ended::NoAnswer = ended {
        relay.counters.count(Outcome::TunnelSilent);
        return None;
    }
    if shared.over.is_cancelled() {
        return None;
    }
    Some(last_word(relay, &session).to_owned())
}

/// Why the relay ends this session.
fn last_word(relay: &Relay, session: &Session) -> &'static str {
    if relay.draining.is_cancelled() {
        STOPS
    } else if relay.registry.hostnames_of(&session.key).is_empty() {
        "this key has no name here any more"
    } else if relay.sessions.live(&session.key).is_some() {
        "this key has a newer connection"
    } else {
        "one of this key's names was taken from it: connect again for the others"
    }
}

/// Waits until it is clear that the client publishes nothing, and says why.
async fn nothing_forwarded(shared: &Shared, limit: Duration) -> String {
    let refused = async {
        let refusal = shared.refusal.wait().await;
        sleep(AFTER_REFUSAL).await;
        refusal.clone()
    };
    tokio::select! {
        () = sleep(limit) => "nothing is published: add -N -R HOST:443:localhost:443".to_owned(),
        refusal = refused => refusal,
    }
}
