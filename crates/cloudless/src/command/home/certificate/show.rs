use std::path::Path;
use std::time::SystemTime;

use anyhow::bail;
use clap::Args;
use cloudless_home::admin::{Command, Reply};
use cloudless_home::certificate;
use cloudless_home::status::{AcmeStatus, CertificateKind, CertificateStatus};
use cloudless_proto::Hostname;

use super::labeled;
use crate::admin_socket;
use crate::clock;
use crate::config::home::HomeFile;
use crate::figures;
use crate::state::HomeState;
use crate::terminal::{self, BAD, BOLD};

/// Show each name's certificate, where it comes from, and when the next one is ordered
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless home certificate show
  cloudless home certificate show contacts.example.org --json

The fingerprint is what a device shows that asks whether to trust a certificate: compare all of it.
The account is what a CAA record names as accounturi. When home is not running, its files are shown.")]
pub(super) struct Show {
    /// Only this name's
    hostname: Option<Hostname>,
    #[command(flatten)]
    state: HomeState,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let state = self.state.directory()?;
        let mut rows = match admin_socket::ask(&state, admin_socket::HOME, &Command::Status)? {
            Some(Reply::Status(status)) => status.certificates,
            Some(Reply::Error { message }) => bail!(message),
            Some(_) => bail!("home answered something else than its status"),
            None => {
                terminal::note("home is not running; this is what its files say");
                kept(&state)?
            }
        };
        if let Some(hostname) = &self.hostname {
            rows.retain(|row| row.hostname == *hostname);
            if rows.is_empty() {
                bail!(
                    "home shows no certificate for {hostname}; it is no name of this home, or passed through"
                );
            }
        }
        if self.json {
            return terminal::json(&rows);
        }
        let now = clock::unix_ms();
        for row in &rows {
            lines(row, now).iter().try_for_each(terminal::data)?;
        }
        Ok(())
    }
}

/// The rows of a home that does not run.
fn kept(state: &Path) -> anyhow::Result<Vec<CertificateStatus>> {
    let file = HomeFile::read(state)?;
    let hostnames = file.hostnames.iter();
    let own = hostnames.filter_map(|hostname| {
        let table = file.hostname.get(hostname);
        let is_passed = table.is_some_and(|table| table.passthrough.is_some());
        let source = table.map(|table| table.certificate(state));
        (!is_passed).then(|| (hostname.clone(), source.unwrap_or_default()))
    });
    let acme = (file.acme.directory.as_str(), file.acme.method());
    Ok(certificate::kept(
        state,
        &own.collect::<Vec<_>>(),
        acme,
        SystemTime::now(),
    ))
}

fn lines(row: &CertificateStatus, now: i64) -> Vec<String> {
    let name = &row.hostname;
    let mut lines = vec![format!("{BOLD}{name}{BOLD:#}")];
    lines.push(labeled("from", kind(row.kind)));
    match (row.valid_from, row.expires_at) {
        (Some(from), Some(until)) => {
            let (from, until) = (clock::utc_ms(from), clock::utc_ms(until));
            lines.push(labeled("valid", &format!("from {from} until {until}")));
        }
        _ => lines.push(labeled(
            "valid",
            &format!("{BAD}none now{BAD:#}: phones are not answered"),
        )),
    }
    let shown = [
        ("issuer", row.issuer.clone()),
        ("fingerprint (SHA-256)", row.sha256.as_deref().map(pairs)),
        (
            "public key (SHA-256)",
            row.spki_sha256.as_ref().map(ToString::to_string),
        ),
    ];
    for (label, text) in shown {
        lines.extend(text.map(|text| labeled(label, &terminal::clean(&text))));
    }
    if let Some(acme) = &row.acme {
        lines.extend(orders(acme, now));
    }
    if let Some(error) = &row.error {
        lines.push(labeled("last error", &terminal::clean(error)));
    }
    lines
}

fn orders(acme: &AcmeStatus, now: i64) -> Vec<String> {
    let mut lines = vec![labeled("authority", &terminal::clean(&acme.directory))];
    let account = acme.account.as_deref().unwrap_or("none yet");
    lines.push(labeled("account", &terminal::clean(account)));
    lines.push(labeled("proven by", &terminal::clean(&acme.method)));
    let next = match acme.next_order {
        _ if acme.is_ordering => "under way".to_owned(),
        Some(at) if at > now => format!("in {}", figures::between(now, at)),
        Some(_) => "once home runs and a relay is connected".to_owned(),
        None => "none".to_owned(),
    };
    lines.push(labeled("next order", &next));
    if acme.failures > 0 {
        lines.push(labeled("failed since the last", &acme.failures.to_string()));
    }
    lines
}

fn kind(kind: CertificateKind) -> &'static str {
    match kind {
        CertificateKind::Acme => "a public authority (ACME)",
        CertificateKind::Files => "your own files",
        CertificateKind::Own => "home's own authority (ca.pem)",
        CertificateKind::Pinned => {
            "home's own authority, for devices that trust this very certificate"
        }
    }
}

/// Hexadecimal as devices show it.
fn pairs(digits: &str) -> String {
    let digits = digits.to_ascii_uppercase();
    let pairs = digits.as_bytes().chunks(2);
    let pairs: Vec<_> = pairs.map(String::from_utf8_lossy).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_looks_as_devices_show_it() {
        assert_eq!(pairs("0a1bff"), "0A:1B:FF");
    }
}
