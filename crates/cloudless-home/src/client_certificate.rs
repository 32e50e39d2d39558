//! Client certificates: what a device has to prove beside its password, on a hostname of its own.
//!
//! Whoever imitates the name, a relay with a certificate of its own, cannot pass such a login on; and
//! whoever scans the Internet gets no further than the handshake. A certificate is good for as long
//! as its device is in the store, which keeps a hash of it: the authority that signs it tells phones
//! which of their certificates is meant, and lets nobody in.

mod authority;
mod demand;
mod pkcs12;

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

pub(crate) use authority::Authority;
pub(crate) use demand::Demand;
pub(crate) use pkcs12::pkcs12;

use crate::certificate::CertificateError;

/// Why there is no client certificate, or none can be demanded.
#[derive(Debug, thiserror::Error)]
pub enum ClientCertificateError {
    /// The authority's file cannot be read, written or understood.
    #[error("the authority of the client certificates is of no use")]
    File(#[source] CertificateError),
    /// The authority's file holds something else.
    #[error(
        "{} is damaged: restore it, or move it away and add the devices with a client certificate \
         anew", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A certificate could not be made.
    #[error("cannot make a client certificate")]
    Issue(#[source] rcgen::Error),
    /// A certificate could not be packed for a device.
    #[error("cannot pack a client certificate as PKCS#12")]
    Pack(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TLS takes no such demand.
    #[error("cannot demand client certificates")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// By what the store knows a certificate, given in DER.
pub(crate) fn hash(certificate: &[u8]) -> [u8; 32] {
    Sha256::digest(certificate).into()
}
