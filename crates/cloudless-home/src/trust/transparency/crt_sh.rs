//! crt.sh: a list of what is logged for a name, and each certificate for itself, as the list has no
//! keys. It is slow and allows a few requests in a minute.

use std::collections::BTreeSet;

use cloudless_proto::Hostname;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use x509_parser::pem::parse_x509_pem;

use super::{Issuance, Look, Monitor, Transparency, WatchError, Watched, moment};
use crate::trust::fetch::FetchError;
use crate::trust::time_heard::TimeHeard;

const LIST_MAX: usize = 16 * 1024 * 1024;
const CERTIFICATE_MAX: usize = 64 * 1024;
/// Certificates that one look reads; the rest follows with the next.
const CERTIFICATES_MAX: usize = 20;
/// More ids are not remembered: the smallest, which are the oldest, are forgotten.
const SEEN_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Row {
    id: i64,
    #[serde(default)]
    issuer_name: String,
    #[serde(default)]
    serial_number: String,
    not_before: String,
    not_after: String,
}

impl Row {
    /// A date that cannot be read counts as far away: the certificate is not passed over.
    fn not_after(&self) -> i64 {
        moment(&self.not_after).unwrap_or(i64::MAX)
    }
}

/// Reads the lists for the name and for the wildcard that covers it, then what is new in them.
pub(super) async fn look(
    transparency: &Transparency,
    hostname: &Hostname,
    watched: &mut Watched,
) -> Look {
    let mut look = Look {
        issuances: Vec::new(),
        result: Ok(()),
        time: None,
    };
    look.result = read(
        transparency,
        hostname,
        watched,
        &mut look.issuances,
        &mut look.time,
    )
    .await;
    look
}

async fn read(
    transparency: &Transparency,
    hostname: &Hostname,
    watched: &mut Watched,
    issuances: &mut Vec<Issuance>,
    time: &mut Option<TimeHeard>,
) -> Result<(), WatchError> {
    let fetch = |error: FetchError| WatchError::Fetch(Monitor::CrtSh, error);
    let config = &transparency.config;
    let base = config.crt_sh.as_deref().unwrap_or_default();
    let base = base.trim_end_matches('/');
    let wildcard = hostname
        .as_str()
        .split_once('.')
        .map(|(_, parent)| format!("*.{parent}"));
    // One that begins and ends between two looks may have been used all the same.
    let exclude = match watched.since {
        Some(_) => "",
        None => "&exclude=expired",
    };
    let mut rows: Vec<Row> = Vec::new();
    for identity in [Some(hostname.as_str().to_owned()), wildcard]
        .into_iter()
        .flatten()
    {
        if !rows.is_empty() {
            tokio::time::sleep(config.crt_sh_pause).await;
        }
        let url = format!("{base}/?q={identity}&match=%3D{exclude}&deduplicate=Y&output=json");
        let list = transparency
            .fetcher
            .get(&url, LIST_MAX)
            .await
            .map_err(fetch)?;
        *time = time.or(list.time);
        let list: Vec<Row> = serde_json::from_slice(&list.body)
            .map_err(|error| WatchError::Answer(Monitor::CrtSh, error))?;
        rows.extend(list);
    }
    rows.sort_by_key(|row| row.id);
    rows.retain(|row| !watched.seen.contains(&row.id) && !watched.is_before(row.not_after()));
    // A certificate and its precertificate are two rows with one key.
    let mut serials = BTreeSet::new();
    let mut count = 0;
    for row in rows {
        let serial = (row.issuer_name.clone(), row.serial_number.clone());
        if !row.serial_number.is_empty() && !serials.insert(serial) {
            remember(watched, row.id);
            continue;
        }
        if count == CERTIFICATES_MAX {
            return Err(WatchError::More(Monitor::CrtSh));
        }
        count += 1;
        tokio::time::sleep(config.crt_sh_pause).await;
        let url = format!("{base}/?d={}", row.id);
        let found = transparency
            .fetcher
            .get(&url, CERTIFICATE_MAX)
            .await
            .map_err(fetch)?;
        let key = key(&found.body).ok_or_else(|| {
            let error = serde::de::Error::custom("not a certificate in PEM");
            WatchError::Answer(Monitor::CrtSh, error)
        })?;
        remember(watched, row.id);
        issuances.push(Issuance {
            key,
            not_after: row.not_after(),
            issuer: row.issuer_name,
            not_before: moment(&row.not_before).unwrap_or_default(),
            has_ended: false,
            monitor: Monitor::CrtSh,
            id: row.id.to_string(),
        });
    }
    Ok(())
}

fn remember(watched: &mut Watched, id: i64) {
    watched.seen.insert(id);
    while watched.seen.len() > SEEN_MAX {
        watched.seen.pop_first();
    }
}

/// SHA-256 of the SubjectPublicKeyInfo of a certificate in PEM.
fn key(pem: &[u8]) -> Option<String> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let spki = certificate.public_key().raw;
    Some(HEXLOWER.encode(&Sha256::digest(spki)))
}
