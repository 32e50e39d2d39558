//! The certificate authority, as all names share it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use instant_acme::Account;

use super::AcmeConfig;
use super::account::{self, AccountError};
use super::accounts::account_uri;
use super::client::Client;
use super::failure::{OrderError, compare_clocks};
use super::validations::Validations;
use crate::certificate::{Certificates, Gate};
use crate::config::Clock;
use crate::status::Board;

/// What every order needs.
pub(super) struct Authority {
    pub(super) config: AcmeConfig,
    pub(super) state_dir: PathBuf,
    pub(super) client: Client,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) validations: Arc<Validations>,
    pub(super) board: Board,
    pub(super) clock: Clock,
    /// The account's URL, once it is known.
    uri: Mutex<Option<String>>,
    /// Held while the account is opened, so that two names do not make two.
    opening: tokio::sync::Mutex<()>,
}

/// The parts of home that orders go through.
pub(crate) struct Surroundings {
    pub(crate) state_dir: PathBuf,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) validations: Arc<Validations>,
    pub(crate) board: Board,
    pub(crate) clock: Clock,
}

impl Authority {
    pub(super) fn new(config: AcmeConfig, client: Client, surroundings: Surroundings) -> Self {
        let uri = account_uri(&surroundings.state_dir, &config.directory);
        let Surroundings {
            state_dir,
            gate,
            certificates,
            validations,
            board,
            clock,
        } = surroundings;
        Self {
            uri: Mutex::new(uri.ok().flatten()),
            config,
            state_dir,
            client,
            gate,
            certificates,
            validations,
            board,
            clock,
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Whether the authority's clock, as its last answer told it, says the same as this machine's. If
    /// not, its certificates have to be good by both until the next answer.
    pub(super) fn check_clock(&self) -> Result<(), OrderError> {
        let Some((theirs, ours)) = self.client.heard().date else {
            return Ok(());
        };
        let compared = compare_clocks(ours, theirs);
        self.certificates.hear(compared.is_err().then_some(theirs));
        compared
    }

    /// The account, made if there is none, with the directory as it is now.
    pub(super) async fn account(&self) -> Result<Account, OrderError> {
        let opening = self.opening.lock().await;
        let opened = account::open_or_create(&self.state_dir, &self.config, &self.client).await;
        drop(opening);
        if let Ok(account) = &opened {
            let mut uri = self.uri.lock().unwrap_or_else(PoisonError::into_inner);
            *uri = Some(account.id().to_owned());
        }
        opened.map_err(|error| match error {
            AccountError::File(error) => OrderError::Certificate(error),
            error => OrderError::Account(error),
        })
    }

    pub(super) fn account_uri(&self) -> Option<String> {
        let uri = self.uri.lock().unwrap_or_else(PoisonError::into_inner);
        uri.clone()
    }
}
