//! Where a visitor's TLS ends: the certificate by server name, then HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use cloudless_carddav::CardDav;
use cloudless_proto::Hostname;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::certificate::Certificates;
use crate::certificate::acme::{ALPN, Validations};
use crate::client_certificate::Demand;
use crate::config::Timings;
use crate::http::{self, Behind, Hosts, Site};
use crate::trust::Trust;
use crate::upstream::Current;
use crate::visitor::{Refusals, Stream, VisitorRefusal};

/// Serves visitors of every relay.
pub(crate) struct Termination {
    pub(crate) certificates: Arc<Certificates>,
    /// The names that an authority is validating.
    pub(crate) validations: Arc<Validations>,
    /// Who says whether a name is protected well enough to be served.
    pub(crate) trust: Option<Arc<Trust>>,
    pub(crate) carddav: CardDav,
    pub(crate) demand: Demand,
    /// The servers behind home.
    pub(crate) upstreams: Arc<Current>,
    /// The port that visitors reach the relay at.
    pub(crate) public_port: u16,
    pub(crate) timings: Timings,
    pub(crate) refusals: Refusals,
}

impl Termination {
    /// Serves one visitor, whose address the relay has told, to the end. On `shutdown` a request under
    /// way is finished.
    pub(crate) async fn serve(
        &self,
        stream: Stream,
        address: Option<SocketAddr>,
        shutdown: CancellationToken,
    ) {
        let handshake = timeout(self.timings.tls_handshake, self.handshake(stream));
        match handshake.await {
            Ok(Ok(Handshake::Validation)) => {
                tracing::debug!("A certificate authority was answered")
            }
            Ok(Ok(Handshake::Visitor(tls, hostname))) => {
                let certificate = self.demand.proven(&hostname, &tls);
                let mut site = Site {
                    hosts: Hosts::Only(hostname),
                    carddav: self.carddav.clone(),
                    behind: Some(Behind {
                        upstreams: self.upstreams.clone(),
                        address,
                        public_port: self.public_port,
                        refusals: self.refusals.clone(),
                    }),
                };
                let Some(certificate) = certificate else {
                    return http::serve(tls, site, &self.timings, shutdown).await;
                };
                site.carddav = site.carddav.with_client_certificate(certificate);
                tokio::select! {
                    () = http::serve(tls, site, &self.timings, shutdown) => {}
                    () = self.demand.until_revoked(certificate) => {
                        self.refusals.count(VisitorRefusal::DeviceRevoked);
                    }
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "Visitor's handshake failed");
                self.refusals.count(error.refusal());
            }
            Err(_) => self.refusals.count(VisitorRefusal::HandshakeTimeout),
        }
    }

    async fn handshake(&self, mut stream: Stream) -> Result<Handshake, HandshakeError> {
        // Many programs hang up without close_notify, upon which hyper drops the connection.
        stream.end_with_visitor();
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream)
            .await
            .map_err(HandshakeError::Tls)?;
        let hostname = start
            .client_hello()
            .server_name()
            .and_then(|name| Hostname::from_bytes(name.as_bytes()).ok());
        let is_validation = start
            .client_hello()
            .alpn()
            .is_some_and(|mut protocols| protocols.any(|it| it == ALPN));
        // What an authority is answered comes through the tunnel, whose other end is proven, and
        // never on a leg, which somebody between could have answered.
        let may_validate = is_validation && !start.io.has_leg();
        let is_served = |hostname: &Hostname| {
            let trust = self.trust.as_ref();
            trust.is_none_or(|trust| trust.is_served(hostname))
        };
        let config = hostname.as_ref().and_then(|hostname| match is_validation {
            true if may_validate => self.validations.tls(hostname),
            true => None,
            false if is_served(hostname) => self.certificates.server_config(hostname),
            false => None,
        });
        let (Some(hostname), Some(config)) = (hostname, config) else {
            // No alert: a name that is not served here learns nothing.
            let _ = start.io.shutdown().await;
            return Err(HandshakeError::NotServed);
        };
        let config = if is_validation {
            config
        } else {
            let demanding = self.demand.applied_to(config, &hostname);
            demanding.map_err(HandshakeError::Demand)?
        };
        let mut tls = match start.into_stream(config).into_fallible().await {
            Ok(tls) => tls,
            Err((error, mut stream)) => {
                // Behind the alert, which a stream that is merely dropped would not send.
                let _ = stream.shutdown().await;
                return Err(HandshakeError::Tls(error));
            }
        };
        if is_validation {
            // The handshake was all (RFC 8737 section 3).
            let _ = tls.shutdown().await;
            return Ok(Handshake::Validation);
        }
        Ok(Handshake::Visitor(tls, hostname))
    }
}

/// What a handshake came to.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
enum Handshake {
    /// An authority has seen what it wanted.
    Validation,
    /// Somebody who wants to be served, under this name.
    Visitor(TlsStream<Stream>, Hostname),
}

/// Why a visitor did not get as far as HTTP.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("a client certificate cannot be demanded: {0}")]
    Demand(rustls::Error),
    #[error("no certificate is served for this server name")]
    NotServed,
    #[error("TLS failed: {0}")]
    Tls(std::io::Error),
}

impl HandshakeError {
    /// What it is counted as.
    fn refusal(&self) -> VisitorRefusal {
        match self {
            Self::Demand(_) | Self::Tls(_) => VisitorRefusal::HandshakeFailed,
            Self::NotServed => VisitorRefusal::NameNotServed,
        }
    }
}
