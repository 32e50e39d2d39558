//! What an SSH client asks for, and what it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::control::Refusal;
use cloudless_proto::ssh::{Fingerprint, Forward};
use cloudless_proto::takeover::{Instance, SessionId};
use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect};
use tokio::sync::SetOnce;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Link;
use crate::activity::Activity;
use crate::budget::Budget;
use crate::home_key::HomeKey;
use crate::listener::Permits;
use crate::liveness::Liveness;
use crate::outcome::Outcome;
use crate::run::Relay;
use crate::session::{self, Session};
use crate::sessions::{Installed, NotInstalled};
use crate::status::unix_now;

/// Requests of one connection that may be refused before it is ended. A client with this many has been
/// told why by then.
const REFUSED_MAX: usize = 64;
/// A client that sends is told something at least this often. `ssh` takes the relay for dead when it hears
/// nothing for a while, and what it asks first waits behind all that it sends.
const REASSURANCE: Duration = Duration::from_secs(1);
/// RFC 4254 section 5.1.
const PROHIBITED: u32 = 1;

/// What the task of a connection tells the one that holds it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The key that the client has proven.
    pub(super) proven: SetOnce<HomeKey>,
    /// Its session, from its first forward on.
    pub(super) session: SetOnce<Arc<Session>>,
    /// The first forward that was refused, in words for the client.
    pub(super) refusal: SetOnce<String>,
    /// Cancelled when the client was told the last word.
    pub(super) over: CancellationToken,
}

/// The relay as one SSH client sees it.
pub(super) struct Client {
    relay: Arc<Relay>,
    peer: SocketAddr,
    heard: Arc<Activity>,
    told: Arc<Activity>,
    reassured: Instant,
    permits: Permits,
    shared: Arc<Shared>,
    installed: Option<Installed>,
    n_refused: usize,
    /// The relay waits for the end of the task that has this.
    _running: TaskTrackerToken,
}

impl Client {
    pub(super) fn new(
        relay: &Arc<Relay>,
        peer: SocketAddr,
        (heard, told): (Arc<Activity>, Arc<Activity>),
        permits: Permits,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            relay: Arc::clone(relay),
            peer,
            heard,
            told,
            reassured: Instant::now(),
            permits,
            shared,
            installed: None,
            n_refused: 0,
            _running: relay.connections.token(),
        }
    }

    /// The key, if it has a name.
    fn known(&self, key: &PublicKey) -> Option<HomeKey> {
        let key = HomeKey::Ssh(Fingerprint::of(&key.to_bytes().ok()?));
        (!self.relay.registry.hostnames_of(&key).is_empty()).then_some(key)
    }

    /// Ends the connection with a message that the client shows.
    fn end(&self, session: &mut russh::server::Session, text: &str) -> Result<(), russh::Error> {
        self.shared.over.cancel();
        session.disconnect(Disconnect::ByApplication, text, "")
    }

    /// Counts a request that is refused, of which there may not be too many.
    fn refuse(&mut self, session: &mut russh::server::Session) -> Result<(), russh::Error> {
        self.n_refused += 1;
        if self.n_refused > REFUSED_MAX {
            self.relay.counters.count(Outcome::SshRefused);
            return self.end(session, "too many requests that are refused here");
        }
        Ok(())
    }

    /// Refuses a channel that the client wants to open.
    async fn refuse_channel(
        &mut self,
        reply: ChannelOpenHandle,
        session: &mut russh::server::Session,
        text: &str,
    ) -> Result<(), russh::Error> {
        let reason = ChannelOpenFailure::Other {
            code: PROHIBITED,
            reason: text.to_owned(),
        };
        reply.reject(reason).await;
        self.refuse(session)
    }

    /// Refuses to forward something.
    fn refuse_forward(
        &mut self,
        session: &mut russh::server::Session,
        text: String,
    ) -> Result<bool, russh::Error> {
        // `ssh` shows it with -v; what it shows otherwise says nothing of the cause.
        session.debug(true, &text, "")?;
        let _ = self.shared.refusal.set(text);
        self.refuse(session)?;
        Ok(false)
    }

    /// Makes this connection the session of its key.
    async fn install(
        &mut self,
        key: HomeKey,
        handle: russh::server::Handle,
    ) -> Result<Arc<Session>, &'static str> {
        let relay = &self.relay;
        let config = relay.config();
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| "the relay cannot take homes at the moment")?;
        // A client says nothing that tells its connections from those of another with its key.
        let id = SessionId {
            instance: Instance::new(random),
            epoch: 0,
        };
        let newcomer = relay.sessions.newcomer(key, id);
        let session = Arc::new(Session {
            number: newcomer.number,
            key,
            since: unix_now(),
            liveness: Liveness::new(Arc::clone(&self.heard)),
            budget: Budget::new(config.limits.queued_bytes_per_home),
            slots: Arc::default(),
            closed: CancellationToken::new(),
            link: session::Link::Ssh(Link::new(handle, relay.connections.clone())),
        });
        let (max, probe) = (config.limits.sessions, config.timings.probe);
        let welcome = || Ok::<_, std::convert::Infallible>(());
        let installed = relay
            .sessions
            .install(newcomer, &session, max, probe, welcome);
        match installed.await {
            Ok(Ok(installed)) => self.installed = Some(installed),
            Ok(Err(never)) => match never {},
            Err(NotInstalled::Full) => {
                relay.counters.count(Outcome::SessionLimit);
                return Err("as many homes are connected as may be: try again later");
            }
            Err(NotInstalled::Refused(refusal)) => {
                if refusal == Refusal::OtherInstance {
                    relay.failed(&key, "a second connection with the same key was refused");
                }
                relay.counters.count(refusal.into());
                return Err("another connection with this key is alive: end that one first");
            }
        }
        relay.counters.count(Outcome::Session);
        tracing::debug!(session = session.number, %key, address = %self.peer, "A home came by SSH");
        self.permits.decided();
        Ok(session)
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(match self.known(offer.public_key) {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        match self.known(key.public_key) {
            Some(key) => {
                let _ = self.shared.proven.set(key);
                // Strangers who begin to log in without end do not push it out any more.
                self.permits.settle();
                Ok(Auth::Accept)
            }
            None => Ok(Auth::reject()),
        }
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        session: &mut russh::server::Session,
    ) -> Result<bool, russh::Error> {
        let Some(key) = self.shared.proven.get().copied() else {
            return Ok(false);
        };
        let forward = match Forward::read(address, *port) {
            Ok(forward) => forward,
            Err(error) => return self.refuse_forward(session, error.to_string()),
        };
        if self.relay.registry.key_of(&forward.hostname) != Some(key) {
            return self.refuse_forward(session, forward.not_yours().to_string());
        }
        let is_first = self.shared.session.get().is_none();
        let home = match self.shared.session.get() {
            Some(home) => Arc::clone(home),
            None => match self.install(key, session.handle()).await {
                Ok(home) => home,
                Err(text) => {
                    self.end(session, text)?;
                    return Ok(false);
                }
            },
        };
        let is_new = match &home.link {
            session::Link::Ssh(link) => link.add(forward, address),
            session::Link::Tunnel(_) => false,
        };
        if is_first {
            let _ = self.shared.session.set(home);
        }
        if is_new {
            self.relay.sessions.announce(&key);
        }
        Ok(true)
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _session: &mut russh::server::Session,
    ) -> Result<bool, russh::Error> {
        let Some(home) = self.shared.session.get() else {
            return Ok(false);
        };
        Ok(match (Forward::read(address, port), &home.link) {
            (Ok(forward), session::Link::Ssh(link)) => link.remove(&forward),
            _ => false,
        })
    }

    async fn streamlocal_forward(
        &mut self,
        _path: &str,
        session: &mut russh::server::Session,
    ) -> Result<bool, russh::Error> {
        let text = "sockets are not forwarded here, a name is: -R HOST:443:localhost:443";
        self.refuse_forward(session, text.to_owned())
    }

    async fn data(
        &mut self,
        _channel: ChannelId,
        _data: &[u8],
        session: &mut russh::server::Session,
    ) -> Result<(), russh::Error> {
        let told = self.told.last().max(self.reassured);
        if told.elapsed() >= REASSURANCE {
            // It may be long until this is written.
            self.reassured = Instant::now();
            session.debug(false, "the relay hears you", "")?;
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut russh::server::Session,
    ) -> Result<(), russh::Error> {
        let text = "no shell, commands or files here: use ssh -N -R HOST:443:localhost:443";
        self.refuse_channel(reply, session, text).await
    }

    async fn channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut russh::server::Session,
    ) -> Result<(), russh::Error> {
        self.refuse_channel(reply, session, "no X11 here").await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut russh::server::Session,
    ) -> Result<(), russh::Error> {
        let text = "nothing is forwarded from here: -L, -D, -W and -J do not work";
        self.refuse_channel(reply, session, text).await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut russh::server::Session,
    ) -> Result<(), russh::Error> {
        let text = "the relay is no client";
        self.refuse_channel(reply, session, text).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        session: &mut russh::server::Session,
    ) -> Result<(), russh::Error> {
        let text = "nothing is forwarded from here";
        self.refuse_channel(reply, session, text).await
    }
}
