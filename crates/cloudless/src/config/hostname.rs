//! `[hostname."NAME"]` in `home.toml`: what is set for one of home's names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cloudless_home::Passthrough;
use cloudless_home::certificate::{CertificateFiles, CertificateSource};
use cloudless_proto::proxy_protocol::Version;
use cloudless_proto::trust::Level;
use cloudless_proto::{Hostname, UpstreamAddress};
use serde::{Deserialize, Deserializer, de};

/// The tables by the names that they are for.
pub(crate) type HostnameTables = BTreeMap<Hostname, HostnameTable>;

/// What is set for one of home's names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HostnameTable {
    /// The server that gets the name's TLS connections as they came.
    pub(crate) passthrough: Option<UpstreamAddress>,
    /// The server that gets what certificate authorities ask for over plain HTTP.
    pub(crate) passthrough_http: Option<UpstreamAddress>,
    /// Tells the first one the visitor's address.
    pub(crate) proxy_protocol: Option<Version>,
    /// Where the certificate comes from; home's own authority if nothing is said.
    pub(crate) certificate: Option<CertificateChoice>,
    /// The owner's own chain, in PEM.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Its key, in PEM.
    pub(crate) key_file: Option<PathBuf>,
    /// How the name is to be protected.
    #[serde(deserialize_with = "level")]
    pub(crate) trust: Option<Level>,
    /// Demands a client certificate of each device.
    #[serde(default)]
    pub(crate) client_certificates: bool,
}

/// Who signs a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CertificateChoice {
    /// A public authority.
    Acme,
    /// Home's own authority.
    Own,
    /// Home's own authority, for devices that trust this very certificate.
    Pinned,
}

/// Reads a level of trust.
pub(crate) fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Level>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse() {
        Ok(level) => Ok(Some(level)),
        Err(error) => Err(de::Error::custom(format!("`{text}` is no level: {error}"))),
    }
}

impl HostnameTable {
    /// Where the certificate comes from; paths are relative to the state directory.
    pub(crate) fn certificate(&self, state: &Path) -> CertificateSource {
        if let (Some(certificate), Some(key)) = (&self.certificate_file, &self.key_file) {
            return CertificateSource::Files(CertificateFiles {
                certificate: state.join(certificate),
                key: state.join(key),
            });
        }
        match self.certificate {
            Some(CertificateChoice::Acme) => CertificateSource::Acme,
            Some(CertificateChoice::Own) | None => CertificateSource::Own,
            Some(CertificateChoice::Pinned) => CertificateSource::Pinned,
        }
    }

    /// Whether a public authority signs the certificate.
    pub(crate) fn is_acme(&self) -> bool {
        self.certificate == Some(CertificateChoice::Acme)
    }

    /// Whether home's own authority signs the certificate.
    pub(crate) fn has_own_authority(&self) -> bool {
        self.passthrough.is_none() && self.certificate_file.is_none() && !self.is_acme()
    }

    /// The level that its certificate can give. Whose account the owner's own certificate is of, home
    /// does not know, so that it cannot look whether others are kept out.
    pub(crate) fn usual_level(&self) -> Level {
        if self.is_acme() && self.client_certificates {
            Level::ClientCertificates
        } else if self.is_acme() {
            Level::Public
        } else if self.certificate_file.is_some() {
            Level::HonestRelay
        } else {
            Level::Pinned
        }
    }

    /// Which of its settings cannot be used together, and what to do.
    pub(crate) fn contradiction(&self, is_http_01: bool) -> Option<&'static str> {
        let files = [&self.certificate_file, &self.key_file];
        let n_files = files.into_iter().flatten().count();
        let has_certificate = self.certificate.is_some() || n_files > 0;
        if n_files == 1 {
            Some("has one of certificate_file and key_file; write both")
        } else if self.certificate.is_some() && n_files > 0 {
            Some("has `certificate` and certificate_file; keep one of them")
        } else if self.passthrough.is_some() && has_certificate {
            Some(
                "has `passthrough` and a certificate, but the server behind it has its own; remove \
                 one of them",
            )
        } else if self.passthrough.is_some() && self.client_certificates {
            Some(
                "has `passthrough` and client_certificates, but home cannot demand these of what the \
                 server behind it ends; remove one of them",
            )
        } else if self.is_acme() && is_http_01 && self.passthrough_http.is_some() {
            Some(
                "has `passthrough_http` and a certificate by http-01, which both want the ACME path; \
                 remove one of them",
            )
        } else {
            None
        }
    }

    pub(crate) fn passthrough(&self) -> Passthrough {
        Passthrough {
            tls: self.passthrough.clone(),
            http: self.passthrough_http.clone(),
            proxy_protocol: self.proxy_protocol,
        }
    }
}
