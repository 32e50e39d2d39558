use std::io;
use std::path::PathBuf;

use cloudless_proto::Hostname;
use cloudless_proto::ssh::InvalidAuthorizedKey;

use crate::identity::IdentityError;

/// Why the relay's state cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Another process works on it.
    #[error("{} is locked: a relay runs on this state already", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A state file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A state file is not what it must be.
    #[error("{} is damaged: correct it, or remove it and invite its homes again", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// `homes.toml` names one hostname twice.
    #[error("{} names {hostname} twice: remove one of the two", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The name.
        hostname: Hostname,
    },
}

/// Why the relay's files were not put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// One of them cannot be used.
    #[error(transparent)]
    File(RegistryError),
    /// A name leads to two places.
    #[error(
        "{hostname} belongs to a home and has a route of its own in relay.toml: take the route out, \
         or the name from the home with `cloudless relay revoke {hostname}`"
    )]
    RoutedHome { hostname: Hostname },
    /// A name would lead to two places once its join code is used.
    #[error(
        "there is an open join code for {hostname}, which has a route of its own in relay.toml: take \
         the route out, or the join code back with `cloudless relay revoke {hostname}`"
    )]
    RoutedInvite { hostname: Hostname },
}

/// Why a state file was not replaced.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) source: io::Error,
}

/// Why there is no join code.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The relay's configuration names no address, or more than a join code holds.
    #[error("a join code holds one to eight relay addresses: set `addresses` in the configuration")]
    Addresses,
    /// The name has a home.
    #[error("{hostname} belongs to a home already: invite with `--replace` to give it to another")]
    HostnameTaken {
        /// The name.
        hostname: Hostname,
    },
    /// The relay's own name cannot be a home's.
    #[error("{hostname} is this relay's own name: choose another name for the home")]
    OwnName {
        /// The name.
        hostname: Hostname,
    },
    /// The name has a route in the relay's configuration.
    #[error(
        "{hostname} has a route of its own in relay.toml: take that out first, or choose another name"
    )]
    Routed {
        /// The name.
        hostname: Hostname,
    },
    /// The life of the code is out of range.
    #[error("a join code lives between one second and thirty days")]
    Ttl,
    /// The invite could not be kept.
    #[error("the invite was not kept")]
    Write(#[source] WriteError),
}

/// Why a name was not bound to an SSH client's key.
#[derive(Debug, thiserror::Error)]
pub enum AllowSshError {
    /// The name has a home.
    #[error("{hostname} belongs to a home already: `--replace` gives it to this key")]
    HostnameTaken {
        /// The name.
        hostname: Hostname,
    },
    /// The key is none.
    #[error("the key cannot be used")]
    Key(#[source] InvalidAuthorizedKey),
    /// The relay's own name cannot be a home's.
    #[error("{hostname} is this relay's own name: choose another name for the home")]
    OwnName {
        /// The name.
        hostname: Hostname,
    },
    /// The name has a route in the relay's configuration.
    #[error(
        "{hostname} has a route of its own in relay.toml: take that out first, or choose another name"
    )]
    Routed {
        /// The name.
        hostname: Hostname,
    },
    /// The relay takes no SSH clients.
    #[error(
        "this relay does not listen for SSH: set `ssh = \"[::]:2222\"` below `[listen]` in relay.toml, \
         and start it anew; as a service on a port below 1024 it needs a `ListenStream=` too (docs/ssh.md)"
    )]
    Off,
    /// The binding could not be kept.
    #[error("the binding was not kept")]
    Write(#[source] WriteError),
}

/// Why a join code was not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The code is good but the name has another home.
    #[error("the name belongs to another home")]
    HostnameTaken,
    /// No open invite of that name has this secret.
    #[error("the join code is wrong, used up or expired")]
    Rejected,
    /// The code is good but the name has a route in the relay's configuration.
    #[error("the name has a route of its own in relay.toml: take that out first")]
    Routed,
    /// The binding could not be kept.
    #[error("the binding was not kept")]
    Write(#[source] WriteError),
}

/// Why the relay's key was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The new key is unusable, which only a broken cryptography library could cause.
    #[error("the new key cannot be used")]
    Identity(#[source] IdentityError),
    /// There is nothing to finish.
    #[error("the relay's key is not being rotated: begin with `cloudless relay rotate-key`")]
    None,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// One rotation at a time.
    #[error(
        "the relay's key is being rotated already: `cloudless relay status` says until when, \
         `cloudless relay rotate-key --overlap TIME` moves the end, and `--finish` ends it now"
    )]
    UnderWay,
    /// Homes would be locked out.
    #[error(
        "{} of {total} homes do not know the next key yet ({}): wait until they were online, or lock \
         them out until they join again, with `--finish --force`",
        names.len(), list(.names)
    )]
    Unaware {
        /// A name of each such home.
        names: Vec<Hostname>,
        /// How many homes there are.
        total: usize,
    },
    /// The change could not be kept.
    #[error("the relay's key was not changed")]
    Write(#[source] WriteError),
}

/// As many names as fit into a message.
fn list(names: &[Hostname]) -> String {
    const SHOWN: usize = 5;
    let mut list: Vec<_> = names.iter().take(SHOWN).map(Hostname::as_str).collect();
    if names.len() > SHOWN {
        list.push("…");
    }
    list.join(", ")
}

/// Why a name was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Nobody has the name and no invite is open for it.
    #[error("{hostname} belongs to no home here")]
    NoSuchHome {
        /// The name.
        hostname: Hostname,
    },
    /// The change could not be kept.
    #[error("the revocation was not kept")]
    Write(#[source] WriteError),
}
