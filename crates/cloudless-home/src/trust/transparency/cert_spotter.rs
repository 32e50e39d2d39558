//! The Cert Spotter API, version 1: issuances in the order in which they were found, in pages, and
//! without those that have ended.

use cloudless_proto::Hostname;
use serde::Deserialize;

use super::{Issuance, Look, Monitor, Transparency, WatchError, Watched, moment};

/// One page.
const PAGE_MAX: usize = 4 * 1024 * 1024;
/// Pages of one look; the rest follows with the next.
const PAGES_MAX: usize = 20;

#[derive(Deserialize)]
struct Row {
    id: String,
    pubkey_sha256: String,
    not_before: String,
    not_after: String,
    #[serde(default)]
    issuer: Option<IssuerRow>,
}

#[derive(Deserialize)]
struct IssuerRow {
    #[serde(default)]
    friendly_name: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// Reads pages from where `watched` is up to the empty one.
pub(super) async fn look(
    transparency: &Transparency,
    hostname: &Hostname,
    watched: &mut Watched,
) -> Look {
    let mut look = Look {
        issuances: Vec::new(),
        result: Err(WatchError::More(Monitor::CertSpotter)),
        time: None,
    };
    let base = transparency.config.cert_spotter.as_deref();
    let base = base.unwrap_or_default().trim_end_matches('/');
    for _ in 0..PAGES_MAX {
        let mut url =
            format!("{base}/v1/issuances?domain={hostname}&match_wildcards=true&expand=issuer");
        if let Some(after) = &watched.after {
            url.push_str("&after=");
            url.push_str(after);
        }
        let page = match transparency.fetcher.get(&url, PAGE_MAX).await {
            Ok(page) => page,
            Err(error) => {
                look.result = Err(WatchError::Fetch(Monitor::CertSpotter, error));
                return look;
            }
        };
        look.time = look.time.or(page.time);
        let rows: Vec<Row> = match serde_json::from_slice(&page.body) {
            Ok(rows) => rows,
            Err(error) => {
                look.result = Err(WatchError::Answer(Monitor::CertSpotter, error));
                return look;
            }
        };
        let Some(last) = rows.last() else {
            look.result = Ok(());
            return look;
        };
        // It goes into a URL.
        let is_plain = |id: &str| {
            !id.is_empty()
                && id.len() <= 64
                && id
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
        };
        if !is_plain(&last.id) || watched.after.as_ref() == Some(&last.id) {
            let error = serde::de::Error::custom("a page without a new id");
            look.result = Err(WatchError::Answer(Monitor::CertSpotter, error));
            return look;
        }
        watched.after = Some(last.id.clone());
        look.issuances.extend(rows.into_iter().map(issuance));
    }
    look
}

/// A date that cannot be read counts as far away: the certificate is not passed over.
fn issuance(row: Row) -> Issuance {
    let issuer = row.issuer.and_then(|it| it.friendly_name.or(it.name));
    Issuance {
        key: row.pubkey_sha256.to_ascii_lowercase(),
        issuer: issuer.unwrap_or_else(|| "a certification authority".to_owned()),
        not_before: moment(&row.not_before).unwrap_or_default(),
        not_after: moment(&row.not_after).unwrap_or(i64::MAX),
        has_ended: false,
        monitor: Monitor::CertSpotter,
        id: row.id,
    }
}
