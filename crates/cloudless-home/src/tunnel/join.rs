//! Redeeming a join code.

use cloudless_http2::Reason;
use cloudless_proto::control::{FromHome, FromRelay, Refusal, VERSION};
use cloudless_proto::join_code::JoinCode;
use cloudless_proto::{Hostname, PinnedKeys};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connection::{Connection, ConnectionError, Event};
use super::dial::Way;
use super::identity::{Identity, IdentityError};
use super::lookup::Known;
use super::portal::Portals;
use crate::config::{Relay, Timings};
use crate::proxy::Proxy;

/// Why a home could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The relay was not reached, or the connection broke.
    #[error("could not reach the relay to redeem the join code, which stays good")]
    Connection(#[source] ConnectionError),
    /// The home's own key is of no use.
    #[error(transparent)]
    Identity(IdentityError),
    /// The relay refused.
    #[error("the relay refused: {}", super::explain(*.reason, .message))]
    Refused {
        /// Why, to act upon.
        reason: Refusal,
        /// Why, in the relay's words.
        message: String,
    },
    /// The relay bound another name than the code said.
    #[error("the join code is for {asked} but the relay bound {bound}; ask for a new join code")]
    WrongHostname {
        /// The code's name.
        asked: Hostname,
        /// The relay's answer.
        bound: Hostname,
    },
}

/// Redeems `code` for the name in it: proves the home's key to the relay and the code's secret
/// inside that same connection. All of the code's addresses are tried, through `proxy` if
/// there is one. The caller then writes the
/// relay and the name to its settings. At most ten seconds.
///
/// # Errors
/// [`JoinError`]; the code is used up only if the relay said so or answered with success.
pub async fn join(
    code: &JoinCode,
    identity: &PrivatePkcs8KeyDer<'static>,
    proxy: Option<&Proxy>,
) -> Result<Hostname, JoinError> {
    let relay = Relay {
        addresses: code.addresses.clone(),
        server_name: code.server_name.clone(),
        key: code.relay_key,
    };
    let tls = Identity::new(identity)
        .and_then(|identity| identity.client_config(&PinnedKeys::new(relay.key)))
        .map_err(JoinError::Identity)?;
    let timings = Timings::default();
    timeout(timings.dial, async {
        let way = Way {
            name: relay.server_name.as_str(),
            addresses: &relay.addresses,
            proxy,
            stagger: timings.stagger,
            handshake: timings.handshake,
            known: &Known::default(),
            answered: &Notify::new(),
        };
        let portals = Portals::default();
        let (mut connection, _ping_pong) = Connection::open(way, &relay, tls, &portals)
            .await
            .map_err(JoinError::Connection)?;
        redeem(&mut connection, code).await
    })
    .await
    .map_err(|_| JoinError::Connection(ConnectionError::Timeout(timings.dial)))?
}

async fn redeem(connection: &mut Connection, code: &JoinCode) -> Result<Hostname, JoinError> {
    let join = FromHome::Join {
        version: VERSION,
        software: super::SOFTWARE.to_owned(),
        hostname: code.hostname.clone(),
        secret: code.secret.clone(),
    };
    connection
        .control
        .say(&join)
        .map_err(|error| JoinError::Connection(ConnectionError::Control(error)))?;
    loop {
        match connection.next().await.map_err(JoinError::Connection)? {
            Event::Said(FromRelay::Joined { hostname }) if hostname == code.hostname => {
                return Ok(hostname);
            }
            Event::Said(FromRelay::Joined { hostname: bound }) => {
                return Err(JoinError::WrongHostname {
                    asked: code.hostname.clone(),
                    bound,
                });
            }
            Event::Said(FromRelay::Refused {
                reason, message, ..
            }) => {
                return Err(JoinError::Refused { reason, message });
            }
            Event::Said(_) => {}
            Event::Opened(_, respond) => respond.reset(Reason::REFUSED_STREAM),
        }
    }
}
