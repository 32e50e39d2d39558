//! One home's session: HTTP/2 over its tunnel, with the relay as the client.

mod control;
mod join;
mod refused;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloudless_http2::{PingPong, client};
use cloudless_proto::control::{
    self as messages, DecodeError, FRAME_LEN, FromHome, FromRelay, Reach, Refusal, VERSION,
};
use cloudless_proto::ssh::Port;
use cloudless_proto::takeover::SessionId;
use cloudless_proto::{Hostname, PublicKey};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::SOFTWARE;
use crate::activity::Activity;
use crate::budget::Budget;
use crate::config::Config;
use crate::home_key::HomeKey;
use crate::legs::OfSession;
use crate::listener::Permits;
use crate::liveness::{Heard, Liveness};
use crate::outcome::Outcome;
use crate::reach::{Looked, Reaches};
use crate::run::Relay;
use crate::sessions::NotInstalled;
use crate::slots::Slots;
use crate::ssh;
use crate::status::unix_now;
use crate::tunnel::{Home, Tunnel};
use control::{Control, ControlError};
use join::join;
use refused::Refused;

const HTTP2: cloudless_http2::Config = cloudless_http2::Config {
    // What a home may send to one visitor ahead of it.
    stream_window: 2 * 1024 * 1024,
    frame_len: FRAME_LEN as u32,
    streams_max: 0,
    header_list_len: 16 * 1024,
};
/// How long a home has to close after it was told the last word.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long homes wait before they dial again when the relay shuts down.
const RETRY_AFTER_DRAIN_MS: u64 = 1000;
/// Messages that wait to be sent to a home. One that takes none of so many loses its session.
const MESSAGES_MAX: usize = 64;
/// Room among them that is not for legs, which can wait.
const MESSAGES_RESERVED: usize = 16;

/// A session that serves visitors.
#[derive(Debug)]
pub(crate) struct Session {
    /// Tells this session from every other one of this process.
    pub(crate) number: u64,
    pub(crate) key: HomeKey,
    /// Unix time in seconds.
    pub(crate) since: u64,
    pub(crate) liveness: Liveness,
    pub(crate) budget: Arc<Budget>,
    pub(crate) slots: Arc<Slots>,
    /// Cancelled to end the session and all of its streams at once, and once it has ended.
    pub(crate) closed: CancellationToken,
    pub(crate) link: Link,
}

/// The way to a home.
#[derive(Debug)]
pub(crate) enum Link {
    Ssh(ssh::Link),
    Tunnel(TunnelLink),
}

/// The way to a home through its tunnel.
#[derive(Debug)]
pub(crate) struct TunnelLink {
    /// Opens streams to the home.
    pub(crate) requests: client::Requests,
    /// What its legs have in common; `None` when the home dials none.
    pub(crate) legs: Option<Arc<OfSession>>,
    reaches: Reaches,
    messages: mpsc::Sender<FromRelay>,
}

impl Session {
    /// One whose home says and hears nothing.
    #[cfg(test)]
    pub(crate) fn idle(number: u64, key: HomeKey) -> Arc<Self> {
        let (pipe, _) = tokio::io::duplex(1);
        let tunnel = tokio::io::BufReader::new(pipe);
        let (requests, _) = client::connect(tunnel, HTTP2);
        let (messages, _) = mpsc::channel(MESSAGES_MAX);
        Arc::new(Self {
            number,
            key,
            since: unix_now(),
            liveness: Liveness::new(Arc::new(Activity::new())),
            budget: Budget::new(0),
            slots: Arc::default(),
            closed: CancellationToken::new(),
            link: Link::Tunnel(TunnelLink {
                requests,
                legs: None,
                reaches: Reaches::new(false),
                messages,
            }),
        })
    }

    /// Queues a message to the home. An SSH client understands none.
    pub(crate) fn tell(&self, message: FromRelay) {
        if let Link::Tunnel(link) = &self.link
            && link.messages.try_send(message).is_err()
        {
            self.closed.cancel();
        }
    }

    /// Queues a message to the home if there is room for one that does not matter.
    pub(crate) fn mention(&self, message: FromRelay) -> bool {
        let Link::Tunnel(TunnelLink { messages, .. }) = &self.link else {
            return false;
        };
        messages.capacity() > MESSAGES_RESERVED && messages.try_send(message).is_ok()
    }

    /// What is known of whether visitors of this name are answered. The relay looks at what an SSH
    /// client has forwarded, if it `probes`; any other home looks itself.
    pub(crate) fn looked(&self, hostname: &Hostname, probes: bool) -> Looked {
        match &self.link {
            Link::Ssh(_) if !probes => Looked::Nobody,
            Link::Ssh(link) => link.probe(hostname).map_or(Looked::NotYet, Looked::Found),
            Link::Tunnel(link) => link.reaches.of(hostname),
        }
    }

    /// The home has told whether visitors reach it under a name.
    fn told(&self, relay: &Relay, hostname: Hostname, reach: (Reach, Option<String>)) {
        let Link::Tunnel(link) = &self.link else {
            return;
        };
        let is_own = |hostname: &Hostname| relay.registry.key_of(hostname) == Some(self.key);
        link.reaches.told(hostname, reach, unix_now(), is_own);
    }

    /// Whether visitors of this name and port can be brought to the home. A tunnel takes them all, and
    /// home says itself which it does not want.
    pub(crate) fn takes(&self, hostname: &Hostname, port: Port) -> bool {
        match &self.link {
            Link::Ssh(link) => link.has(hostname, port),
            Link::Tunnel(_) => true,
        }
    }
}

/// Serves a home whose key is proven, until its session ends.
pub(crate) async fn serve(relay: &Arc<Relay>, tunnel: Tunnel, home: Home, permits: Permits) {
    let tunnel = Heard::new(tunnel);
    let heard = tunnel.heard();
    let (requests, connection) = client::connect(tunnel, HTTP2);
    let ping_pong = connection.ping_pong();
    let mut connection = pin!(connection);
    let is_over = AtomicBool::new(false);
    let dialog = Dialog {
        relay,
        is_over: &is_over,
        config: relay.config(),
        home,
        permits,
        requests,
        ping_pong,
        heard,
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        ending = dialog.hold() => match ending {
            Ending::Now => Ok(()),
            // What was said last may still have to be sent.
            Ending::Polite => timeout(FAREWELL, connection).await.unwrap_or(Ok(())),
        },
    };
    if let Err(error) = ended {
        // Who has heard the last word may hang up as they like.
        if is_over.into_inner() {
            return tracing::debug!(%error, "A home hung up");
        }
        tracing::debug!(%error, "A tunnel failed");
        relay.counters.count(Outcome::TunnelFailed);
    }
}

/// How a tunnel ends after the dialog.
enum Ending {
    /// The home was told the last word and may close first.
    Polite,
    /// With all of its streams, without another word.
    Now,
}

/// What relay and home have to say to one another.
struct Dialog<'a> {
    relay: &'a Arc<Relay>,
    /// Set once the last word is said.
    is_over: &'a AtomicBool,
    config: Arc<Config>,
    home: Home,
    permits: Permits,
    requests: client::Requests,
    ping_pong: PingPong,
    heard: Arc<Activity>,
}

impl Dialog<'_> {
    async fn hold(self) -> Ending {
        let relay = self.relay;
        let opening = async {
            let mut control = Control::open(&self.requests, &self.config.server_name).await?;
            let message = control.next().await;
            Ok::<_, ControlError>((control, message))
        };
        let (control, message) = match timeout(self.config.timings.handshake, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                tracing::debug!(%error, "A home opened no control stream");
                relay.counters.count(Outcome::TunnelHandshakeFailed);
                return Ending::Now;
            }
            Err(_) => {
                relay.counters.count(Outcome::TunnelHandshakeTimeout);
                return Ending::Now;
            }
        };
        let last_word = match message {
            Ok(FromHome::Hello {
                instance,
                epoch,
                legs,
                probes,
                ..
            }) => {
                let id = SessionId { instance, epoch };
                return self.serve(control, id, (legs, probes)).await;
            }
            Ok(FromHome::Join {
                hostname, secret, ..
            }) => join(relay, &self.home, hostname, secret).await,
            Err(ControlError::Malformed(DecodeError::Version { version })) => {
                let message = messages::skew(version, u64::from(VERSION));
                if relay.failed(&self.home.key.into(), &message) {
                    tracing::warn!("A home is refused: {message}");
                }
                Err(Refused::new(Refusal::Version, &message))
            }
            Ok(FromHome::Pinned { .. } | FromHome::Reach { .. })
            | Err(ControlError::Malformed(_) | ControlError::TooLong(_)) => Err(Refused::new(
                Refusal::Malformed,
                "the first line is no message",
            )),
            Err(_) => {
                relay.counters.count(Outcome::TunnelHandshakeFailed);
                return Ending::Now;
            }
        };
        let last_word = match last_word {
            Ok(hostname) => {
                relay.counters.count(Outcome::Joined);
                FromRelay::Joined { hostname }
            }
            Err(refused) => refused.counted(relay),
        };
        finish(control, &last_word, self.is_over).await
    }

    /// Serves visitors until the session ends.
    async fn serve(
        self,
        mut control: Control,
        id: SessionId,
        (legs, probes): (bool, bool),
    ) -> Ending {
        let Self {
            relay,
            is_over,
            config,
            home,
            mut permits,
            requests,
            ping_pong,
            heard,
        } = self;
        let key = HomeKey::from(home.key);
        let hostnames = relay.registry.hostnames_of(&key);
        if hostnames.is_empty() {
            let refused = Refused::new(
                Refusal::UnknownKey,
                "no name belongs to this key: join first",
            );
            return finish(control, &refused.counted(relay), is_over).await;
        }
        let (messages, mut outbox) = mpsc::channel(MESSAGES_MAX);
        let newcomer = relay.sessions.newcomer(key, id);
        let session = Arc::new(Session {
            number: newcomer.number,
            key,
            since: unix_now(),
            liveness: Liveness::new(heard),
            budget: Budget::new(config.limits.queued_bytes_per_home),
            slots: Arc::default(),
            closed: CancellationToken::new(),
            link: Link::Tunnel(TunnelLink {
                requests,
                legs: legs.then(Arc::default),
                reaches: Reaches::new(probes),
                messages,
            }),
        });
        let keys = relay.keys.public();
        let mut watch = pin!(session.liveness.watch(ping_pong, &config.timings));
        let welcome = FromRelay::Welcome {
            version: VERSION,
            software: SOFTWARE.to_owned(),
            hostnames: hostnames.clone(),
            keys: keys.clone(),
        };
        // The welcome is queued before the first visitor can be.
        let (sessions_max, probe) = (config.limits.sessions, config.timings.probe);
        let install = relay
            .sessions
            .install(newcomer, &session, sessions_max, probe, || {
                control.queue(&welcome)
            });
        let installed = tokio::select! {
            () = &mut watch => return Ending::Now,
            installed = install => installed,
        };
        let _installed = match installed {
            Ok(Ok(installed)) => installed,
            Ok(Err(error)) => {
                tracing::debug!(%error, "A home was gone before its welcome");
                return Ending::Now;
            }
            Err(NotInstalled::Full) => {
                relay.counters.count(Outcome::SessionLimit);
                return finish(control, &Refused::full().counted(relay), is_over).await;
            }
            Err(NotInstalled::Refused(refusal)) => {
                if refusal == Refusal::OtherInstance {
                    let message = "a second machine with the same key was refused";
                    relay.failed(&key, message);
                    if let Some(session) = relay.sessions.live(&key) {
                        session.mention(FromRelay::OtherInstance);
                    }
                }
                let refused = Refused::new(refusal, "this key has another session");
                return finish(control, &refused.counted(relay), is_over).await;
            }
        };
        permits.decided();
        relay.counters.count(Outcome::Session);
        let mut online = Online::new(relay, &session);
        tracing::debug!(session = session.number, key = %home.key, address = %home.address);
        // Names may have come or gone after the first look and before there was a session to tell.
        let names_now = relay.registry.hostnames_of(&key);
        if names_now.is_empty() {
            return Ending::Now;
        }
        if names_now != hostnames {
            session.tell(FromRelay::Hostnames {
                hostnames: names_now,
            });
        }
        let keys_now = relay.keys.public();
        if keys_now != keys {
            session.tell(FromRelay::Keys { keys: keys_now });
        }
        let mut drained = false;
        let ended = loop {
            let message = tokio::select! {
                () = session.closed.cancelled() => break Ended::ByRelay,
                () = &mut watch => break Ended::NoAnswer,
                Some(message) = outbox.recv() => message,
                () = relay.draining.cancelled(), if !drained => {
                    drained = true;
                    FromRelay::Drain { retry_after_ms: RETRY_AFTER_DRAIN_MS }
                }
                message = control.next() => match message {
                    Ok(FromHome::Pinned { key }) => {
                        pinned(relay, home.key, key).await;
                        continue;
                    }
                    Ok(FromHome::Reach { hostname, reach, message }) => {
                        session.told(relay, hostname, (reach, message));
                        continue;
                    }
                    // A session is opened once; saying more is for later versions.
                    Ok(_) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "A home's control stream ended");
                        break Ended::ByHome;
                    }
                },
            };
            match timeout(config.timings.handshake, control.send(&message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => break Ended::Deaf,
            }
        };
        online.ended(ended);
        if matches!(ended, Ended::NoAnswer | Ended::Deaf) {
            relay.counters.count(Outcome::TunnelSilent);
        }
        Ending::Now
    }
}

/// Why a session that was up is no more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    ByHome,
    ByRelay,
    /// The home takes no messages.
    Deaf,
    /// The home answers no ping.
    NoAnswer,
}

impl Ended {
    fn reason(self) -> &'static str {
        match self {
            Self::ByHome => "closed by the home",
            Self::ByRelay => "closed by the relay",
            Self::Deaf => "messages not taken",
            Self::NoAnswer => "no answer",
        }
    }
}

/// A home that is online, and told to be offline once this is dropped: a connection that breaks
/// takes its dialog along.
pub(crate) struct Online<'a> {
    relay: &'a Relay,
    key: HomeKey,
    number: u64,
    reason: &'static str,
}

impl<'a> Online<'a> {
    pub(crate) fn new(relay: &'a Relay, session: &Session) -> Self {
        tracing::info!(session = session.number, "A home is online");
        Self {
            relay,
            key: session.key,
            number: session.number,
            reason: "the connection broke",
        }
    }

    pub(crate) fn ended(&mut self, ended: Ended) {
        self.reason = ended.reason();
    }
}

impl Drop for Online<'_> {
    fn drop(&mut self) {
        let Self { number, reason, .. } = self;
        let live = self.relay.sessions.live(&self.key);
        if live.is_some_and(|live| live.number != *number) {
            tracing::debug!(
                session = *number,
                reason,
                "A session has ended, a newer one serves"
            );
            return;
        }
        tracing::info!(session = *number, reason, "A home is offline");
        self.relay
            .failed(&self.key, &format!("the tunnel ended: {reason}"));
    }
}

/// Keeps that a home trusts the relay by `relay_key`.
async fn pinned(relay: &Relay, home: PublicKey, relay_key: PublicKey) {
    if relay.keys.newest() != relay_key || relay.registry.has_pinned(&home) {
        return;
    }
    let registry = relay.registry.clone();
    let kept = tokio::task::spawn_blocking(move || registry.pinned(home, relay_key));
    if let Err(error) = kept.await {
        tracing::error!(%error, "That a home knows the next key is not kept");
    }
}

/// Tells a home the last word of its session.
async fn finish(control: Control, last_word: &FromRelay, is_over: &AtomicBool) -> Ending {
    is_over.store(true, Ordering::Relaxed);
    match timeout(FAREWELL, control.finish(last_word)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "A home left before the last word"),
        Err(_) => tracing::debug!("A home did not leave after the last word"),
    }
    Ending::Polite
}
