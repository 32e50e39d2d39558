//! The first words of a session.

use std::time::Duration;

use cloudless_http2::Reason;
use cloudless_http2::server::Arrival;
use cloudless_proto::control::{FromHome, FromRelay, Refusal, VERSION};
use cloudless_proto::takeover::SessionId;
use cloudless_proto::{Hostname, PublicKey};

use super::{End, OwnRelay};
use crate::tunnel::SOFTWARE;
use crate::tunnel::connection::{Connection, ConnectionError, Event, VISITORS_MAX};

/// Visitors that are kept until the relay's Welcome, which HTTP/2 may overtake.
const EARLY_MAX: usize = VISITORS_MAX as usize;

/// The relay's welcome.
pub(super) struct Greeting {
    pub(super) hostnames: Vec<Hostname>,
    pub(super) keys: Vec<PublicKey>,
    /// Visitors that came so close behind it that they were seen first; HTTP/2 bounds their number
    /// to `VISITORS_MAX`.
    pub(super) early: Vec<Arrival>,
}

/// Says Hello and awaits the relay's word.
pub(super) async fn greet(
    connection: &mut Connection,
    own: &OwnRelay,
    id: SessionId,
) -> Result<Greeting, End> {
    let hello = FromHome::Hello {
        version: VERSION,
        software: SOFTWARE.to_owned(),
        instance: id.instance,
        epoch: id.epoch,
        legs: own.legs,
        probes: own.probes,
    };
    connection
        .control
        .say(&hello)
        .map_err(|error| End::Failed(ConnectionError::Control(error)))?;
    let mut early = Vec::new();
    loop {
        match connection.next().await.map_err(End::Failed)? {
            Event::Said(FromRelay::Welcome {
                hostnames, keys, ..
            }) => {
                return Ok(Greeting {
                    hostnames,
                    keys,
                    early,
                });
            }
            Event::Said(FromRelay::Refused {
                reason,
                message,
                retry_after_ms,
            }) => {
                return Err(refused(reason, message, retry_after_ms));
            }
            Event::Said(_) => {}
            Event::Opened(request, respond) if early.len() < EARLY_MAX => {
                early.push((request, respond));
            }
            // A relay may open streams and reset them at once, which HTTP/2 does not count as open.
            Event::Opened(_, respond) => respond.reset(Reason::REFUSED_STREAM),
        }
    }
}

pub(super) fn refused(reason: Refusal, message: String, retry_after_ms: Option<u64>) -> End {
    End::Refused {
        reason,
        message,
        retry_after: retry_after_ms.map(Duration::from_millis),
    }
}
