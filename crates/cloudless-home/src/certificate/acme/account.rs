//! The account that a name is ordered with.

use std::path::Path;

use instant_acme::{Account, ExternalAccountKey, NewAccount};

use super::accounts::{Accounts, account_file, damaged};
use super::client::Client;
use super::{AcmeConfig, ExternalAccount};
use crate::certificate::CertificateError;

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
    let accounts = Accounts::read(&path).map_err(AccountError::File)?;
    let builder = || Account::builder_with_http(Box::new(client.clone()));
    if let Some(known) = accounts.get(&config.directory) {
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
    // Others may have been imported meanwhile.
    let mut accounts = Accounts::read(&path).map_err(AccountError::File)?;
    accounts.insert(&config.directory, credentials);
    accounts.write(&path).map_err(AccountError::File)?;
    tracing::info!("An account at the certificate authority was made");
    Ok(account)
}

impl ExternalAccount {
    fn key(&self) -> ExternalAccountKey {
        ExternalAccountKey::new(self.key_id.clone(), self.hmac_key.expose())
    }
}
