//! Home's account at the authority, in one file with its key.
//!
//! A CAA record that names the account (RFC 8657) lets nobody else have a certificate, and so the
//! file is worth a backup: without it no certificate is renewed until the record is changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use serde_json::Value;

use super::client::Client;
use super::{AcmeConfig, ExternalAccount};
use crate::certificate::file::{self, SECRET, create_directory};
use crate::certificate::{CertificateError, directory};

/// Where the accounts are: a JSON object of one account for each directory.
pub fn account_file(state_dir: &Path) -> PathBuf {
    directory(state_dir).join("acme-accounts.json")
}

/// The URL of the account at a directory, which CAA records name as `accounturi`; `None` before
/// there is one. Blocks on the disk.
///
/// # Errors
/// The file is there and cannot be read.
pub fn account_uri(state_dir: &Path, directory: &str) -> Result<Option<String>, CertificateError> {
    let accounts = read(&account_file(state_dir))?;
    let id = accounts
        .get(directory)
        .and_then(|account| account.get("id"));
    Ok(id.and_then(Value::as_str).map(str::to_owned))
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    #[error(transparent)]
    Acme(instant_acme::Error),
    #[error(
        "this authority wants an account of its own site to be named: write external_account with \
         the key_id and hmac_key that it gives below [acme] in home.toml"
    )]
    ExternalAccountRequired,
    #[error(transparent)]
    File(CertificateError),
}

/// The account of the file, or a new one, which is in the file before this returns.
pub(super) async fn open_or_create(
    state_dir: &Path,
    config: &AcmeConfig,
    client: &Client,
) -> Result<Account, AccountError> {
    let path = account_file(state_dir);
    let mut accounts = read(&path).map_err(AccountError::File)?;
    let builder = || Account::builder_with_http(Box::new(client.clone()));
    if let Some(known) = accounts.get(&config.directory) {
        // The key is read as a borrowed text, which only the text itself has.
        let known: Result<AccountCredentials, _> = serde_json::from_str(&known.to_string());
        let known = known.map_err(|source| AccountError::File(damaged(&path, source)))?;
        let account = builder().from_credentials(known);
        return account.await.map_err(AccountError::Acme);
    }
    let external = config.external_account.as_ref().map(ExternalAccount::key);
    let contact: Vec<&str> = config.contact.as_deref().into_iter().collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let created = builder().create(&new, config.directory.clone(), external.as_ref());
    let (account, credentials) = match created.await {
        Ok(created) => created,
        Err(_) if external.is_none() && client.heard().about.external_account_required => {
            return Err(AccountError::ExternalAccountRequired);
        }
        Err(error) => return Err(AccountError::Acme(error)),
    };
    let credentials = serde_json::to_value(&credentials)
        .map_err(|error| AccountError::Acme(instant_acme::Error::Json(error)))?;
    accounts.insert(config.directory.clone(), credentials);
    write(&path, &accounts).map_err(AccountError::File)?;
    tracing::info!("An account at the certificate authority was made");
    Ok(account)
}

impl ExternalAccount {
    fn key(&self) -> ExternalAccountKey {
        ExternalAccountKey::new(self.key_id.clone(), &self.hmac_key)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Value>, CertificateError> {
    match file::read(path)? {
        Some(text) => serde_json::from_str(&text).map_err(|source| damaged(path, source)),
        None => Ok(BTreeMap::new()),
    }
}

fn write(path: &Path, accounts: &BTreeMap<String, Value>) -> Result<(), CertificateError> {
    if let Some(directory) = path.parent() {
        create_directory(directory)?;
    }
    let text = serde_json::to_vec_pretty(accounts).map_err(|source| damaged(path, source))?;
    file::write(path, &text, SECRET)
}

fn damaged(path: &Path, source: serde_json::Error) -> CertificateError {
    CertificateError::Account {
        path: path.to_owned(),
        source,
    }
}
