//! Brings a visitor to a home over its SSH connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cloudless_proto::Hostname;
use cloudless_proto::ssh::Port;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::channel::Received;
use super::link::NotOpened;
use super::pump::Stream;
use super::{Link, channel::Channel, probe};
use crate::home::Failure;
use crate::run::Relay;
use crate::session::Session;

/// Opens a channel for a visitor, gives the home what the visitor has said, and waits until either
/// says something: before that nobody can tell that another session was tried.
pub(crate) async fn reach(
    relay: &Relay,
    (session, link): (&Arc<Session>, &Link),
    (visitor, peer): (&TcpStream, SocketAddr),
    hostname: &Hostname,
    opening: &Bytes,
) -> Result<Stream, Failure> {
    let mut channel = open(relay, (session, link), peer, hostname, Port::Https).await?;
    let (mut receiver, mut sender) = channel.halves();
    // A home may give a channel a window that the first bytes do not fit into.
    match timeout(relay.config().timings.connect, sender.send(opening.clone())).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(Failure::SessionLost),
        Err(_) => return Err(Failure::Refused),
    }
    let first = tokio::select! {
        received = receiver.receive() => Some(received),
        _ = visitor.readable() => None,
        () = sleep(relay.config().timings.half_closed_silence) => None,
    };
    if matches!(first, Some(Received::Closed)) {
        channel.closed();
        return Err(Failure::Reset);
    }
    Ok(Stream::new(channel, first))
}

/// Sends a certificate authority's request to the home; returns what it answers, at most `max` bytes
/// of it. `None` when the home does not answer, or more.
pub(crate) async fn validate(
    relay: &Relay,
    (session, link): (&Arc<Session>, &Link),
    peer: SocketAddr,
    hostname: &Hostname,
    request: Bytes,
    max: usize,
) -> Option<Vec<u8>> {
    let opened = open(relay, (session, link), peer, hostname, Port::Http).await;
    let mut channel = opened.ok()?;
    let (mut receiver, mut sender) = channel.halves();
    sender.send(request).await.ok()?;
    let mut answer = Vec::new();
    loop {
        match receiver.receive().await {
            Received::Bytes(bytes) => answer.extend_from_slice(&bytes),
            Received::Eof | Received::Closed => break,
        }
        if answer.len() > max {
            return None;
        }
    }
    (!answer.is_empty()).then_some(answer)
}

async fn open(
    relay: &Relay,
    (session, link): (&Arc<Session>, &Link),
    peer: SocketAddr,
    hostname: &Hostname,
    port: Port,
) -> Result<Channel, Failure> {
    let timings = &relay.config().timings;
    session.liveness.ask_if_quiet(timings.quiet);
    let opening = link.open(session, peer, hostname, port);
    match timeout(timings.connect, opening).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(NotOpened::Lost | NotOpened::NotForwarded)) | Err(_) => Err(Failure::SessionLost),
        Ok(Err(NotOpened::Refused(reason))) => {
            tracing::debug!(?reason, "A home refused a visitor");
            let message = probe::refusal(hostname, port);
            relay.counters.of(hostname).failed(&message);
            if port == Port::Https {
                link.probes.failed(hostname, message);
            }
            Err(Failure::Refused)
        }
    }
}
