//! What is known of the names over restarts of home.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cloudless_proto::Hostname;
use serde::{Deserialize, Serialize};

use crate::certificate::file;
use crate::status::chain;
use crate::trust::dns::DnsConfigError;
use crate::trust::report::Account;
use crate::trust::transparency::Watched;

/// So long, in milliseconds, the logs need not be asked again before an order: each look in between
/// finds the name protected, so that nobody else could get a certificate.
const UNBROKEN_MAX: u64 = 7 * 24 * 60 * 60 * 1000;
/// The file in the state directory.
const FILE: &str = "trust.json";

/// Why the watch cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The DNS cannot be asked.
    #[error(transparent)]
    Dns(#[from] DnsConfigError),
    /// What was found out before cannot be read or written.
    #[error("cannot use {}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// What is known over restarts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    pub(super) names: BTreeMap<Hostname, KeptName>,
    /// Keys that the owner has said are theirs.
    pub(super) accepted: BTreeSet<String>,
    /// The alarms of this moment that the webhook has taken.
    pub(super) told: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KeptName {
    /// The account that the name's CAA records have to name.
    pub(super) account: Option<Account>,
    /// The one that the next order is made with, where it is another: the records that protect the
    /// name still name the one above.
    pub(super) next: Option<Account>,
    /// Whether the last look that saw anything found the name protected.
    pub(super) is_protected: bool,
    /// When a look last found it protected, in Unix milliseconds.
    #[serde(with = "cloudless_proto::rfc3339::milliseconds::option")]
    pub(super) protected_at: Option<i64>,
    /// Whether the logs showed nothing unknown before the first order, and the name has been protected
    /// ever since. Without that the next order is as good as the first: somebody else may have got a
    /// certificate in the meantime.
    pub(super) is_clean: bool,
    /// How often it was not known any more that nobody else could get a certificate.
    pub(super) breaks: u64,
    /// After how many of these the last look at the logs began that told everything.
    pub(super) told_after: Option<u64>,
    pub(super) watched: Watched,
}

impl KeptName {
    /// The account that the next order is made with.
    pub(super) fn ordering(&self) -> Option<&Account> {
        self.next.as_ref().or(self.account.as_ref())
    }

    /// Takes note of the account that the next order is made with. A name that is protected goes on
    /// being judged by the one before, too.
    pub(super) fn learn(&mut self, account: Account) {
        let is_other = self.account.as_ref().is_some_and(|it| *it != account);
        let is_other_account =
            |it: &Account| (&it.issuer, &it.uri) != (&account.issuer, &account.uri);
        if self.ordering().is_some_and(is_other_account) {
            self.break_off();
        }
        if is_other && self.is_protected {
            self.next = Some(account);
        } else {
            (self.account, self.next) = (Some(account), None);
        }
    }

    /// A look saw something, at `now` in Unix milliseconds.
    pub(super) fn see(&mut self, is_protected: bool, now: i64) {
        let is_recent = |at: i64| now.abs_diff(at) < UNBROKEN_MAX;
        let was_protected = self.is_protected && self.protected_at.is_some_and(is_recent);
        if !(is_protected && was_protected) {
            self.break_off();
        }
        self.is_protected = is_protected;
        if is_protected {
            self.protected_at = Some(now);
        }
    }

    /// Somebody else may have got a certificate since it was last looked for.
    fn break_off(&mut self) {
        self.is_clean = false;
        self.breaks = self.breaks.saturating_add(1);
    }

    /// Whether the logs have told everything since nobody else can get a certificate any more.
    pub(super) fn is_told(&self) -> bool {
        self.told_after == Some(self.breaks)
    }

    /// The records were seen to be those for the next account, if it still is this one.
    pub(super) fn settle(&mut self, seen: Option<Account>) {
        if self.next == seen {
            self.account = self.next.take();
        }
    }
}

/// Where it is kept.
pub(super) fn file_in(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Says that a key is the owner's, for a home that does not run. Blocks on the disk.
///
/// # Errors
/// What was found out before cannot be read or written.
pub fn accept_key(state_dir: &Path, key: &str) -> Result<(), TrustError> {
    let path = file_in(state_dir);
    let mut kept = read(&path)?;
    accept(&mut kept, key);
    write(&path, &kept)
}

pub(super) fn accept(kept: &mut Kept, key: &str) {
    let key = key.to_ascii_lowercase();
    for name in kept.names.values_mut() {
        name.watched.unknown.retain(|it| it.key != key);
    }
    kept.accepted.insert(key);
}

pub(super) fn read(path: &Path) -> Result<Kept, TrustError> {
    let fault = |message: String| TrustError::File {
        path: path.to_owned(),
        message,
    };
    match std::fs::read(path) {
        Ok(text) => {
            let kept = serde_json::from_slice(&text);
            let mut kept: Kept = kept.map_err(|error| fault(error.to_string()))?;
            let names = kept.names.values_mut();
            names.for_each(|name| name.watched.upgrade());
            Ok(kept)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(fault(error.to_string())),
    }
}

pub(super) fn write(path: &Path, kept: &Kept) -> Result<(), TrustError> {
    let fault = |message: String| TrustError::File {
        path: path.to_owned(),
        message,
    };
    let text = serde_json::to_vec_pretty(kept).map_err(|error| fault(error.to_string()))?;
    file::write(path, &text, file::SECRET).map_err(|error| fault(chain(&error)))
}
