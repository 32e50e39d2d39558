//! The relay: the machine with a public address that passes TLS bytes between visitors and homes
//! and cannot read them.
//!
//! One port carries both visitors and tunnels. A visitor's ClientHello is read, never answered: its
//! server name decides which home's tunnel its bytes go into, or that they go to a fallback web
//! server. A tunnel is TLS 1.3 with raw public keys on both sides, and HTTP/2 inside it with the
//! relay as the client.
//!
//! A connection takes this way through the modules: `listener` → `visitor` (reads the ClientHello)
//! → `router` → one of `tunnel` (a home dialed in), `home` (a visitor of a home; its bytes are
//! moved by `pump`), or `upstream` (a server beside the relay). Connections to the plain
//! HTTP port go `listener` → `port80`, those of homes that are plain SSH clients `listener` → `ssh`.
//!
//! The caller supplies everything that belongs to the machine: bound [`Listeners`], the relay's
//! identity key in [`Config`], the state directory as a [`Registry`], and the token that ends
//! [`run`].

mod activity;
pub mod admin;
mod background;
mod budget;
mod coalescing;
mod config;
mod crowd;
mod exchange;
mod health;
mod home;
mod home_key;
mod home_share;
mod home_sources;
mod identity;
mod keys;
mod legs;
mod limits;
mod listener;
mod liveness;
mod load_balancer;
mod network;
mod onlooker;
mod outcome;
mod port80;
mod pump;
mod rate;
mod reach;
mod registry;
mod reload;
mod replay;
mod router;
mod routes;
mod run;
mod session;
mod sessions;
mod slots;
mod socket;
mod ssh;
mod status;
mod strangers;
mod tunnel;
mod turns;
mod upstream;
mod visitor;
mod visitors;

pub use coalescing::{Coverage, coverage};
pub use config::{Config, Limits, Listeners, Timings};
pub use home_key::{HomeKey, InvalidHomeKey};
pub use identity::{IdentityError, public_key};
pub use network::{InvalidNetwork, Network};
pub use outcome::Outcome;
pub use registry::{
    AllowSshError, HomeRow, InviteError, InviteTerms, KEY_FILE, RedeemError, Redeemed, Registry,
    RegistryError, RevokeError, RotationError, WriteError,
};
pub use reload::{Reread, Source};
pub use routes::{Pattern, Routes, Servers};
pub use run::{RunError, run};
pub use ssh::{HOST_KEY_FILE, HostKey, HostKeyError, Ssh};
pub use status::{
    HomeStatus, KeyStatus, PastError, ProbeStatus, ReloadStatus, Reloads, RotationStatus,
    ServerStatus, SshStatus, Status, Totals,
};

/// Name and version as homes and the command line see them.
pub(crate) const SOFTWARE: &str = concat!("cloudless/", env!("CARGO_PKG_VERSION"));
