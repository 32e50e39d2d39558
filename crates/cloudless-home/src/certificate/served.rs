//! The certificates in use.

mod authority_clock;
mod loaded;
mod slot;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use cloudless_proto::Hostname;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use self::authority_clock::AuthorityClock;
use self::loaded::{Loaded, Task};
use self::slot::{Held, Look, Slot};
use super::acme::schedule::Life;
use super::acme::stored;
use super::kept::status_of;
use super::leaf::LeafKind;
use super::{CertificateError, CertificateSource, authority_files, load_own, renew_own};
use crate::config::{BootClock, Clock, Timings};
use crate::status::{AcmeStatus, CertificateStatus, chain};

/// The certificates in use, by hostname.
pub(crate) struct Certificates {
    state_dir: PathBuf,
    clock: Clock,
    boot_clock: BootClock,
    slots: RwLock<BTreeMap<Hostname, Slot>>,
    /// The clock of the public authority, where this machine's was another when it was heard.
    authority_clock: Mutex<Option<AuthorityClock>>,
}

impl Certificates {
    /// Nothing is loaded before the first [`refresh`](Self::refresh).
    pub(crate) fn new(
        state_dir: PathBuf,
        sources: &[(Hostname, CertificateSource)],
        clock: Clock,
        boot_clock: BootClock,
    ) -> Result<Self, rustls::Error> {
        let slot = |(hostname, source): &(Hostname, CertificateSource)| {
            let slot = Slot {
                source: source.clone(),
                held: None,
                error: None,
                tickets: aws_lc_rs::Ticketer::new()?,
                authority_pem: String::new(),
                look: Look::default(),
                acme: None,
            };
            Ok((hostname.clone(), slot))
        };
        let slots = sources
            .iter()
            .map(slot)
            .collect::<Result<_, rustls::Error>>()?;
        Ok(Self {
            state_dir,
            clock,
            boot_clock,
            slots: RwLock::new(slots),
            authority_clock: Mutex::new(None),
        })
    }

    /// The TLS configuration for a server name; `None` for a name that is not ours, and while its
    /// certificate is not valid.
    pub(crate) fn server_config(&self, hostname: &Hostname) -> Option<Arc<ServerConfig>> {
        let now = (self.clock)();
        let slots = self.read();
        let slot = slots.get(hostname)?;
        let held = slot.held.as_ref()?;
        // Neither clock may say that it is over.
        let is_valid = match slot.source {
            CertificateSource::Acme => {
                held.is_valid(now) && self.authority_time().is_none_or(|it| held.is_valid(it))
            }
            _ => held.is_valid(now),
        };
        is_valid.then(|| held.config.clone())
    }

    /// Loads, makes and renews what is missing or due. Blocks on the disk.
    pub(crate) fn refresh(&self) {
        let now = (self.clock)();
        let mut is_changed = false;
        for task in self.tasks(|slot| slot.is_due(now)) {
            let loaded = match &task.source {
                CertificateSource::Acme => match self.load_stored(&task) {
                    Ok(None) => continue,
                    Ok(Some(loaded)) => Ok(loaded),
                    Err(error) => Err(error),
                },
                CertificateSource::Files(files) => match self.load_files(&task, files, now) {
                    Ok(None) => continue,
                    Ok(Some(loaded)) => Ok(loaded),
                    Err(error) => Err(error),
                },
                CertificateSource::Own => self.load_own(&task, LeafKind::Renewed, load_own),
                CertificateSource::Pinned => self.load_own(&task, LeafKind::Pinned, load_own),
            };
            is_changed |= self.put(&task.hostname, loaded);
        }
        if is_changed {
            self.write_authorities();
        }
    }

    /// Whether there are names whose certificate is in the owner's files.
    pub(crate) fn has_files(&self) -> bool {
        let slots = self.read();
        let is_file = |slot: &Slot| matches!(slot.source, CertificateSource::Files(_));
        slots.values().any(is_file)
    }

    /// Makes a new certificate of home's own now, or reads the owner's files again.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) fn renew(&self, hostname: &Hostname) -> Result<(), String> {
        let mut tasks = self.tasks(|_| true).into_iter();
        let Some(task) = tasks.find(|task| task.hostname == *hostname) else {
            return Err(format!("home has no certificate of its own for {hostname}"));
        };
        let now = (self.clock)();
        let loaded = match &task.source {
            CertificateSource::Own => self.load_own(&task, LeafKind::Renewed, renew_own),
            CertificateSource::Files(files) => {
                self.forget_look(hostname);
                match self.load_files(&task, files, now) {
                    Ok(Some(loaded)) => Ok(loaded),
                    Ok(None) => return Ok(()),
                    Err(error) => Err(error),
                }
            }
            CertificateSource::Pinned => {
                let path = super::directory(&self.state_dir);
                let path = path.join(LeafKind::Pinned.file_name(hostname));
                return Err(format!(
                    "devices trust this very certificate of {hostname}, and each would ask about \
                     another one; if that is wanted, move {} away and start home again",
                    path.display()
                ));
            }
            CertificateSource::Acme => {
                return Err(format!(
                    "{hostname} has its certificate from an ACME authority"
                ));
            }
        };
        let error = loaded.as_ref().err().map(|error| chain(error));
        if self.put(hostname, loaded) {
            self.write_authorities();
        }
        error.map_or(Ok(()), Err)
    }

    /// The names with a certificate from a public authority.
    pub(crate) fn acme_hostnames(&self) -> Vec<Hostname> {
        let slots = self.read();
        let acme = slots
            .iter()
            .filter(|(_, slot)| slot.source == CertificateSource::Acme);
        acme.map(|(hostname, _)| hostname.clone()).collect()
    }

    /// A certificate of the public authority: on the disk, then in use.
    pub(super) fn install(&self, hostname: &Hostname, pem: &str) -> Result<Life, CertificateError> {
        let tickets = self.tickets(hostname)?;
        let held = Held::of_pem(hostname, pem, tickets)?;
        held.require_valid(hostname, (self.clock)())?;
        stored::write(&self.state_dir, hostname, pem)?;
        let life = held.life;
        let authority_pem = String::new();
        self.put(
            hostname,
            Ok(Loaded {
                held,
                authority_pem,
            }),
        );
        Ok(life)
    }

    /// The certificate that is in use or was last, and its time.
    pub(super) fn held(&self, hostname: &Hostname) -> Option<(CertificateDer<'static>, Life)> {
        let slots = self.read();
        let held = slots.get(hostname)?.held.as_ref()?;
        Some((held.leaf.clone(), held.life))
    }

    /// What the orders of a name have come to.
    pub(super) fn set_acme(&self, hostname: &Hostname, status: AcmeStatus, error: Option<String>) {
        if let Some(slot) = self.write().get_mut(hostname) {
            slot.acme = Some(status);
            slot.error = error;
        }
    }

    /// What the public authority's clock said just now; `None` if it agrees with this machine's.
    pub(super) fn hear(&self, authority_time: Option<SystemTime>) {
        let clock = authority_time.map(|it| AuthorityClock::heard(it, (self.boot_clock)()));
        *self.authority_clock() = clock;
    }

    pub(crate) fn status(&self) -> Vec<CertificateStatus> {
        let now = (self.clock)();
        let slots = self.read();
        let row = |(hostname, slot): (&Hostname, &Slot)| {
            let held = slot.held.as_ref().filter(|held| held.is_valid(now));
            let shown = held.map(|held| (held.life, held.details.clone()));
            CertificateStatus {
                error: slot.error.clone(),
                acme: slot.acme.clone(),
                ..status_of(hostname, &slot.source, shown)
            }
        };
        slots.iter().map(row).collect()
    }

    fn tasks(&self, is_wanted: impl Fn(&Slot) -> bool) -> Vec<Task> {
        let slots = self.read();
        let wanted = slots.iter().filter(|(_, slot)| is_wanted(slot));
        let task = |(hostname, slot): (&Hostname, &Slot)| Task {
            hostname: hostname.clone(),
            source: slot.source.clone(),
            tickets: slot.tickets.clone(),
        };
        wanted.map(task).collect()
    }

    /// Puts what was loaded to use, or tells why there is nothing new: what is in use stays. Returns
    /// whether it is another one.
    fn put(&self, hostname: &Hostname, loaded: Result<Loaded, CertificateError>) -> bool {
        let mut slots = self.write();
        let Some(slot) = slots.get_mut(hostname) else {
            return false;
        };
        match loaded {
            Ok(Loaded {
                held,
                authority_pem,
            }) => {
                tracing::info!("Certificate ready");
                tracing::debug!(%hostname, "Certificate ready");
                slot.held = Some(held);
                slot.error = None;
                slot.authority_pem = authority_pem;
                true
            }
            Err(error) => {
                let error = chain(&error);
                if slot.error.as_ref() != Some(&error) {
                    tracing::warn!("No new certificate; `cloudless home status` says why");
                    // Names the host, in a path at least.
                    tracing::debug!(%hostname, error, "No new certificate");
                }
                slot.error = Some(error);
                false
            }
        }
    }

    fn write_authorities(&self) {
        let slots = self.read();
        let own = slots
            .iter()
            .filter(|(_, slot)| !slot.authority_pem.is_empty());
        let own: Vec<_> = own
            .map(|(hostname, slot)| (hostname.clone(), slot.authority_pem.clone()))
            .collect();
        drop(slots);
        if let Err(error) = authority_files::write(&self.state_dir, &own) {
            tracing::warn!(
                "Cannot write the certificates of home's authorities for devices to trust; check the \
                 disk and the owner of the state directory"
            );
            // The path may have a host's name in it.
            tracing::debug!(error = chain(&error), "The authorities' certificates");
        }
    }

    fn tickets(&self, hostname: &Hostname) -> Result<Arc<dyn ProducesTickets>, CertificateError> {
        let slots = self.read();
        let tickets = slots.get(hostname).map(|slot| slot.tickets.clone());
        tickets.ok_or_else(|| CertificateError::Tls {
            hostname: hostname.clone(),
            source: rustls::Error::General("the name is not served".to_owned()),
        })
    }

    /// The time by the public authority's clock, where this machine's was another.
    fn authority_time(&self) -> Option<SystemTime> {
        let clock = *self.authority_clock();
        clock.map(|it| it.now((self.boot_clock)()))
    }

    fn authority_clock(&self) -> MutexGuard<'_, Option<AuthorityClock>> {
        let clock = self.authority_clock.lock();
        clock.unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Hostname, Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Hostname, Slot>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the certificates until `shutdown`, the first time after a while; at the owner's files
/// more often.
pub(crate) async fn keep_fresh(
    certificates: Arc<Certificates>,
    timings: Timings,
    shutdown: CancellationToken,
) {
    let interval = if certificates.has_files() {
        timings.certificate_check.min(timings.certificate_files)
    } else {
        timings.certificate_check
    };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(interval) => refresh(&certificates).await,
        }
    }
}

/// Looks at the certificates once, off the threads that serve.
pub(crate) async fn refresh(certificates: &Arc<Certificates>) {
    let certificates = certificates.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || certificates.refresh()).await {
        tracing::error!(%error, "Looking at the certificates failed");
    }
}
