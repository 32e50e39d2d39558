//! Whether a web server beside the relay has a certificate for a home's name, as with a wildcard.
//!
//! Browsers and phones reuse an HTTP/2 connection for every name that its certificate covers and
//! that has the same address (RFC 9113 section 9.1.1). One that has visited the web server would
//! ask it for the home's contacts too, and the relay sees no second connection to bring home.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudless_proto::proxy_protocol::{self, Version};
use cloudless_proto::{Hostname, UpstreamAddress};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsConnector;

use crate::config::Config;
use crate::onlooker;
use crate::routes::{self, Pattern};
use crate::run::Relay;
use crate::upstream::{self, Server};

/// How many names a web server is asked for in one look,
const ASKED_MAX: usize = 128;
/// and how many of them are those that connections to web servers were for last.
const PASSED_ON_MAX: usize = 32;
/// Whoever gives a command waits for no longer than that.
const COVERAGE_MAX: Duration = Duration::from_secs(10);
const HTTP2: &[u8] = b"h2";

/// The certificates that web servers showed last, to clients that speak HTTP/2.
#[derive(Debug, Default)]
pub(crate) struct Coalescing {
    shown: Mutex<BTreeMap<UpstreamAddress, HashSet<CertificateDer<'static>>>>,
    /// The names of connections that web servers got, the last one last, each once: what a wildcard
    /// of theirs is served for.
    passed_on: Mutex<VecDeque<Hostname>>,
    look: Notify,
}

impl Coalescing {
    /// Looks again soon: a name has got a home, or there are other web servers.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    #[cfg(test)]
    pub(crate) async fn is_to_look(&self) {
        self.look.notified().await;
    }

    /// A web server gets a connection for this name.
    pub(crate) fn passed_on(&self, hostname: &Hostname) {
        let mut names = self.names();
        let last = names.iter().position(|it| it == hostname);
        let name = last.and_then(|last| names.remove(last));
        names.push_back(name.unwrap_or_else(|| hostname.clone()));
        if names.len() > PASSED_ON_MAX {
            names.pop_front();
        }
    }

    fn names(&self) -> MutexGuard<'_, VecDeque<Hostname>> {
        let names = &self.passed_on;
        names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The web server that has a certificate for this name.
    pub(crate) fn server_for(&self, hostname: &Hostname) -> Option<UpstreamAddress> {
        let shown = self.shown();
        let mut servers = shown.iter();
        let (address, _) = servers.find(|(_, them)| covers(them, hostname))?;
        Some(address.clone())
    }

    /// Those of the names that a web server has a certificate for.
    pub(crate) fn covered<'a>(
        &self,
        address: &UpstreamAddress,
        hostnames: impl Iterator<Item = &'a Hostname>,
    ) -> Vec<Hostname> {
        let shown = self.shown();
        let Some(certificates) = shown.get(address) else {
            return Vec::new();
        };
        hostnames
            .filter(|hostname| covers(certificates, hostname))
            .cloned()
            .collect()
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<UpstreamAddress, HashSet<CertificateDer<'static>>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn covers(certificates: &HashSet<CertificateDer<'static>>, hostname: &Hostname) -> bool {
    let mut certificates = certificates.iter();
    certificates.any(|certificate| onlooker::covers(certificate, hostname))
}

/// Looks at the certificates from time to time, and when a name has got a home, until the relay
/// drains. Does nothing where the configuration says so.
pub(crate) async fn watch(relay: Arc<Relay>) {
    let Some(period) = relay.config().timings.certificates else {
        return relay.draining.cancelled().await;
    };
    let connector = match onlooker::client(vec![HTTP2.to_vec()]) {
        Ok(client) => TlsConnector::from(Arc::new(client)),
        Err(error) => {
            tracing::error!(%error, "The certificates of web servers are not looked at");
            return relay.draining.cancelled().await;
        }
    };
    let mut rounds = interval(period);
    let mut was_covered = false;
    loop {
        tokio::select! {
            () = relay.draining.cancelled() => return,
            _ = rounds.tick() => {}
            () = relay.coalescing.look.notified() => {}
        }
        tokio::select! {
            () = relay.draining.cancelled() => return,
            () = round(&relay, &connector) => {}
        }
        let homes = relay.registry.homes();
        let server_for = |hostname| relay.coalescing.server_for(hostname);
        let is_covered = homes
            .iter()
            .any(|home| server_for(&home.hostname).is_some());
        if is_covered && !was_covered {
            tracing::warn!(
                "A web server beside the relay has a certificate for a home's name, so that \
                 browsers may take it for the home; `cloudless relay status` says what to do"
            );
        }
        was_covered = is_covered;
    }
}

async fn round(relay: &Relay, connector: &TlsConnector) {
    let config = relay.config();
    let servers = routes::https(&config.fallback, &config.routes);
    let known = |address: &UpstreamAddress| servers.contains_key(address);
    relay.coalescing.shown().retain(|address, _| known(address));
    let passed_on: Vec<_> = relay.coalescing.names().iter().cloned().collect();
    let homes = relay.registry.homes().into_iter().map(|home| home.hostname);
    let asked = asked(&config, passed_on, homes);
    for (address, version) in servers {
        let shown = shown(connector, &config, &address, version, &asked).await;
        let certificates = shown.unwrap_or_default();
        relay.coalescing.shown().insert(address, certificates);
    }
}

/// Whether a web server beside a relay that does not run has a certificate for a home's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// This one has.
    By(UpstreamAddress),
    /// None of them has.
    No,
    /// One shows no certificate now, and no other one has it.
    Unknown,
}

/// Asks the web servers of `config` once, for a command that is given while no relay runs: a running
/// one knows. Takes ten seconds at most, however many fall silent.
///
/// # Errors
/// When the system's TLS cannot be set up.
pub async fn coverage(config: &Config, hostname: &Hostname) -> io::Result<Coverage> {
    let client = onlooker::client(vec![HTTP2.to_vec()]).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(client));
    let asked = asked(config, vec![hostname.clone()], std::iter::empty());
    let looks = async {
        let mut coverage = Coverage::No;
        for (address, version) in routes::https(&config.fallback, &config.routes) {
            match shown(&connector, config, &address, version, &asked).await {
                Some(certificates) if covers(&certificates, hostname) => {
                    return Coverage::By(address);
                }
                Some(_) => {}
                None => coverage = Coverage::Unknown,
            }
        }
        coverage
    };
    let coverage = timeout(COVERAGE_MAX, looks).await;
    Ok(coverage.unwrap_or(Coverage::Unknown))
}

/// The names that web servers are asked for: what one has by a name of its own is often refused under
/// another one.
fn asked(
    config: &Config,
    passed_on: Vec<Hostname>,
    homes: impl Iterator<Item = Hostname>,
) -> Vec<Hostname> {
    let routed = config.routes.0.keys().filter_map(Pattern::example);
    let names = [config.server_name.clone()].into_iter();
    let mut seen = HashSet::new();
    let names = names.chain(passed_on).chain(routed).chain(homes);
    let asked = names.filter(|it| seen.insert(it.clone()));
    asked.take(ASKED_MAX).collect()
}

/// The certificates that a web server shows for these names to clients that speak HTTP/2; `None` where
/// it makes no connection with any of them.
async fn shown(
    connector: &TlsConnector,
    config: &Config,
    address: &UpstreamAddress,
    version: Option<Version>,
    asked: &[Hostname],
) -> Option<HashSet<CertificateDer<'static>>> {
    let mut certificates = None;
    for hostname in asked {
        let look = look(connector, address, version, hostname);
        match timeout(config.timings.connect, look).await {
            Ok(Ok(certificate)) => certificates
                .get_or_insert_with(HashSet::new)
                .extend(certificate),
            // It may refuse a name; one that does not answer at all is asked no more.
            Ok(Err(error)) => tracing::debug!(%error, "A web server showed no certificate"),
            Err(_) => break,
        }
    }
    certificates
}

/// The certificate that a web server shows for this name; `None` when it speaks no HTTP/2.
async fn look(
    connector: &TlsConnector,
    address: &UpstreamAddress,
    version: Option<Version>,
    hostname: &Hostname,
) -> io::Result<Option<CertificateDer<'static>>> {
    let header = version.map(|version| proxy_protocol::encode(version, None));
    match upstream::connect(address, &header.unwrap_or_default()).await? {
        Server::Tcp(stream) => certificate(connector, stream, hostname).await,
        Server::Unix(stream) => certificate(connector, stream, hostname).await,
    }
}

async fn certificate<S: AsyncRead + AsyncWrite + Unpin>(
    connector: &TlsConnector,
    stream: S,
    hostname: &Hostname,
) -> io::Result<Option<CertificateDer<'static>>> {
    let name = ServerName::try_from(hostname.to_string()).map_err(io::Error::other)?;
    let stream = connector.connect(name, stream).await?;
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(HTTP2) {
        return Ok(None);
    }
    let certificates = connection.peer_certificates().unwrap_or_default();
    Ok(certificates.first().cloned())
}
