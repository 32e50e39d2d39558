//! One name's certificate in use, and what is known of it.

use std::sync::Arc;
use std::time::SystemTime;

use cloudless_proto::Hostname;
use rustls::ServerConfig;
use rustls::server::ProducesTickets;
use rustls_pki_types::CertificateDer;

use crate::certificate::acme::schedule::Life;
use crate::certificate::files::Stamp;
use crate::certificate::pair::{Details, Pair};
use crate::certificate::{CertificateError, CertificateSource};
use crate::status::AcmeStatus;

/// One hostname's certificate.
pub(super) struct Slot {
    pub(super) source: CertificateSource,
    pub(super) held: Option<Held>,
    pub(super) error: Option<String>,
    /// Kept through renewals, and never shared by two hostnames.
    pub(super) tickets: Arc<dyn ProducesTickets>,
    pub(super) authority_pem: String,
    pub(super) look: Look,
    pub(super) acme: Option<AcmeStatus>,
}

/// What was seen of the owner's files.
#[derive(Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) seen: Option<Stamp>,
    pub(super) tried: Option<Stamp>,
}

pub(super) struct Held {
    pub(super) config: Arc<ServerConfig>,
    pub(super) leaf: CertificateDer<'static>,
    pub(super) life: Life,
    pub(super) details: Option<Details>,
}

impl Slot {
    /// Whether a look at the disk is due.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        match (&self.source, &self.held) {
            (CertificateSource::Files(_), _) | (_, None) => true,
            (source, Some(held)) => source.leaf_kind().is_some_and(|kind| {
                let Life {
                    not_before,
                    not_after,
                } = held.life;
                // What was wrong, such as the clock, may be over.
                self.error.is_some()
                    || !held.is_valid(now)
                    || kind.is_due(not_before, not_after, now)
            }),
        }
    }

    /// Notes what the owner's files look like now, and says whether they are to be read.
    pub(super) fn look(&mut self, stamp: Stamp, now: SystemTime) -> bool {
        let is_first = self.look.seen.is_none();
        let is_same = self.look.seen == Some(stamp);
        let is_tried = self.look.tried == Some(stamp);
        self.look.seen = Some(stamp);
        if is_tried {
            // They are the ones in use, so that what was wrong in between is over; or they are of
            // no use, until the time comes.
            let is_valid = self.held.as_ref().is_some_and(|held| held.is_valid(now));
            let is_in_use = is_valid && self.error.is_none();
            return !is_in_use && is_same;
        }
        let is_settled = is_first || is_same;
        if is_settled {
            self.look.tried = Some(stamp);
        }
        is_settled
    }
}

impl Held {
    pub(super) fn new(
        pair: &Pair,
        hostname: &Hostname,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Self, CertificateError> {
        Ok(Self {
            config: pair.server_config(hostname, tickets)?,
            leaf: pair.leaf().clone(),
            life: pair.life(),
            details: pair.details().ok(),
        })
    }

    /// Of a chain and its key in one text.
    pub(super) fn of_pem(
        hostname: &Hostname,
        pem: &str,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Self, CertificateError> {
        let pair = Pair::from_pem(pem, pem).map_err(|source| CertificateError::NoCertificate {
            hostname: hostname.clone(),
            source,
        })?;
        Self::new(&pair, hostname, tickets)
    }

    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.life.not_before <= now && now < self.life.not_after
    }

    /// The same, as an error that says why not.
    pub(super) fn require_valid(
        &self,
        hostname: &Hostname,
        now: SystemTime,
    ) -> Result<(), CertificateError> {
        if self.is_valid(now) {
            return Ok(());
        }
        Err(CertificateError::NotValid {
            hostname: hostname.clone(),
            from: time::OffsetDateTime::from(self.life.not_before).date(),
            until: time::OffsetDateTime::from(self.life.not_after).date(),
        })
    }
}
