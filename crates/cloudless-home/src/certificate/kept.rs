//! The certificates of a home that does not run, as its files have them.

use std::path::Path;
use std::time::SystemTime;

use cloudless_proto::Hostname;

use super::acme::schedule::Life;
use super::acme::stored;
use super::pair::{Details, Pair};
use super::{CertificateError, CertificateSource, ValidationMethod, directory, file};
use crate::config::unix_ms;
use crate::status::{CertificateKind, CertificateStatus, chain};

/// What the files in a state directory say of each name's certificate; nothing is made or changed.
/// `acme` is the directory of the public authority and how names are proven to it. Blocks on the
/// disk.
pub fn kept(
    state_dir: &Path,
    names: &[(Hostname, CertificateSource)],
    acme: (&str, ValidationMethod),
    now: SystemTime,
) -> Vec<CertificateStatus> {
    let row = |(hostname, source): &(Hostname, CertificateSource)| {
        let read = read(state_dir, hostname, source);
        let shown = |pair: &Pair| {
            let life = pair.life();
            (life.not_before <= now && now < life.not_after).then(|| (life, pair.details().ok()))
        };
        let pair = read.as_ref().ok().and_then(Option::as_ref);
        let mut row = status_of(hostname, source, pair.and_then(shown));
        if *source == CertificateSource::Acme {
            let life = pair.map(Pair::life);
            let (acme, error) = stored::orders(state_dir, hostname, acme, life, now);
            (row.acme, row.error) = (Some(acme), error);
        }
        if let Err(error) = &read {
            row.error = Some(chain(error));
        }
        row
    };
    names.iter().map(row).collect()
}

/// The row of a certificate that is valid now, if there is one.
pub(super) fn status_of(
    hostname: &Hostname,
    source: &CertificateSource,
    shown: Option<(Life, Option<Details>)>,
) -> CertificateStatus {
    let (life, details) = shown.unzip();
    let details = details.flatten();
    CertificateStatus {
        hostname: hostname.clone(),
        kind: CertificateKind::of(source),
        valid_from: life.map(|life| unix_ms(life.not_before)),
        expires_at: life.map(|life| unix_ms(life.not_after)),
        issuer: details.as_ref().map(|it| it.issuer.clone()),
        serial: details.as_ref().map(|it| it.serial.clone()),
        sha256: details.as_ref().map(|it| it.sha256.clone()),
        spki_sha256: details.map(|it| it.spki_sha256),
        error: None,
        acme: None,
    }
}

fn read(
    state_dir: &Path,
    hostname: &Hostname,
    source: &CertificateSource,
) -> Result<Option<Pair>, CertificateError> {
    let text = match source {
        CertificateSource::Files(files) => return files.load().map(Some),
        CertificateSource::Acme => stored::read(state_dir, hostname)?,
        CertificateSource::Own | CertificateSource::Pinned => match source.leaf_kind() {
            Some(kind) => file::read(&directory(state_dir).join(kind.file_name(hostname)))?,
            None => None,
        },
    };
    let read = text.map(|text| Pair::from_pem(&text, &text)).transpose();
    read.map_err(|source| CertificateError::NoCertificate {
        hostname: hostname.clone(),
        source,
    })
}
