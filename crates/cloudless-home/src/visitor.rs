//! Where a visitor goes once the relay has announced it: to a server beside home, or to home's own.

mod refusal;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;

use cloudless_proto::Hostname;
use cloudless_proto::control::VISITOR_HEADER;
use http::Request;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::passthrough::Passthroughs;
use crate::probe::Arrivals;
use crate::termination::Termination;
use crate::validation;
pub(crate) use refusal::Refusals;
pub use refusal::VisitorRefusal;
pub(crate) use stream::Stream;

pub(crate) const HTTPS_PORT: u16 = 443;
pub(crate) const HTTP_PORT: u16 = 80;

/// What the relay says of a visitor. It may lie: a name only chooses who ends the TLS, where the
/// name in the ClientHello counts, and the address is a hint for logs and never lets anybody in.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) hostname: Option<Hostname>,
    pub(crate) port: u16,
    pub(crate) address: Option<SocketAddr>,
}

impl Visitor {
    /// Reads the head of a `CONNECT` stream.
    pub(crate) fn new<B>(request: &Request<B>) -> Self {
        let authority = request.uri().authority();
        let address = request.headers().get(VISITOR_HEADER);
        Self {
            hostname: authority.and_then(|it| it.host().parse().ok()),
            port: authority.and_then(|it| it.port_u16()).unwrap_or(HTTPS_PORT),
            address: address.and_then(|it| it.to_str().ok()?.parse().ok()),
        }
    }

    /// Whether its bytes may go past the tunnel: only those that are TLS on the inside.
    pub(crate) fn may_leave(&self) -> bool {
        self.port == HTTPS_PORT
    }
}

/// Serves the visitors of every relay.
pub(crate) struct Visitors {
    pub(crate) termination: Termination,
    pub(crate) passthroughs: Passthroughs,
    /// Home's own probes among the visitors.
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) refusals: Refusals,
}

impl Visitors {
    /// Serves one visitor to the end. On `shutdown` a request under way is finished.
    pub(crate) async fn serve(
        &self,
        visitor: Visitor,
        stream: Stream,
        shutdown: CancellationToken,
    ) {
        tracing::debug!(address = ?visitor.address, "Visitor");
        let Visitor {
            hostname,
            port,
            address,
        } = visitor;
        match (port, hostname) {
            (HTTPS_PORT, hostname) => {
                let look = self.arrivals.look_at(&stream);
                let limit = self.termination.timings.tls_handshake;
                if timeout(limit, look).await.is_err() {
                    return self.refusals.count(VisitorRefusal::HandshakeTimeout);
                }
                let server = hostname.and_then(|hostname| self.passthroughs.tls(&hostname));
                match server {
                    Some(server) => server.serve(stream, address).await,
                    None => self.termination.serve(stream, address, shutdown).await,
                }
            }
            (HTTP_PORT, Some(hostname)) => {
                // Without either the stream is reset, and the relay answers 404.
                match self.passthroughs.http(&hostname) {
                    Some(server) => server.validate(stream, &hostname).await,
                    None => {
                        let validations = &self.termination.validations;
                        if !validation::answer(stream, &hostname, validations).await {
                            self.refusals.count(VisitorRefusal::HttpRefused);
                        }
                    }
                }
            }
            _ => self.refusals.count(VisitorRefusal::PortNotServed),
        }
    }
}
