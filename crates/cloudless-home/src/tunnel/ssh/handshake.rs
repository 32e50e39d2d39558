//! From a TCP connection to an SSH server that knows home (RFC 4253, RFC 4252).

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Config, Handle};
use russh::keys::{Algorithm, PrivateKeyWithHashAlg};
use russh::{Preferred, SshId};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::{Client, Notes};
use super::cut::Cut;
use super::holders;
use super::inbox::Inboxes;
use super::known_hosts::{KnownHosts, Place};
use super::server::SshRelay;
use super::visit::Arrival;
use crate::tunnel::activity::{Activity, Watched};
use crate::tunnel::path::Path;
use crate::visitor::Refusals;

/// How home calls itself.
pub(super) const SOFTWARE: &str = concat!("SSH-2.0-cloudless_", env!("CARGO_PKG_VERSION"));
/// Visitors that the session has not heard of yet.
const ARRIVALS_MAX: usize = 256;
/// More of a `known_hosts` file is not read.
const KNOWN_HOSTS_LEN_MAX: u64 = 4 * 1024 * 1024;
/// sshd 9.8 counts each refused key (PerSourcePenalties): so few of them it forgets again.
const AFTER_REFUSAL: Duration = Duration::from_secs(15);
/// The owner may be about to write the server's key down.
const AFTER_DISTRUST: Duration = Duration::from_secs(3);
const AFTER_CLOSE: Duration = Duration::from_secs(5);

/// Why an SSH server is of no use, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It has another key.
    #[error(
        "{host} has shown the key {fingerprint}, and line {} of {} has another one for it: somebody \
         may be in between, and nothing was sent. If the server was set up anew, compare the key on \
         the server (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), remove that line, and run \
         `cloudless home ssh trust {fingerprint}`",
        .place.line, .place.file.display()
    )]
    ChangedHostKey {
        /// As in `known_hosts`.
        host: String,
        /// Of the key that was shown.
        fingerprint: String,
        /// The line that says otherwise.
        place: Place,
    },
    /// It hung up.
    #[error(
        "the SSH server closes the connection before home could prove its key: it may have no free \
         place (MaxStartups), or make this address wait (PerSourcePenalties, sshd 9.8 and later); \
         home goes on dialing, and not hastily"
    )]
    Closed,
    /// The server's key is in no encoding that can be compared.
    #[error("the SSH server has shown a key that cannot be read")]
    Key,
    /// Home's key was refused.
    #[error(
        "the SSH server does not let home's key in as the user {user}: put this line into \
         ~{user}/.ssh/authorized_keys there, and look whether sshd lets that user in (AllowUsers, \
         PubkeyAuthentication; `cloudless relay doctor --ssh` on the server tells): {line}"
    )]
    KeyRefused {
        /// Who home wanted to be.
        user: String,
        /// What permits it.
        line: String,
    },
    /// A file of known hosts cannot be read.
    #[error("cannot read {}", .path.display())]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Only a key of a kind that home does not verify is known.
    #[error(
        "only a key of the kind {kind} is known of {host}, which home does not verify: add its \
         Ed25519 key (ssh-keyscan -t ed25519 shows it; compare it on the server with ssh-keygen -lf \
         /etc/ssh/ssh_host_ed25519_key.pub)"
    )]
    OnlyOtherKinds {
        /// As in `known_hosts`.
        host: String,
        /// The first kind.
        kind: String,
    },
    /// Its key must not be used any more.
    #[error(
        "{host} has shown the key {fingerprint}, which line {} of {} has revoked: nothing was sent",
        .place.line, .place.file.display()
    )]
    RevokedHostKey {
        /// As in `known_hosts`.
        host: String,
        /// Of the key that was shown.
        fingerprint: String,
        /// The line that revokes it.
        place: Place,
    },
    /// The protocol failed.
    #[error("what answers there does not speak SSH as home does")]
    Ssh(#[source] russh::Error),
    /// Nobody has vouched for its key.
    #[error(
        "{host} has shown the key {fingerprint}, which nobody has vouched for here, and nothing was \
         sent: compare it on the server (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then run \
         `cloudless home ssh trust {fingerprint}`"
    )]
    UnknownHostKey {
        /// As in `known_hosts`.
        host: String,
        /// Of the key that was shown.
        fingerprint: String,
    },
}

impl HandshakeError {
    /// For how long the server is not to be dialed, where it has said no.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::KeyRefused { .. } => Some(AFTER_REFUSAL),
            Self::ChangedHostKey { .. }
            | Self::RevokedHostKey { .. }
            | Self::UnknownHostKey { .. }
            | Self::OnlyOtherKinds { .. }
            | Self::KnownHosts { .. } => Some(AFTER_DISTRUST),
            Self::Closed | Self::Key | Self::Ssh(_) => Some(AFTER_CLOSE),
        }
    }
}

/// A connection in which both keys are proven.
pub(crate) struct Link {
    pub(super) handle: Handle<Client>,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    pub(super) activity: Activity,
    pub(super) notes: Notes,
    /// Whence and where to.
    pub(super) path: Option<Path>,
    /// Another handle on the connection.
    pub(super) socket: Option<OwnedFd>,
    /// Ends the connection, whatever it is at, when it is dropped.
    pub(super) cut: DropGuard,
}

/// Proves both keys. Sets no deadline: drop the future to give up.
pub(super) async fn shake(
    server: Arc<SshRelay>,
    tcp: TcpStream,
    refusals: Refusals,
) -> Result<Link, HandshakeError> {
    let known_hosts = known_hosts(&server).await?;
    let preferred = preferred(&server, &known_hosts)?;
    let config = Arc::new(Config {
        client_id: SshId::Standard(Cow::Borrowed(SOFTWARE)),
        preferred,
        ..Config::default()
    });
    let path = match (tcp.local_addr(), tcp.peer_addr()) {
        (Ok(local), Ok(remote)) => Some(Path { local, remote }),
        _ => None,
    };
    let socket = holders::handle(&tcp);
    let (cut, activity, notes) = (CancellationToken::new(), Activity::new(), Notes::default());
    // The task that russh starts ends with it.
    let guard = cut.clone().drop_guard();
    let (arriving, arrivals) = mpsc::channel(ARRIVALS_MAX);
    let client = Client {
        server: server.clone(),
        known_hosts,
        inboxes: Inboxes::new(),
        arrivals: arriving,
        refusals,
        notes: notes.clone(),
    };
    let stream = Watched::new(Cut::new(tcp, cut), activity.clone());
    let connected = russh::client::connect_stream(config, stream, client).await;
    let mut handle = connected.map_err(|error| failure(error, &notes))?;
    let key = PrivateKeyWithHashAlg::new(server.key.0.clone(), None);
    let proven = handle.authenticate_publickey(&server.user, key).await;
    match proven.map_err(|error| failure(error, &notes))? {
        AuthResult::Success => Ok(Link {
            handle,
            arrivals,
            activity,
            notes,
            path,
            socket,
            cut: guard,
        }),
        // A server that has no other way in to offer hangs up.
        AuthResult::Failure { .. } if matches!(notes.end(), Some(error) if !is_refusal(&error)) => {
            Err(HandshakeError::Closed)
        }
        AuthResult::Failure { .. } => Err(HandshakeError::KeyRefused {
            user: server.user.clone(),
            line: server.authorized_key(),
        }),
    }
}

fn is_refusal(error: &russh::Error) -> bool {
    matches!(error, russh::Error::NoAuthMethod)
}

fn failure(error: russh::Error, notes: &Notes) -> HandshakeError {
    use russh::Error;
    match error {
        Error::UnknownKey => notes.distrust().unwrap_or(HandshakeError::Key),
        Error::HUP | Error::Disconnect | Error::SendError | Error::RecvError | Error::IO(_) => {
            HandshakeError::Closed
        }
        error => HandshakeError::Ssh(error),
    }
}

/// The known hosts as they are now.
async fn known_hosts(server: &SshRelay) -> Result<KnownHosts, HandshakeError> {
    let path = &server.known_hosts;
    let read = async {
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(path).await?;
        let mut file = file.take(KNOWN_HOSTS_LEN_MAX);
        file.read_to_end(&mut bytes).await?;
        Ok::<_, io::Error>(bytes)
    };
    let mut known_hosts = KnownHosts::default();
    match read.await {
        Ok(bytes) => known_hosts.add(path, &String::from_utf8_lossy(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            let path = path.clone();
            return Err(HandshakeError::KnownHosts { path, source });
        }
    }
    if let Some((path, text)) = &server.other_known_hosts {
        known_hosts.add(path, text);
    }
    Ok(known_hosts)
}

/// The algorithms to agree on: of the server's keys, one of a kind that is known.
fn preferred(server: &SshRelay, known_hosts: &KnownHosts) -> Result<Preferred, HandshakeError> {
    let preferred = Preferred::default();
    let kinds = known_hosts.kinds(&server.host, server.port);
    let is_verified = |algorithm: &&Algorithm| !matches!(algorithm, Algorithm::Rsa { .. });
    let is_known = |it: &&Algorithm| kinds.is_empty() || kinds.contains(&it.as_str());
    let known = preferred.key.iter().filter(is_verified).filter(is_known);
    let known: Vec<Algorithm> = known.cloned().collect();
    if let Some(first) = kinds.first()
        && known.is_empty()
    {
        return Err(HandshakeError::OnlyOtherKinds {
            host: server.name(),
            kind: (*first).to_owned(),
        });
    }
    let key = Cow::Owned(known);
    Ok(Preferred { key, ..preferred })
}
