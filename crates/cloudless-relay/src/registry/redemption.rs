//! What a join code is good for.

use cloudless_proto::join_code::JoinSecret;
use cloudless_proto::{Hostname, PublicKey};

use super::error::RedeemError;
use super::{Registry, file};
use crate::home_key::HomeKey;
use crate::routes::Routes;

impl Registry {
    /// What a redemption of this would come to. It changes nothing and takes no lock for long, however
    /// often somebody asks.
    pub(crate) fn claim(
        &self,
        key: PublicKey,
        hostname: &Hostname,
        secret: &JoinSecret,
        now: u64,
    ) -> Claim {
        let tables = self.0.tables();
        let invite = tables.open_invite(hostname, &secret.hash(), now);
        let owner = tables.homes.get(hostname);
        match (invite, owner) {
            (Some(_), _) => Claim::Invited,
            (None, Some(home)) if home.key == HomeKey::from(key) => Claim::Owned,
            (None, _) => Claim::Rejected,
        }
    }

    /// Uses up the invite for `hostname` and binds the name to `key`; of several callers with the
    /// same code exactly one succeeds. A name with one of `routes` of its own is not given away. `now`
    /// is Unix time in seconds.
    ///
    /// A key that has the name already is told so again, because the answer to its first attempt
    /// may have been lost on the way.
    ///
    /// # Errors
    /// [`RedeemError::Rejected`] does not tell a wrong secret from a used or expired one.
    pub fn redeem(
        &self,
        key: PublicKey,
        hostname: &Hostname,
        secret: &JoinSecret,
        routes: &Routes,
        now: u64,
    ) -> Result<Redeemed, RedeemError> {
        let key = HomeKey::from(key);
        let secret_hash = secret.hash();
        self.0.change(|tables| {
            let owner = tables.homes.get(hostname).map(|home| home.key);
            let invite = tables.open_invite(hostname, &secret_hash, now);
            let directory = &self.0.directory;
            if owner == Some(key) {
                if invite.is_some() {
                    tables.end_invites(hostname, now);
                    file::write_invites(directory, &tables.invites).map_err(RedeemError::Write)?;
                }
                return Ok(Redeemed::nothing_new());
            }
            let replaces = invite.ok_or(RedeemError::Rejected)?.replaces;
            if owner.is_some() && owner != replaces {
                return Err(RedeemError::HostnameTaken);
            }
            if routes.names(hostname) {
                return Err(RedeemError::Routed);
            }
            let bound = tables.bind(directory, hostname, key, now);
            bound.map_err(RedeemError::Write)?;
            Ok(Redeemed::taken_from(owner))
        })
    }
}

/// What somebody with a name and a secret has a right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// An invite is open.
    Invited,
    /// None is, and the key has the name already: there is nothing to change.
    Owned,
    /// Nothing.
    Rejected,
}

/// The outcome of a redeemed join code, or of another binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// Whether the key did not have the name until this moment.
    pub is_new: bool,
    /// The other key that had it: its sessions must end.
    pub replaced: Option<HomeKey>,
}

impl Redeemed {
    pub(super) fn nothing_new() -> Self {
        Self {
            is_new: false,
            replaced: None,
        }
    }

    pub(super) fn taken_from(replaced: Option<HomeKey>) -> Self {
        Self {
            is_new: true,
            replaced,
        }
    }
}
