//! What is on the disk or made anew, on its way to use.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use cloudless_proto::Hostname;
use rustls::server::ProducesTickets;

use super::Certificates;
use super::slot::{Held, Look};
use crate::certificate::acme::stored;
use crate::certificate::authority::Authority;
use crate::certificate::files::Stamp;
use crate::certificate::leaf::LeafKind;
use crate::certificate::ledger::{self, KeyOrigin, KeyRecord};
use crate::certificate::pair::Pair;
use crate::certificate::{CertificateError, CertificateFiles, CertificateSource};
use crate::config::unix_ms;
use crate::status::chain;

/// What one look at a name's certificate came to.
pub(super) struct Loaded {
    pub(super) held: Held,
    pub(super) authority_pem: String,
}

/// A name and what is needed to load its certificate.
pub(super) struct Task {
    pub(super) hostname: Hostname,
    pub(super) source: CertificateSource,
    pub(super) tickets: Arc<dyn ProducesTickets>,
}

impl Certificates {
    pub(super) fn load_own(
        &self,
        task: &Task,
        kind: LeafKind,
        load: impl Fn(
            &Path,
            &Hostname,
            LeafKind,
            SystemTime,
        ) -> Result<(Authority, Pair), CertificateError>,
    ) -> Result<Loaded, CertificateError> {
        let now = (self.clock)();
        let (authority, leaf) = load(&self.state_dir, &task.hostname, kind, now)?;
        Ok(Loaded {
            held: Held::new(&leaf, &task.hostname, task.tickets.clone())?,
            authority_pem: authority.certificate_pem().to_owned(),
        })
    }

    /// The public authority's certificate from before; `None` when there is none.
    pub(super) fn load_stored(&self, task: &Task) -> Result<Option<Loaded>, CertificateError> {
        let Some(pem) = stored::read(&self.state_dir, &task.hostname)? else {
            return Ok(None);
        };
        let held = Held::of_pem(&task.hostname, &pem, task.tickets.clone())?;
        Ok(Some(Loaded {
            held,
            authority_pem: String::new(),
        }))
    }

    /// The owner's files, when they are others than before and nobody writes to them any more. The
    /// first look takes them as they are.
    pub(super) fn load_files(
        &self,
        task: &Task,
        files: &CertificateFiles,
        now: SystemTime,
    ) -> Result<Option<Loaded>, CertificateError> {
        let stamp = files.stamp()?;
        let is_settled = self.look(&task.hostname, stamp);
        if !is_settled {
            return Ok(None);
        }
        let pair = files.load()?;
        if files.stamp()? != stamp {
            // Written to meanwhile: this look does not count.
            self.forget_try(&task.hostname);
            return Ok(None);
        }
        let held = Held::new(&pair, &task.hostname, task.tickets.clone())?;
        held.require_valid(&task.hostname, now)?;
        if let Some(details) = &held.details {
            let key = KeyRecord {
                at: unix_ms(now),
                hostname: task.hostname.clone(),
                spki_sha256: details.spki_sha256.clone(),
                origin: KeyOrigin::File,
            };
            if let Err(error) = ledger::record(&self.state_dir, &key) {
                tracing::warn!(error = chain(&error), "Cannot record the key of a file");
            }
        }
        Ok(Some(Loaded {
            held,
            authority_pem: String::new(),
        }))
    }

    /// Notes what the files look like now, and says whether they are to be read.
    fn look(&self, hostname: &Hostname, stamp: Stamp) -> bool {
        let now = (self.clock)();
        let mut slots = self.write();
        slots
            .get_mut(hostname)
            .is_some_and(|slot| slot.look(stamp, now))
    }

    pub(super) fn forget_look(&self, hostname: &Hostname) {
        if let Some(slot) = self.write().get_mut(hostname) {
            slot.look = Look::default();
        }
    }

    fn forget_try(&self, hostname: &Hostname) {
        if let Some(slot) = self.write().get_mut(hostname) {
            slot.look.tried = None;
        }
    }
}
