//! By which keys home trusts one relay, and what it makes of the keys that the relay announces.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use cloudless_proto::{PinnedKeys, PublicKey};
use rustls::ClientConfig;

use super::identity::{Identity, IdentityError};
use crate::relay_keys::{RelayKeys, RelayKeysError};

/// The trust in one relay; all its sessions share it.
pub(crate) struct Pinning {
    identity: Identity,
    joined_with: PublicKey,
    relay_keys: Arc<RelayKeys>,
    /// For the next dial.
    tls: RwLock<Arc<ClientConfig>>,
}

impl Pinning {
    pub(crate) fn new(
        identity: Identity,
        joined_with: PublicKey,
        relay_keys: Arc<RelayKeys>,
    ) -> Result<Self, IdentityError> {
        let tls = identity.client_config(&relay_keys.of(joined_with))?;
        Ok(Self {
            identity,
            joined_with,
            relay_keys,
            tls: RwLock::new(tls),
        })
    }

    /// How to dial the relay now.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys by which the relay is trusted, the newest first.
    pub(crate) fn keys(&self) -> PinnedKeys {
        self.relay_keys.of(self.joined_with)
    }

    /// Takes the keys that the relay announced in a session in which it proved `proven`. Returns
    /// whether they are others than before. Blocks on the disk.
    pub(crate) fn announced(
        &self,
        proven: &PublicKey,
        announced: &[PublicKey],
    ) -> Result<bool, PinningError> {
        let Some(keys) = self.keys().after(proven, announced) else {
            return Ok(false);
        };
        let tls = self
            .identity
            .client_config(&keys)
            .map_err(PinningError::Tls)?;
        let pinned = self.relay_keys.pin(self.joined_with, keys);
        pinned.map_err(PinningError::Keys)?;
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(true)
    }
}

impl fmt::Debug for Pinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pinning").field(&self.keys()).finish()
    }
}

/// Why what a relay announced is not trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinningError {
    #[error(transparent)]
    Keys(RelayKeysError),
    #[error(transparent)]
    Tls(IdentityError),
}
