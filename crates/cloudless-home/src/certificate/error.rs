//! Why there is no certificate.

use std::io;
use std::path::PathBuf;

use cloudless_proto::Hostname;

/// Why there is no valid certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file with the ACME accounts holds something else.
    #[error(
        "{} is damaged: put the copy from your backup back. Without the account in it, a CAA record \
         that names it has to be changed before there is another certificate", path.display()
    )]
    Account {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
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
    /// The owner's files are no certificate and key.
    #[error("{} and {} are no certificate and its key in PEM", certificate.display(), key.display())]
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong with one of them.
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
    /// An authority sent something that is no certificate for the key.
    #[error("the authority sent something that is no certificate for {hostname}")]
    NoCertificate {
        /// For which name.
        hostname: Hostname,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificate's time has not come or is over.
    #[error("the certificate for {hostname} is good from {from} to {until} only")]
    NotValid {
        /// For which name.
        hostname: Hostname,
        /// Start of validity.
        from: time::Date,
        /// End of validity.
        until: time::Date,
    },
    /// The time of the certificate that devices trust by itself has not come.
    #[error(
        "the certificate for {hostname} that devices trust is good from {from} on: set this machine's \
         clock, or move {} away and let the devices trust the new one", path.display()
    )]
    NotYetValid {
        /// For which name.
        hostname: Hostname,
        /// Start of validity.
        from: time::Date,
        /// The certificate's file.
        path: PathBuf,
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
