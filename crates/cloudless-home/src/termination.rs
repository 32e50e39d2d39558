//! Where a visitor's TLS ends: the certificate by server name, then HTTP.

use std::sync::Arc;

use cloudless_carddav::CardDav;
use cloudless_proto::Hostname;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::certificate::Certificates;
use crate::config::Timings;
use crate::http::{self, Hosts};
use crate::tunnel::Stream;

/// Serves visitors of every relay.
pub(crate) struct Termination {
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) carddav: CardDav,
    pub(crate) timings: Timings,
}

impl Termination {
    /// Serves one visitor to the end. On `shutdown` a request under way is finished.
    pub(crate) async fn serve(&self, stream: Stream, shutdown: CancellationToken) {
        let handshake = timeout(self.timings.tls_handshake, self.handshake(stream));
        match handshake.await {
            Ok(Ok((tls, hostname))) => {
                let hosts = Hosts::Only(hostname);
                http::serve(tls, hosts, self.carddav.clone(), &self.timings, shutdown).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "Visitor's handshake failed"),
            Err(_) => tracing::debug!("Visitor's handshake took too long"),
        }
    }

    async fn handshake(
        &self,
        stream: Stream,
    ) -> Result<(TlsStream<Stream>, Hostname), HandshakeError> {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream)
            .await
            .map_err(HandshakeError::Tls)?;
        let hostname = start
            .client_hello()
            .server_name()
            .and_then(|name| Hostname::from_bytes(name.as_bytes()).ok());
        let config = hostname
            .as_ref()
            .and_then(|hostname| self.certificates.server_config(hostname));
        let (Some(hostname), Some(config)) = (hostname, config) else {
            // No alert: a name that is not served here learns nothing.
            let _ = start.io.shutdown().await;
            return Err(HandshakeError::NotServed);
        };
        let tls = start
            .into_stream(config)
            .await
            .map_err(HandshakeError::Tls)?;
        Ok((tls, hostname))
    }
}

/// Why a visitor did not get as far as HTTP.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("no certificate is served for this server name")]
    NotServed,
    #[error("TLS failed: {0}")]
    Tls(std::io::Error),
}
