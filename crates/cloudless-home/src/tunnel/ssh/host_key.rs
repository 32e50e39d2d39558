//! The key that an SSH server shows, for somebody who wants to vouch for it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use russh::SshId;
use russh::client::{Config, Handler};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cut::Cut;
use super::handshake::{HandshakeError, SOFTWARE};
use super::server::SshRelay;
use crate::config::Timings;
use crate::proxy::Proxy;
use crate::tunnel::connection::ConnectionError;
use crate::tunnel::dial::{DialError, Reached, Way, dial};
use crate::tunnel::lookup::Known;

/// A key that a server has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// `SHA256:`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The line for `known_hosts`.
    pub line: String,
}

/// Asks a server for its key, and proves nothing to it. Nobody is trusted for the answer.
///
/// # Errors
/// When nobody was reached, or who was does not speak SSH.
pub async fn host_key(relay: &SshRelay, proxy: Option<&Proxy>) -> Result<HostKey, ConnectionError> {
    let timings = Timings::default();
    let addresses = [relay.address()];
    let way = Way {
        name: &relay.host,
        addresses: &addresses,
        proxy: proxy.filter(|proxy| proxy.is_for(&addresses[0])),
        stagger: timings.stagger,
        handshake: timings.handshake,
        known: &Known::default(),
        answered: &Notify::new(),
    };
    let shake = |reached: Reached, tcp| {
        let name = relay.name();
        async move {
            let shown = show(name, tcp).await;
            shown.map_err(|source| DialError::Ssh {
                address: reached.address,
                source: Box::new(source),
            })
        }
    };
    let dialed = timeout(timings.dial, dial(way, shake)).await;
    let dialed = dialed.map_err(|_| ConnectionError::Timeout(timings.dial))?;
    dialed.map_err(ConnectionError::Dial)
}

async fn show(name: String, tcp: TcpStream) -> Result<HostKey, HandshakeError> {
    let shown = Arc::new(Mutex::new(None));
    let onlooker = Onlooker {
        name,
        shown: shown.clone(),
    };
    let config = Config {
        client_id: SshId::Standard(Cow::Borrowed(SOFTWARE)),
        ..Config::default()
    };
    let cut = CancellationToken::new();
    let _cut = cut.clone().drop_guard();
    let connected =
        russh::client::connect_stream(Arc::new(config), Cut::new(tcp, cut), onlooker).await;
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (shown, connected) {
        (Some(shown), _) => Ok(shown),
        (None, Err(russh::Error::HUP | russh::Error::IO(_) | russh::Error::Disconnect)) => {
            Err(HandshakeError::Closed)
        }
        (None, Err(error)) => Err(HandshakeError::Ssh(error)),
        (None, Ok(_)) => Err(HandshakeError::Key),
    }
}

/// Looks at a server's key, and leaves.
struct Onlooker {
    name: String,
    shown: Arc<Mutex<Option<HostKey>>>,
}

impl Handler for Onlooker {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let key = key.public_key();
        if let Ok(encoded) = key.to_openssh() {
            let shown = HostKey {
                fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
                line: format!("{} {}\n", self.name, encoded.trim_end()),
            };
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        }
        Ok(false)
    }
}
