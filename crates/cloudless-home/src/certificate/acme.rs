//! Certificates of a public authority (ACME, RFC 8555), for names that every device trusts at once.
//!
//! When to order and what follows a failure is decided in `schedule`, without I/O; each name has a
//! task that does it. The authority comes to look through the relay and the tunnel, and is answered
//! what [`Validations`] holds for as long as the order lasts.

mod account;
mod accounts;
mod authority;
mod client;
mod failure;
mod name;
mod order;
pub(super) mod schedule;
pub(super) mod stored;
mod validations;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cloudless_proto::{Hostname, Redacted};
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::authority::Authority;
use self::client::Client;
use self::name::{Name, Request};
use super::ValidationMethod;
use crate::proxy::Proxy;
use crate::surroundings::Happened;

pub use self::accounts::{
    AccountImportError, KnownAccount, account_file, account_uri, export_accounts, import_accounts,
    known_accounts,
};
pub(crate) use self::authority::Surroundings;
pub(crate) use self::validations::{ALPN, Validations};

/// Clocks that are further apart than this are not both right.
const CLOCKS_APART: Duration = Duration::from_secs(30 * 60);
/// People who wait for one name's certificate.
const REQUESTS_MAX: usize = 8;

/// The public authority and how it is asked.
#[derive(Clone, Debug)]
pub struct AcmeConfig {
    /// The URL of its directory (RFC 8555 section 7.1.1), `https` only.
    pub directory: String,
    /// Whose certificates the authority's own servers may have.
    pub roots: Vec<CertificateDer<'static>>,
    /// How it reaches who runs this home: a `mailto:` URL.
    pub contact: Option<String>,
    /// The profile of the certificates; `None` takes `tlsserver` where the authority has it.
    pub profile: Option<String>,
    /// How names are proven.
    pub method: ValidationMethod,
    /// The account of the authority's own site that the ACME account belongs to.
    pub external_account: Option<ExternalAccount>,
}

/// An account of an authority's own site (RFC 8555 section 7.3.4).
#[derive(Clone, Debug)]
pub struct ExternalAccount {
    /// Its identifier.
    pub key_id: String,
    /// The secret that goes with it.
    pub hmac_key: Redacted<Vec<u8>>,
}

/// The part of home that orders certificates.
pub(crate) struct Acme {
    authority: Arc<Authority>,
    requests: Vec<(Hostname, mpsc::Receiver<Request>)>,
}

/// Asks the names' tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders(Arc<BTreeMap<Hostname, mpsc::Sender<Request>>>);

impl Acme {
    /// Orders for those of the names that have their certificate from the authority.
    pub(crate) fn new(
        config: AcmeConfig,
        proxy: Option<Proxy>,
        surroundings: Surroundings,
    ) -> Result<(Self, Orders), rustls::Error> {
        let clock = surroundings.clock.clone();
        let client = Client::new(config.directory.clone(), &config.roots, proxy, clock)?;
        let hostnames = surroundings.certificates.acme_hostnames();
        let (mut senders, mut requests) = (BTreeMap::new(), Vec::new());
        for hostname in hostnames {
            let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
            senders.insert(hostname.clone(), sender);
            requests.push((hostname, receiver));
        }
        let acme = Self {
            authority: Arc::new(Authority::new(config, client, surroundings)),
            requests,
        };
        Ok((acme, Orders(Arc::new(senders))))
    }

    /// Keeps all names in valid certificates until `stop`.
    pub(crate) async fn run(self, happened: watch::Receiver<Happened>, stop: CancellationToken) {
        let mut names = JoinSet::new();
        for (hostname, requests) in self.requests {
            let name = Name::new(self.authority.clone(), hostname);
            names.spawn(name.run(requests, happened.clone(), stop.clone()));
        }
        while let Some(ended) = names.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        stop.cancelled().await;
    }
}

impl Orders {
    /// Orders a new certificate for a name now and waits for it; `None` for a name that has its
    /// certificate from elsewhere.
    pub(crate) async fn renew(&self, hostname: &Hostname) -> Option<Result<(), String>> {
        let sender = self.0.get(hostname)?;
        let (request, result) = oneshot::channel();
        let stopped = || Err("home is stopping, or waits for too many orders".to_owned());
        if sender.try_send(request).is_err() {
            return Some(stopped());
        }
        Some(result.await.unwrap_or_else(|_| stopped()))
    }
}
