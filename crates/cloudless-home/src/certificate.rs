//! The certificates that visitors see.
//!
//! Each hostname has a certificate authority of its own, made once and good for ten years, that can
//! sign for that name alone (RFC 5280 §4.2.1.10): a new name never disturbs a device that trusts an
//! old one, and a stolen authority is worth one name. The leaf is renewed when a third of its life
//! is left. A certificate that is not valid at this moment is never shown: the connection is closed
//! instead, so that nobody learns to tap "continue".
//!
//! In the state directory: `ca.pem`, all authorities' certificates, for devices to trust; and in
//! `certificates/` for each name `HOST_ca.pem` and `HOST.pem`, both with their keys and mode 0600.

mod authority;
mod file;
mod gate;
mod leaf;
mod ledger;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloudless_proto::Hostname;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;
use tokio_util::sync::CancellationToken;

use self::authority::Authority;
use self::leaf::Leaf;
use crate::config::{Clock, unix_ms};
use crate::status::{CertificateStatus, chain};

pub use self::gate::{Gate, HonestRelay, IntendedOrder, Permission, Refusal, ValidationMethod};
pub use self::ledger::{
    KeyOrigin, KeyRecord, SpkiHash, ledger_file, read as read_ledger, record as record_key,
};

/// Clocks that say an earlier time than this, 2026-01-01, are wrong.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// Where certificates and their keys are.
fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("certificates")
}

/// Where the authorities' certificates are, for devices to trust: PEM, one after another.
pub fn ca_file(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.pem")
}

/// Makes the certificates that are missing or due and writes [`ca_file`], whose path it returns. A
/// running home does this itself; call it to have the file before. Blocks on the disk.
///
/// # Errors
/// The first hostname's [`CertificateError`]; the others have been tried.
pub fn prepare(
    state_dir: &Path,
    hostnames: &[Hostname],
    now: SystemTime,
) -> Result<PathBuf, CertificateError> {
    let mut failure = None;
    let mut bundle = String::new();
    for hostname in hostnames {
        match load(state_dir, hostname, now) {
            Ok((authority, _)) => bundle.push_str(authority.certificate_pem()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    write_bundle(state_dir, &bundle)?;
    failure.map_or_else(|| Ok(ca_file(state_dir)), Err)
}

/// Why there is no valid certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The authority's time has not come or is over.
    #[error(
        "the certificate authority for {hostname} is good from {from} to {until} only: set this \
         machine's clock, or move {} away and let the devices trust the new one", path.display()
    )]
    AuthorityNotValid {
        /// The authority's name.
        hostname: Hostname,
        /// Start of validity.
        from: time::Date,
        /// End of validity.
        until: time::Date,
        /// The authority's file.
        path: PathBuf,
    },
    /// The machine's clock is wrong.
    #[error("this machine's clock is wrong: it says {0}; certificates wait until it is set")]
    Clock(time::Date),
    /// A file holds something else.
    #[error("{} is damaged: restore it, or move it away and let the devices trust the new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate for {hostname}")]
    Issue {
        /// For which name.
        hostname: Hostname,
        /// What went wrong.
        #[source]
        source: rcgen::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS would not take the certificate.
    #[error("cannot use the certificate for {hostname}")]
    Tls {
        /// For which name.
        hostname: Hostname,
        /// What TLS said.
        #[source]
        source: rustls::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}; check the disk and the directory's owner", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The certificates in use, by hostname.
pub(crate) struct Certificates {
    state_dir: PathBuf,
    clock: Clock,
    slots: RwLock<BTreeMap<Hostname, Slot>>,
}

/// One hostname's certificate.
struct Slot {
    held: Option<Held>,
    error: Option<String>,
    /// Kept through renewals, and never shared by two hostnames.
    tickets: Arc<dyn ProducesTickets>,
    authority_pem: String,
}

struct Held {
    config: Arc<ServerConfig>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Held {
    fn is_valid(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    fn is_due(&self, now: SystemTime) -> bool {
        !self.is_valid(now) || leaf::is_due(self.not_before, self.not_after, now)
    }
}

impl Certificates {
    /// Nothing is loaded before the first [`refresh`](Self::refresh).
    pub(crate) fn new(
        state_dir: PathBuf,
        hostnames: &[Hostname],
        clock: Clock,
    ) -> Result<Self, rustls::Error> {
        let slot = |hostname: &Hostname| {
            let tickets = aws_lc_rs::Ticketer::new()?;
            let slot = Slot {
                held: None,
                error: None,
                tickets,
                authority_pem: String::new(),
            };
            Ok((hostname.clone(), slot))
        };
        let slots = hostnames
            .iter()
            .map(slot)
            .collect::<Result<_, rustls::Error>>()?;
        Ok(Self {
            state_dir,
            clock,
            slots: RwLock::new(slots),
        })
    }

    /// The TLS configuration for a server name; `None` for a name that is not ours, and while its
    /// certificate is not valid.
    pub(crate) fn server_config(&self, hostname: &Hostname) -> Option<Arc<ServerConfig>> {
        let now = (self.clock)();
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let held = slots.get(hostname)?.held.as_ref()?;
        held.is_valid(now).then(|| held.config.clone())
    }

    /// Loads, makes and renews what is missing or due. Blocks on the disk.
    pub(crate) fn refresh(&self) {
        let now = (self.clock)();
        let mut is_changed = false;
        for (hostname, tickets) in self.due(now) {
            let loaded = load(&self.state_dir, &hostname, now).and_then(|(authority, leaf)| {
                let config = leaf.server_config(&hostname, tickets)?;
                let (not_before, not_after) = (leaf.not_before, leaf.not_after);
                Ok((
                    authority,
                    Held {
                        config,
                        not_before,
                        not_after,
                    },
                ))
            });
            let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
            let Some(slot) = slots.get_mut(&hostname) else {
                continue;
            };
            match loaded {
                Ok((authority, held)) => {
                    tracing::info!("Certificate ready");
                    tracing::debug!(%hostname, "Certificate ready");
                    slot.held = Some(held);
                    slot.error = None;
                    slot.authority_pem = authority.certificate_pem().to_owned();
                    is_changed = true;
                }
                Err(error) => {
                    let error = chain(&error);
                    if slot.error.as_ref() != Some(&error) {
                        tracing::warn!(error, "No certificate");
                    }
                    slot.error = Some(error);
                }
            }
        }
        if is_changed {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            let bundle: String = slots
                .values()
                .map(|slot| slot.authority_pem.as_str())
                .collect();
            drop(slots);
            if let Err(error) = write_bundle(&self.state_dir, &bundle) {
                tracing::warn!(
                    error = chain(&error),
                    "Cannot write the authorities' certificates"
                );
            }
        }
    }

    pub(crate) fn status(&self) -> Vec<CertificateStatus> {
        let now = (self.clock)();
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let row = |(hostname, slot): (&Hostname, &Slot)| CertificateStatus {
            hostname: hostname.clone(),
            expires_at: slot
                .held
                .as_ref()
                .filter(|held| held.is_valid(now))
                .map(|held| unix_ms(held.not_after)),
            error: slot.error.clone(),
        };
        slots.iter().map(row).collect()
    }

    fn due(&self, now: SystemTime) -> Vec<(Hostname, Arc<dyn ProducesTickets>)> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let is_due = |slot: &Slot| slot.held.as_ref().is_none_or(|held| held.is_due(now));
        let due = slots.iter().filter(|(_, slot)| is_due(slot));
        due.map(|(hostname, slot)| (hostname.clone(), slot.tickets.clone()))
            .collect()
    }
}

/// Looks at the certificates every `interval` until `shutdown`, the first time after it.
pub(crate) async fn keep_fresh(
    certificates: Arc<Certificates>,
    interval: Duration,
    shutdown: CancellationToken,
) {
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

/// The hostname's authority and a leaf that is not due, made now if need be.
fn load(
    state_dir: &Path,
    hostname: &Hostname,
    now: SystemTime,
) -> Result<(Authority, Leaf), CertificateError> {
    if now < UNIX_EPOCH + EARLIEST {
        return Err(CertificateError::Clock(
            time::OffsetDateTime::from(now).date(),
        ));
    }
    let directory = directory(state_dir);
    file::create_directory(&directory)?;
    let authority = Authority::open_or_create(&directory, hostname, now)?;
    let leaf = Leaf::open_or_issue(&directory, hostname, &authority, now)?;
    Ok((authority, leaf))
}

fn write_bundle(state_dir: &Path, bundle: &str) -> Result<(), CertificateError> {
    let path = ca_file(state_dir);
    let is_same = std::fs::read_to_string(&path).is_ok_and(|present| present == bundle);
    if is_same {
        Ok(())
    } else {
        file::write(&path, bundle.as_bytes(), file::PUBLIC)
    }
}

#[cfg(test)]
mod tests;
