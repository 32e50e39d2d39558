//! What home answers an SSH server: whether it trusts its key, and which channels it takes.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::sync::mpsc;

use super::handshake::HandshakeError;
use super::inbox::Inboxes;
use super::known_hosts::{KnownHosts, Verdict, name};
use super::server::SshRelay;
use super::visit::Arrival;
use crate::visitor::{Refusals, VisitorRefusal};

/// The far end's view of home, in one connection.
pub(super) struct Client {
    pub(super) server: Arc<SshRelay>,
    pub(super) known_hosts: KnownHosts,
    pub(super) inboxes: Inboxes,
    pub(super) arrivals: mpsc::Sender<Arrival>,
    pub(super) refusals: Refusals,
    pub(super) notes: Notes,
}

/// What a connection learns that russh's own errors do not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    /// Why the server's key is not trusted.
    distrust: Option<HandshakeError>,
    /// Why the connection has ended.
    end: Option<russh::Error>,
}

impl Notes {
    pub(super) fn distrust(&self) -> Option<HandshakeError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .distrust
            .take()
    }

    pub(super) fn end(&self) -> Option<russh::Error> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end
            .take()
    }

    fn note(&self, note: impl FnOnce(&mut Noted)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Client {
    /// Whether a key is that of the server, and if not, what to do.
    fn trust(&self, key: &PublicKeyOrCertificate) -> Result<(), HandshakeError> {
        let SshRelay { host, port, .. } = &*self.server;
        let key = key.public_key();
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let host = name(host, *port);
        let encoded = key.to_bytes().map_err(|_| HandshakeError::Key)?;
        let kind = key.algorithm();
        let verdict = self
            .known_hosts
            .look(&self.server.host, *port, kind.as_str(), &encoded);
        match verdict {
            Verdict::Known => Ok(()),
            Verdict::Changed(place) => Err(HandshakeError::ChangedHostKey {
                host,
                fingerprint,
                place: place.clone(),
            }),
            Verdict::Revoked(place) => Err(HandshakeError::RevokedHostKey {
                host,
                fingerprint,
                place: place.clone(),
            }),
            Verdict::Unknown => Err(HandshakeError::UnknownHostKey { host, fingerprint }),
        }
    }

    /// Takes a visitor's channel, or turns it away where there are too many.
    async fn arrive(
        &self,
        channel: Channel<Msg>,
        forward: Option<super::visit::Kind>,
        originator: Option<SocketAddr>,
        reply: ChannelOpenHandle,
    ) {
        let Some(kind) = forward else {
            return reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
        };
        let place = self.arrivals.try_reserve().ok();
        let Some(place) = place.filter(|_| self.inboxes.make_room()) else {
            self.refusals.count(VisitorRefusal::VisitorLimit);
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        };
        // What is received is kept in the inbox: nobody waits for a visitor that does not read.
        let (_, channel) = channel.split();
        let inbox = self.inboxes.open(channel.id().into());
        reply.accept().await;
        place.send(Arrival {
            kind,
            originator,
            inbox: Arc::new(inbox),
            channel,
        });
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        match self.trust(key) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.notes.note(|it| it.distrust = Some(error));
                Ok(false)
            }
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _connected_address: &str,
        connected_port: u32,
        originator_address: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let kind = u16::try_from(connected_port).ok();
        let kind = kind.and_then(|port| self.server.kind_of_port(port));
        let address: Option<IpAddr> = originator_address.parse().ok();
        let port = u16::try_from(originator_port).ok();
        let originator = address.zip(port).map(SocketAddr::from);
        self.arrive(channel, kind, originator, reply).await;
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let kind = self.server.kind_of_path(path);
        self.arrive(channel, kind, None, reply).await;
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        bytes: &[u8],
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.inboxes.received(channel.into(), bytes);
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.inboxes.finished(channel.into());
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.inboxes.closed(channel.into());
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<russh::Error>,
    ) -> Result<(), russh::Error> {
        if let DisconnectReason::Error(error) = reason {
            self.notes.note(|it| it.end = Some(error));
        }
        Ok(())
    }

    // Whatever else a server opens has no business here. russh would accept it.

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _refused: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _refused: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _refused: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _refused: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _refused: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.inboxes.close();
    }
}
