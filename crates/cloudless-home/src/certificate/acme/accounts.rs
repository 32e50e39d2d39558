//! Home's accounts at authorities, in one file with their keys.
//!
//! A CAA record that names the account (RFC 8657) lets nobody else have a certificate, and so the
//! file is worth a backup: without it no certificate is renewed until the record is changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use crate::certificate::file::{self, SECRET, create_directory};
use crate::certificate::{CertificateError, directory};

/// An account without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAccount {
    /// The authority's directory.
    pub directory: String,
    /// The account's URL, which CAA records name as `accounturi`.
    pub uri: String,
}

/// Why accounts are not taken from a copy.
#[derive(Debug, thiserror::Error)]
pub enum AccountImportError {
    /// The file of this home cannot be read or written.
    #[error(transparent)]
    File(CertificateError),
    /// The copy holds something else.
    #[error(
        "this is no copy of ACME accounts; `cloudless home certificate account export` makes one"
    )]
    NoCopy(#[source] serde_json::Error),
    /// The copy holds nothing.
    #[error("there is no account in this copy")]
    Empty,
    /// This home has another one.
    #[error(
        "this home has another account at {directory}, {present}, which CAA records may name; to take \
         {imported} in its place, add --replace"
    )]
    Other {
        /// The authority's directory.
        directory: String,
        /// The account that home has.
        present: String,
        /// The one in the copy.
        imported: String,
    },
}

/// Where the accounts are: a JSON object of one account for each directory.
pub fn account_file(state_dir: &Path) -> PathBuf {
    directory(state_dir).join("acme-accounts.json")
}

/// The URL of the account at a directory; `None` before there is one. Blocks on the disk.
///
/// # Errors
/// The file is there and cannot be read.
pub fn account_uri(state_dir: &Path, directory: &str) -> Result<Option<String>, CertificateError> {
    let accounts = known_accounts(state_dir)?.into_iter();
    let mut accounts = accounts.filter(|it| it.directory == directory);
    Ok(accounts.next().map(|it| it.uri))
}

/// All accounts of this home. Blocks on the disk.
///
/// # Errors
/// The file is there and cannot be read.
pub fn known_accounts(state_dir: &Path) -> Result<Vec<KnownAccount>, CertificateError> {
    Ok(Accounts::read(&account_file(state_dir))?.known())
}

/// The accounts with their keys, as [`import_accounts`] takes them; `None` when there is none. Blocks
/// on the disk.
///
/// # Errors
/// The file is there and cannot be read.
pub fn export_accounts(state_dir: &Path) -> Result<Option<Zeroizing<String>>, CertificateError> {
    let path = account_file(state_dir);
    let accounts = Accounts::read(&path)?;
    if accounts.0.is_empty() {
        return Ok(None);
    }
    accounts.text(&path).map(Some)
}

/// Takes accounts over from a copy, and returns those. Home uses them from its next order on. An
/// account that this home has is replaced if `replaces`. Blocks on the disk.
///
/// # Errors
/// [`AccountImportError`]; nothing is changed then.
pub fn import_accounts(
    state_dir: &Path,
    copy: &str,
    replaces: bool,
) -> Result<Vec<KnownAccount>, AccountImportError> {
    let copy = Accounts::parse(copy).map_err(AccountImportError::NoCopy)?;
    let path = account_file(state_dir);
    let mut accounts = Accounts::read(&path).map_err(AccountImportError::File)?;
    let imported = copy.known();
    if imported.is_empty() {
        return Err(AccountImportError::Empty);
    }
    let present = accounts.known();
    for KnownAccount { directory, uri } in &imported {
        let mut others = present.iter().filter(|it| it.directory == *directory);
        if let Some(other) = others.find(|it| it.uri != *uri && !replaces) {
            return Err(AccountImportError::Other {
                directory: directory.clone(),
                present: other.uri.clone(),
                imported: uri.clone(),
            });
        }
    }
    for (directory, account) in &copy.0 {
        accounts.insert(directory, account.clone());
    }
    accounts.write(&path).map_err(AccountImportError::File)?;
    Ok(imported)
}

/// The file's contents: credentials by directory. The keys in it are wiped when it is dropped.
#[derive(Default)]
pub(super) struct Accounts(BTreeMap<String, Value>);

impl Accounts {
    pub(super) fn read(path: &Path) -> Result<Self, CertificateError> {
        match file::read(path)? {
            Some(text) => Self::parse(&text).map_err(|source| damaged(path, source)),
            None => Ok(Self::default()),
        }
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let accounts = Self(serde_json::from_str(text)?);
        for directory in accounts.0.keys() {
            accounts.get(directory).transpose()?;
        }
        Ok(accounts)
    }

    /// The credentials at a directory.
    pub(super) fn get(
        &self,
        directory: &str,
    ) -> Option<Result<AccountCredentials, serde_json::Error>> {
        // The key is read as a borrowed text, which only the text itself has.
        let text = Zeroizing::new(self.0.get(directory)?.to_string());
        Some(serde_json::from_str(&text))
    }

    pub(super) fn insert(&mut self, directory: &str, credentials: Value) {
        if let Some(mut old) = self.0.insert(directory.to_owned(), credentials) {
            wipe(&mut old);
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), CertificateError> {
        if let Some(directory) = path.parent() {
            create_directory(directory)?;
        }
        file::write(path, self.text(path)?.as_bytes(), SECRET)
    }

    fn text(&self, path: &Path) -> Result<Zeroizing<String>, CertificateError> {
        let text = serde_json::to_string_pretty(&self.0);
        text.map(Zeroizing::new)
            .map_err(|source| damaged(path, source))
    }

    fn known(&self) -> Vec<KnownAccount> {
        let accounts = self.0.iter();
        let known = accounts.filter_map(|(directory, account)| {
            Some(KnownAccount {
                directory: directory.clone(),
                uri: account.get("id")?.as_str()?.to_owned(),
            })
        });
        known.collect()
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Object(members) => members.values_mut().for_each(wipe),
        _ => {}
    }
}

pub(super) fn damaged(path: &Path, source: serde_json::Error) -> CertificateError {
    CertificateError::Account {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ONE: &str = "https://one.example/directory";
    const TWO: &str = "https://two.example/directory";

    /// A file with accounts of these numbers, and keys that are none.
    fn copy(accounts: &[(&str, u32)]) -> String {
        let account = |(directory, number): &(&str, u32)| {
            let key = data_encoding::BASE64URL_NOPAD.encode(&number.to_be_bytes());
            let account = serde_json::json!({
                "id": format!("https://ca.example/acct/{number}"),
                "key_pkcs8": key,
                "directory": directory,
            });
            ((*directory).to_owned(), account)
        };
        let accounts: BTreeMap<_, _> = accounts.iter().map(account).collect();
        serde_json::to_string(&accounts).unwrap()
    }

    #[test]
    fn accounts_go_to_another_machine_and_replace_none_unasked() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (here.path(), there.path());
        assert_eq!(export_accounts(here).unwrap(), None);
        import_accounts(here, &copy(&[(ONE, 1), (TWO, 2)]), false).unwrap();
        let exported = export_accounts(here).unwrap().unwrap();
        let known = import_accounts(there, &exported, false).unwrap();
        assert_eq!(known, known_accounts(here).unwrap());
        assert_eq!(export_accounts(there).unwrap(), Some(exported.clone()));
        let mode = std::fs::metadata(account_file(there))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        // Again is harmless.
        import_accounts(there, &exported, false).unwrap();

        let other = copy(&[(ONE, 3)]);
        let refused = import_accounts(there, &other, false).unwrap_err();
        assert!(refused.to_string().contains("acct/1"), "{refused}");
        assert_eq!(export_accounts(there).unwrap(), Some(exported));
        import_accounts(there, &other, true).unwrap();
        let uri = |directory| account_uri(there, directory).unwrap().unwrap();
        assert!(uri(ONE).ends_with("/3") && uri(TWO).ends_with("/2"));
    }

    #[test]
    fn what_is_no_copy_changes_nothing() {
        let state = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{}",
            "[]",
            "{\"https://one.example/directory\": {\"id\": \"x\"}}",
            "{\"https://one.example/directory\": 1}",
        ] {
            assert!(import_accounts(state.path(), text, true).is_err(), "{text}");
        }
        assert!(!account_file(state.path()).exists());
    }
}
