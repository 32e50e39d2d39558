//! Servers behind home: requests for a path or a hostname go to them, as [`Upstream`] says.
//!
//! Home ends the visitor's TLS and is the edge: it alone says who came and how (`fields`), which of
//! a name's paths are whose (`routes`), and how long anybody may be kept waiting (`exchange`).
//! Bodies are never kept as a whole, in neither direction.

mod body;
mod connect;
mod current;
mod exchange;
mod fields;
mod path;
mod places;
mod routes;
mod server;
mod stay;
mod tunnel;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cloudless_proto::Hostname;
use rustls_pki_types::{CertificateDer, ServerName};

pub(crate) use body::{UpstreamBody, UpstreamBodyError};
pub(crate) use current::Current;
pub(crate) use exchange::{Visit, says, to_slash};
pub use path::{InvalidUpstreamPath, UpstreamPath};
pub use routes::RouteError;
pub(crate) use routes::{Found, Upstreams};
pub(crate) use tunnel::Tunnels;
pub use watch::reach;

/// A server behind home, and which requests it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name whose requests it gets; `None` for all names where home itself answers `/`.
    pub hostname: Option<Hostname>,
    /// Where in the name's paths it begins; `/` needs a hostname.
    pub path: UpstreamPath,
    /// Where it is.
    pub server: UpstreamServer,
    /// Whether it gets the request without `path`, which it is told in `X-Script-Name` and
    /// `X-Forwarded-Prefix`; else as the visitor sent it.
    pub strip_prefix: bool,
    /// How long it is waited for.
    pub timeouts: UpstreamTimeouts,
}

/// Where a server behind home is.
#[derive(Clone, PartialEq, Eq)]
pub enum UpstreamServer {
    /// Plain HTTP at `host:port`, resolved anew for each connection.
    Http(String),
    /// HTTP over TLS at `host:port`.
    Https {
        /// `host:port`, resolved anew for each connection.
        address: String,
        /// The name or address that its certificate has to be for.
        server_name: ServerName<'static>,
        /// Who may have signed it.
        roots: Vec<CertificateDer<'static>>,
    },
    /// Plain HTTP on a unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for UpstreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => write!(f, "http://{address}"),
            Self::Https { address, .. } => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for UpstreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How long a server behind home is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Until it has accepted a connection, TLS included (default 5 s).
    pub connect: Duration,
    /// From the end of a request until its answer begins (default 2 min).
    pub first_byte: Duration,
    /// Within a request or an answer that has begun, and in a WebSocket, while no byte moves (default
    /// 5 min).
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(2 * 60),
            idle: Duration::from_secs(5 * 60),
        }
    }
}
